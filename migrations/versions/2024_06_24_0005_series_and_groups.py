"""Appointments that repeat, several pets of one client at a time, and a bather beside the groomer."""

from __future__ import annotations

from alembic import op

revision = "0005_series_and_groups"
down_revision = "0004_visit_logs"

UP = """
create table recurring_series (
    id uuid default gen_random_uuid() not null,
    frequency_weeks integer not null,
    created_at timestamp default now() not null,
    constraint recurring_series_pkey primary key (id)
);

create table appointment_groups (
    id uuid default gen_random_uuid() not null,
    client_id uuid not null,
    notes text,
    created_at timestamp default now() not null,
    updated_at timestamp default now() not null,
    constraint appointment_groups_pkey primary key (id),
    constraint appointment_groups_client_id_fkey foreign key (client_id) references clients (id) on delete restrict
);

alter table appointments
    add column series_id uuid,
    add column series_index integer,
    add column group_id uuid,
    add column bather_staff_id uuid,
    add constraint appointments_series_id_fkey
        foreign key (series_id) references recurring_series (id) on delete set null,
    add constraint appointments_group_id_fkey
        foreign key (group_id) references appointment_groups (id) on delete set null,
    add constraint appointments_bather_staff_id_fkey
        foreign key (bather_staff_id) references staff (id) on delete set null;
"""
DOWN = """
alter table appointments
    drop column bather_staff_id,
    drop column group_id,
    drop column series_index,
    drop column series_id;

drop table appointment_groups, recurring_series;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
