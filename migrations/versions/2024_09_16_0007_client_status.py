"""Clients who left are disabled, not deleted: their invoices stay."""

from __future__ import annotations

from alembic import op

revision = "0007_client_status"
down_revision = "0006_reminders"

UP = """
create type client_status as enum ('active', 'disabled');

alter table clients
    add column status client_status default 'active' not null,
    add column disabled_at timestamp;
"""
DOWN = """
alter table clients
    drop column disabled_at,
    drop column status;

drop type client_status;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
