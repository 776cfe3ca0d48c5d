"""Staff may look at the portal as a client sees it; who did so, why, and which pages is kept."""

from __future__ import annotations

from alembic import op

revision = "0010_impersonation"
down_revision = "0009_in_progress"

UP = """
create type impersonation_session_status as enum ('active', 'ended', 'expired');

create table impersonation_sessions (
    id uuid default gen_random_uuid() not null,
    staff_id uuid not null,
    client_id uuid not null,
    reason text,
    status impersonation_session_status default 'active' not null,
    started_at timestamp default now() not null,
    ended_at timestamp,
    expires_at timestamp not null,
    created_at timestamp default now() not null,
    constraint impersonation_sessions_pkey primary key (id),
    constraint impersonation_sessions_staff_id_staff_id_fk
        foreign key (staff_id) references staff (id) on delete restrict,
    constraint impersonation_sessions_client_id_clients_id_fk
        foreign key (client_id) references clients (id) on delete restrict
);
create index impersonation_sessions_staff_id_status_idx on impersonation_sessions (staff_id, status);
create index impersonation_sessions_client_id_idx on impersonation_sessions (client_id);

create table impersonation_audit_logs (
    id uuid default gen_random_uuid() not null,
    session_id uuid not null,
    action text not null,
    page_visited text,
    metadata jsonb,
    created_at timestamp default now() not null,
    constraint impersonation_audit_logs_pkey primary key (id),
    constraint impersonation_audit_logs_session_id_impersonation_sessions_id_f
        foreign key (session_id) references impersonation_sessions (id) on delete cascade
);
create index impersonation_audit_logs_session_id_idx on impersonation_audit_logs (session_id);
"""
DOWN = """
drop table impersonation_audit_logs, impersonation_sessions;
drop type impersonation_session_status;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
