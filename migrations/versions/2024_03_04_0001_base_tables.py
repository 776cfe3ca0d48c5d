"""Clients and their pets, services, staff and appointments: what the salon's paper diary held."""

from __future__ import annotations

from alembic import op

revision = "0001_base_tables"
down_revision = None

UP = """
create type staff_role as enum ('groomer', 'receptionist', 'manager');
create type appointment_status as enum ('scheduled', 'confirmed', 'completed', 'cancelled', 'no_show');

create table clients (
    id uuid default gen_random_uuid() not null,
    name text not null,
    email text,
    phone text,
    address text,
    notes text,
    created_at timestamp default now() not null,
    updated_at timestamp default now() not null,
    constraint clients_pkey primary key (id)
);

create table pets (
    id uuid default gen_random_uuid() not null,
    client_id uuid not null,
    name text not null,
    species text not null,
    breed text,
    weight_kg numeric(5, 2),
    date_of_birth timestamp,
    grooming_notes text,
    created_at timestamp default now() not null,
    updated_at timestamp default now() not null,
    constraint pets_pkey primary key (id),
    constraint pets_client_id_clients_id_fk foreign key (client_id) references clients (id) on delete cascade
);

create table services (
    id uuid default gen_random_uuid() not null,
    name text not null,
    description text,
    base_price_cents integer not null,
    duration_minutes integer not null,
    active boolean default true not null,
    created_at timestamp default now() not null,
    updated_at timestamp default now() not null,
    constraint services_pkey primary key (id)
);

create table staff (
    id uuid default gen_random_uuid() not null,
    name text not null,
    email text not null,
    oidc_sub text,
    role staff_role default 'groomer' not null,
    active boolean default true not null,
    created_at timestamp default now() not null,
    updated_at timestamp default now() not null,
    constraint staff_pkey primary key (id),
    constraint staff_email_unique unique (email),
    constraint staff_oidc_sub_unique unique (oidc_sub)
);

create table appointments (
    id uuid default gen_random_uuid() not null,
    client_id uuid not null,
    pet_id uuid not null,
    service_id uuid not null,
    staff_id uuid,
    status appointment_status default 'scheduled' not null,
    start_time timestamp not null,
    end_time timestamp not null,
    notes text,
    price_cents integer,
    created_at timestamp default now() not null,
    updated_at timestamp default now() not null,
    constraint appointments_pkey primary key (id),
    constraint appointments_client_id_clients_id_fk foreign key (client_id) references clients (id) on delete restrict,
    constraint appointments_pet_id_pets_id_fk foreign key (pet_id) references pets (id) on delete restrict,
    constraint appointments_service_id_services_id_fk
        foreign key (service_id) references services (id) on delete restrict,
    constraint appointments_staff_id_staff_id_fk foreign key (staff_id) references staff (id) on delete set null
);
"""
DOWN = """
drop table appointments, staff, services, pets, clients;
drop type appointment_status, staff_role;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
