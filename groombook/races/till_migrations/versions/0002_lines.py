"""Their lines."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        "create table invoice_line_items (id uuid constraint invoice_line_items_pkey primary key,"
        " invoice_id uuid not null constraint invoice_line_items_invoice_id_fk references invoices (id),"
        " total_cents int not null)"
    )
