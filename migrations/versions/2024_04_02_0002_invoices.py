"""Invoices with line items: the salon stops writing bills by hand."""

from __future__ import annotations

from alembic import op

revision = "0002_invoices"
down_revision = "0001_base_tables"

UP = """
create type invoice_status as enum ('draft', 'pending', 'paid', 'void');
create type payment_method as enum ('cash', 'card', 'check', 'other');

create table invoices (
    id uuid default gen_random_uuid() not null,
    appointment_id uuid,
    client_id uuid not null,
    subtotal_cents integer not null,
    tax_cents integer default 0 not null,
    tip_cents integer default 0 not null,
    total_cents integer not null,
    status invoice_status default 'draft' not null,
    payment_method payment_method,
    paid_at timestamp,
    notes text,
    created_at timestamp default now() not null,
    updated_at timestamp default now() not null,
    constraint invoices_pkey primary key (id),
    constraint invoices_appointment_id_appointments_id_fk
        foreign key (appointment_id) references appointments (id) on delete restrict,
    constraint invoices_client_id_clients_id_fk foreign key (client_id) references clients (id) on delete restrict
);

create table invoice_line_items (
    id uuid default gen_random_uuid() not null,
    invoice_id uuid not null,
    description text not null,
    quantity integer default 1 not null,
    unit_price_cents integer not null,
    total_cents integer not null,
    created_at timestamp default now() not null,
    constraint invoice_line_items_pkey primary key (id),
    constraint invoice_line_items_invoice_id_invoices_id_fk
        foreign key (invoice_id) references invoices (id) on delete cascade
);
"""
DOWN = """
drop table invoice_line_items, invoices;
drop type payment_method, invoice_status;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
