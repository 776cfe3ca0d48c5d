"""The schemas that a run works in: may this role build there, and copy rows into their tables?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.db.catalog import summarize
from dbtools.db.sql import quote
from dbtools.errors import ChainFailed

if TYPE_CHECKING:
    from collections.abc import Collection

    import psycopg


_RIGHTS = """
select current_user, has_database_privilege(current_database(), 'CREATE'),
       (select has_schema_privilege(oid, 'CREATE') and has_schema_privilege(oid, 'USAGE') from pg_namespace
        where nspname = %(schema)s)
"""


def check_row_security(work: psycopg.Connection, tables: Collection[str]) -> None:
    """Refuse to copy rows into tables whose row security applies to this role: COPY cannot, and others would be hidden.

    `tables` are names in SQL form, found by the search_path.

    Raises:
        ChainFailed: Names the tables, and the way out.
    """
    names = [
        str(name)
        for (name,) in work.execute(
            "select c.oid::regclass::text from pg_class c where c.relrowsecurity and row_security_active(c.oid)"
            " and c.oid in (select to_regclass(name) from unnest(%s::text[]) wanted(name)) order by 1",
            ([*tables],),
        )
    ]
    if names:
        raise ChainFailed(
            f"Row security keeps this role from copying rows into {summarize(names)}.",
            "It applies to the tables' owner too where it is forced, and to every other role without BYPASSRLS.",
            "Connect as their owner, or as a role with BYPASSRLS; where it is forced, leave that out of the migrations:"
            f" alter table {names[0]} no force row level security;",
        )


def check_rights(work: psycopg.Connection, schema: str) -> None:
    """Refuse to drop what this role could not build again.

    Raises:
        ChainFailed: This role may not create in the schema; or there is none, and it may not create one.
    """
    ((role, may_create, may_use),) = work.execute(_RIGHTS, {"schema": schema})
    if may_use is None and not may_create:
        raise ChainFailed(
            f"The schema {schema} does not exist, and role {role} may not create it.",
            "",
            f"As the database's owner: create schema {quote(schema)} authorization {quote(role)};",
        )
    if may_use is False:
        raise ChainFailed(
            f"Role {role} may not create anything in schema {schema}.",
            "It would drop what it cannot build again.",
            f"As its owner: grant create, usage on schema {quote(schema)} to {quote(role)}; or connect as the owner.",
        )
