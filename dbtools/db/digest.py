"""A fingerprint of the content: equal digests, equal rows in equal tables."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.db.sql import quote

if TYPE_CHECKING:
    import psycopg

VERSION_TABLE = "alembic_version"

# The text of a row depends on these settings; fixed, the digest is the same on every server and for every role.
_SETTINGS = """
set local timezone = 'UTC'; set local datestyle = 'ISO, YMD'; set local intervalstyle = 'postgres';
set local bytea_output = 'hex'; set local extra_float_digits = 1; set local lc_monetary = 'C';
"""
_TABLES = """
select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relkind in ('r', 'p') and not c.relispartition and c.relname <> %s
order by c.relname collate "C"
"""


@dataclass(frozen=True)
class TableDigest:
    """One table's row count and the MD5 of its rows, whatever their order."""

    name: str
    rows: int
    md5: str


@dataclass(frozen=True)
class Digest:
    """The digests of all tables of a schema but Alembic's, and the SHA-256 over them."""

    tables: tuple[TableDigest, ...]

    @property
    def sha256(self) -> str:
        """One value for the whole content."""
        lines = "".join(f"{table.name} {table.rows} {table.md5}\n" for table in self.tables)
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def rows(self) -> int:
        """The number of rows in all tables."""
        return sum(table.rows for table in self.tables)


def digest(connection: psycopg.Connection, schema: str = "public") -> Digest:
    """Return the digest of one consistent snapshot of `schema`. Needs a connection without an open transaction."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        connection.execute(_SETTINGS)
        names = [str(name) for (name,) in connection.execute(_TABLES, (schema, VERSION_TABLE))]
        return Digest(tuple(_table(connection, schema, name) for name in names))


def _table(connection: psycopg.Connection, schema: str, name: str) -> TableDigest:
    # Hashing each row first keeps the aggregate at 32 bytes a row; its limit of 1 GB is then 30 million rows. In a
    # table with a column t, a plain t would be that column; t.* is always the whole row.
    row = connection.execute(
        "select count(*), md5(coalesce(string_agg(h, '' order by h collate \"C\"), ''))"
        f" from (select md5((t.*)::text) as h from {quote(schema)}.{quote(name)} t) hashed"
    ).fetchone()
    assert row is not None
    return TableDigest(name, int(row[0]), str(row[1]))
