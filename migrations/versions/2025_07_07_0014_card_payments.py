"""Cards are charged through Stripe; a refund is sent once, whatever is clicked twice."""

from __future__ import annotations

from alembic import op

revision = "0014_card_payments"
down_revision = "0013_waitlist"

UP = """
alter table clients
    add column stripe_customer_id text,
    add constraint idx_clients_stripe_customer_id unique (stripe_customer_id);

alter table invoices
    add column stripe_payment_intent_id text,
    add column stripe_refund_id text,
    add column payment_failure_reason text,
    add constraint idx_invoices_stripe_payment_intent_id unique (stripe_payment_intent_id);

create table refunds (
    id uuid default gen_random_uuid() not null,
    invoice_id uuid not null,
    stripe_refund_id text not null,
    idempotency_key text,
    amount_cents integer,
    created_at timestamp default now() not null,
    constraint refunds_pkey primary key (id),
    constraint refunds_idempotency_key_key unique (idempotency_key),
    constraint refunds_invoice_id_fkey foreign key (invoice_id) references invoices (id) on delete restrict
);
create index idx_refunds_invoice_id on refunds (invoice_id);
create index idx_refunds_idempotency_key on refunds (idempotency_key);
"""
DOWN = """
drop table refunds;

alter table invoices
    drop column payment_failure_reason,
    drop column stripe_refund_id,
    drop column stripe_payment_intent_id;

alter table clients drop column stripe_customer_id;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
