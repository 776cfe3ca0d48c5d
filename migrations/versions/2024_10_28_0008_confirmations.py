"""Clients confirm or cancel by a link. The appointments that are there already get the answer their status implies."""

from __future__ import annotations

from alembic import op

revision = "0008_confirmations"
down_revision = "0007_client_status"

UP = """
alter table appointments
    add column confirmation_status text,
    add column confirmed_at timestamp with time zone,
    add column cancelled_at timestamp with time zone,
    add column confirmation_token text,
    add column customer_notes text,
    add constraint appointments_confirmation_token_key unique (confirmation_token);

update appointments set
    confirmation_status = case status
        when 'scheduled' then 'pending'
        when 'cancelled' then 'cancelled'
        else 'confirmed'
    end,
    confirmed_at = case when status not in ('scheduled', 'cancelled') then updated_at at time zone 'UTC' end,
    cancelled_at = case when status = 'cancelled' then updated_at at time zone 'UTC' end;

alter table appointments
    alter column confirmation_status set default 'pending',
    alter column confirmation_status set not null;

create index idx_appointments_confirmation_token on appointments (confirmation_token)
    where confirmation_token is not null;
create index idx_appointments_customer_notes on appointments (client_id) where customer_notes is not null;
"""
DOWN = """
drop index idx_appointments_customer_notes, idx_appointments_confirmation_token;

alter table appointments
    drop column customer_notes,
    drop column confirmation_token,
    drop column cancelled_at,
    drop column confirmed_at,
    drop column confirmation_status;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
