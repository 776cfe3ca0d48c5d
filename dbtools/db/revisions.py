"""Which Alembic revisions a database is at, wherever the project keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

# A project may give the table another name or schema; the column's name is Alembic's own.
_TABLES = """
select format('%I.%I', n.nspname, c.relname) from pg_attribute a join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace
where a.attname = 'version_num' and not a.attisdropped and c.relkind = 'r' and n.nspname !~ '^(pg_|dbtools_old_)'
  and has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'SELECT')
"""


def current_revisions(connection: psycopg.Connection) -> set[str]:
    """Return the revisions that are recorded in any schema; empty where no migration of Alembic ran."""
    tables = [str(name) for (name,) in connection.execute(_TABLES).fetchall()]
    return {
        str(revision)
        for table in tables
        for (revision,) in connection.execute(f"select version_num::text from {table}").fetchall()
    }
