"""Name, logo and colours of the salon, so that a second salon can use the application."""

from __future__ import annotations

from alembic import op

revision = "0011_business_settings"
down_revision = "0010_impersonation"

UP = """
create table business_settings (
    id uuid default gen_random_uuid() not null,
    business_name text default 'GroomBook' not null,
    logo_base64 text,
    logo_mime_type text,
    primary_color text default '#4f8a6f' not null,
    accent_color text default '#8b7355' not null,
    created_at timestamp default now() not null,
    updated_at timestamp default now() not null,
    constraint business_settings_pkey primary key (id)
);
"""
DOWN = """
drop table business_settings;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
