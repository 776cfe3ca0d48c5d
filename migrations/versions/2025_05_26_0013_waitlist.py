"""Clients wait for a slot; one active wish for the same pet, service, day and time is enough."""

from __future__ import annotations

from alembic import op

revision = "0013_waitlist"
down_revision = "0012_sign_in"

UP = """
create type waitlist_status as enum ('active', 'notified', 'expired', 'cancelled');

create table waitlist_entries (
    id uuid default gen_random_uuid() not null,
    client_id uuid not null,
    pet_id uuid not null,
    service_id uuid not null,
    preferred_date date not null,
    preferred_time time not null,
    status waitlist_status default 'active' not null,
    notified_at timestamp with time zone,
    expires_at timestamp with time zone,
    created_at timestamp with time zone default now() not null,
    updated_at timestamp with time zone default now() not null,
    constraint waitlist_entries_pkey primary key (id),
    constraint waitlist_entries_client_id_fkey foreign key (client_id) references clients (id) on delete cascade,
    constraint waitlist_entries_pet_id_fkey foreign key (pet_id) references pets (id) on delete cascade,
    constraint waitlist_entries_service_id_fkey foreign key (service_id) references services (id) on delete cascade
);
create index idx_waitlist_client_id on waitlist_entries (client_id);
create index idx_waitlist_preferred_date on waitlist_entries (preferred_date);
create index idx_waitlist_status on waitlist_entries (status) where status = 'active';
create unique index idx_waitlist_active_unique
    on waitlist_entries (client_id, pet_id, service_id, preferred_date, preferred_time) where status = 'active';
"""
DOWN = """
drop table waitlist_entries;
drop type waitlist_status;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
