"""Photos of pets and the logo move into the object store; tables keep the keys."""

from __future__ import annotations

from alembic import op

revision = "0016_photos"
down_revision = "0015_text_messages"

UP = """
alter table pets
    add column photo_key text,
    add column photo_uploaded_at timestamp,
    add column image text;

alter table business_settings add column logo_key text;
"""
DOWN = """
alter table business_settings drop column logo_key;

alter table pets
    drop column image,
    drop column photo_uploaded_at,
    drop column photo_key;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
