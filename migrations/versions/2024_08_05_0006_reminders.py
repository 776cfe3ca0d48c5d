"""Reminders by e-mail, each sent once, and clients who do not want them."""

from __future__ import annotations

from alembic import op

revision = "0006_reminders"
down_revision = "0005_series_and_groups"

UP = """
create table reminder_logs (
    id uuid default gen_random_uuid() not null,
    appointment_id uuid not null,
    reminder_type text not null,
    sent_at timestamp default now() not null,
    constraint reminder_logs_pkey primary key (id),
    constraint reminder_logs_appointment_id_reminder_type_unique unique (appointment_id, reminder_type),
    constraint reminder_logs_appointment_id_fkey
        foreign key (appointment_id) references appointments (id) on delete cascade
);

alter table clients add column email_opt_out boolean default false not null;
"""
DOWN = """
alter table clients drop column email_opt_out;

drop table reminder_logs;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
