"""Index the orders by customer, without a lock on the table."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade():
    with op.get_context().autocommit_block():
        op.create_index("ix_orders_customer_id", "orders", ["customer_id"], postgresql_concurrently=True)


def downgrade():
    op.drop_index("ix_orders_customer_id")
