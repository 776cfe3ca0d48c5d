"""Sign-in with accounts and sessions of the application's own, and staff linked to them."""

from __future__ import annotations

from alembic import op

revision = "0012_sign_in"
down_revision = "0011_business_settings"

UP = """
create table "user" (
    id text not null,
    name text not null,
    email text not null,
    email_verified boolean default false not null,
    image text,
    created_at timestamp with time zone default now() not null,
    updated_at timestamp with time zone default now() not null,
    constraint user_pkey primary key (id),
    constraint user_email_key unique (email)
);

create table session (
    id text not null,
    expires_at timestamp with time zone not null,
    token text not null,
    ip_address text,
    user_agent text,
    user_id text not null,
    created_at timestamp with time zone default now() not null,
    updated_at timestamp with time zone default now() not null,
    constraint session_pkey primary key (id),
    constraint session_token_key unique (token),
    constraint session_user_id_fkey foreign key (user_id) references "user" (id) on delete cascade
);

create table account (
    id text not null,
    account_id text not null,
    provider_id text not null,
    user_id text not null,
    access_token text,
    refresh_token text,
    id_token text,
    access_token_expires_at timestamp with time zone,
    refresh_token_expires_at timestamp with time zone,
    scope text,
    password text,
    created_at timestamp with time zone default now() not null,
    updated_at timestamp with time zone default now() not null,
    constraint account_pkey primary key (id),
    constraint account_user_id_fkey foreign key (user_id) references "user" (id) on delete cascade
);

create table verification (
    id text not null,
    identifier text not null,
    value text not null,
    expires_at timestamp with time zone not null,
    created_at timestamp with time zone default now() not null,
    updated_at timestamp with time zone default now() not null,
    constraint verification_pkey primary key (id)
);

create table auth_provider_config (
    id uuid default gen_random_uuid() not null,
    provider_id text not null,
    display_name text not null,
    issuer_url text not null,
    internal_base_url text,
    client_id text not null,
    client_secret text not null,
    scopes text default 'openid profile email' not null,
    enabled boolean default true not null,
    created_at timestamp default now() not null,
    updated_at timestamp default now() not null,
    constraint auth_provider_config_pkey primary key (id),
    constraint auth_provider_config_provider_id_unique unique (provider_id)
);

alter table staff
    add column ical_token text,
    add column user_id text,
    add column is_super_user boolean default false not null,
    add constraint staff_ical_token_key unique (ical_token),
    add constraint staff_user_id_fkey foreign key (user_id) references "user" (id) on delete set null;
"""
DOWN = """
alter table staff
    drop column is_super_user,
    drop column user_id,
    drop column ical_token;

drop table auth_provider_config, verification, account, session, "user";
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
