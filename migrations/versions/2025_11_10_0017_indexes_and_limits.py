"""The invoice list grew slow, service names were entered twice, and the sign-in page is rate limited."""

from __future__ import annotations

from alembic import op

revision = "0017_indexes_and_limits"
down_revision = "0016_photos"

UP = """
create index idx_invoices_client_id on invoices (client_id);
create index idx_invoices_status on invoices (status);
create index idx_invoices_created_at on invoices (created_at);
create index idx_invoice_line_items_invoice_id on invoice_line_items (invoice_id);
create index idx_invoice_tip_splits_invoice_id on invoice_tip_splits (invoice_id);

-- Of services with one name the oldest keeps it; the others are told apart by a number. Again until no two are alike,
-- as "Bath (2)" may have been there before.
do $$
begin
    loop
        update services set name = services.name || ' (' || numbered.n || ')'
        from (select id, row_number() over (partition by name order by created_at, id) as n from services) numbered
        where numbered.id = services.id and numbered.n > 1;
        exit when not found;
    end loop;
end
$$;
alter table services add constraint services_name_unique unique (name);

create table rate_limit (
    key text not null,
    count integer not null,
    last_request bigint not null,
    constraint rate_limit_pkey primary key (key)
);
"""
DOWN = """
drop table rate_limit;

alter table services drop constraint services_name_unique;

drop index idx_invoice_tip_splits_invoice_id, idx_invoice_line_items_invoice_id;
drop index idx_invoices_created_at, idx_invoices_status, idx_invoices_client_id;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
