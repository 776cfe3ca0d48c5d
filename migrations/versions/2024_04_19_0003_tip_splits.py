"""Tips are shared between groomer and bather; each share is kept, with the name it was paid out under."""

from __future__ import annotations

from alembic import op

revision = "0003_tip_splits"
down_revision = "0002_invoices"

UP = """
create table invoice_tip_splits (
    id uuid default gen_random_uuid() not null,
    invoice_id uuid not null,
    staff_id uuid,
    staff_name text not null,
    share_pct numeric(5, 2) not null,
    share_cents integer not null,
    created_at timestamp default now() not null,
    constraint invoice_tip_splits_pkey primary key (id),
    constraint invoice_tip_splits_invoice_id_invoices_id_fk
        foreign key (invoice_id) references invoices (id) on delete cascade,
    constraint invoice_tip_splits_staff_id_staff_id_fk foreign key (staff_id) references staff (id) on delete set null
);
"""
DOWN = """
drop table invoice_tip_splits;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
