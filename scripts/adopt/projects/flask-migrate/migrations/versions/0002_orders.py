"""Make the orders."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("customer_id", sa.Integer, sa.ForeignKey("customer.id"), nullable=False),
        sa.Column("state", sa.Enum("open", "paid", name="state"), nullable=False, server_default="open"),
    )
    with op.batch_alter_table("orders") as batch:
        batch.add_column(sa.Column("notes", sa.JSON))


def downgrade():
    op.drop_table("orders")
