"""Invoices."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("create table invoices (id uuid constraint invoices_pkey primary key, total_cents int not null)")
