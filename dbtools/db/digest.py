"""A fingerprint of a schema: what its tables hold, and how they are made.

Equal content sums mean equal rows in equal tables; equal structure sums, the same objects with the same definitions
(see `structure` for what those leave out). Neither looks at other schemas or at large objects.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.db.blockers import locked
from dbtools.db.settings import fix_text_settings
from dbtools.db.sql import quote
from dbtools.db.structure import structure
from dbtools.errors import UNCHANGED, VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg

VERSION_TABLE = "alembic_version"
LEFT_OUT = (
    f"rows of {VERSION_TABLE}",
    "owners, grants and comments",
    "storage parameters and statistics objects",
    "objects of extensions",
    "publications",
    "large objects",
    "other schemas",
)
"""What neither sum covers."""

# A partition's rows are its root's, unless that is in another schema. A plain table is read without those that inherit
# from it. Either way each row counts once.
_TABLES = """
select c.relname, case c.relkind when 'r' then 'only ' else '' end
from pg_class c
where c.relnamespace = %(schema)s::regnamespace and c.relname <> %(version)s
  and (c.relkind in ('r', 'p', 'f') or c.relkind = 'm' and c.relispopulated)
  and not exists (select from pg_partition_ancestors(c.oid) a(oid) join pg_class p using (oid)
                  where p.oid <> c.oid and p.relnamespace = c.relnamespace)
order by c.relname collate "C"
"""


MAX_DROPS = 10
"""How often a digest begins again because a reset has dropped what it was about to describe."""


@dataclass(frozen=True)
class TableDigest:
    """One table's row count and the MD5 of its rows, whatever their order."""

    name: str
    rows: int
    md5: str


@dataclass(frozen=True)
class Digest:
    """The digests of all tables of a schema but Alembic's, and the SHA-256 of its structure."""

    tables: tuple[TableDigest, ...]
    structure: str

    @property
    def sha256(self) -> str:
        """One value for the content."""
        return _sha256(f"{table.name} {table.rows} {table.md5}\n" for table in self.tables)

    @property
    def both(self) -> str:
        """One value for content and structure."""
        return _sha256([self.sha256, self.structure])

    @property
    def rows(self) -> int:
        """The number of rows in all tables."""
        return sum(table.rows for table in self.tables)


def digest(connection: psycopg.Connection, schema: str = "public", *, lock_timeout: float = 300.0) -> Digest:
    """Return the digest of one consistent snapshot of `schema`. Needs a connection without an open transaction.

    Depends on no setting of session, role, database or server. Waits for `lock_timeout` seconds for a table that
    another session has locked.

    Raises:
        LockTimeout: A table was locked all that time. Names it, and the session.
        VerificationFailed: A row security policy would hide rows from this role, or it may not read a table: the digest
            of a part would be a false one.
    """
    from psycopg.errors import InsufficientPrivilege, InternalError_

    drops = 0
    while True:
        try:
            return _digest(connection, schema, lock_timeout)
        except InternalError_ as error:
            # The server describes objects by the catalog as it is now, and found one dropped since the snapshot.
            drops += 1
            if "cache lookup failed" not in str(error) or drops > MAX_DROPS:
                raise
        except InsufficientPrivilege as error:
            raise VerificationFailed(
                f"The digest of schema {schema} cannot be taken.",
                f"{error.diag.message_primary}.",
                "Connect as a role that may read every row: the owner of the tables, or with BYPASSRLS where policies"
                " are forced on the owner too.",
                UNCHANGED,
            ) from error


def digest_all(connection: psycopg.Connection, schemas: Sequence[str], *, lock_timeout: float = 300.0) -> Digest:
    """Return one digest of several schemas, whose tables it calls "schema.table"; of a single one, that of `digest`.

    Raises:
        LockTimeout, VerificationFailed: As `digest`.
    """
    found = {schema: digest(connection, schema, lock_timeout=lock_timeout) for schema in schemas}
    if len(found) == 1:
        return found[schemas[0]]
    tables = (
        TableDigest(f"{schema}.{table.name}", table.rows, table.md5)
        for schema, part in found.items()
        for table in part.tables
    )
    return Digest(tuple(tables), _sha256(f"{schema} {part.structure}\n" for schema, part in found.items()))


def _digest(connection: psycopg.Connection, schema: str, lock_timeout: float) -> Digest:
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only; set local row_security = off")
        connection.execute(f"set local lock_timeout = '{max(lock_timeout, 0.001):.3f}s'")
        fix_text_settings(connection, local=True)
        connection.execute(f"set local search_path = pg_catalog, {quote(schema)}")
        names = connection.execute(_TABLES, {"schema": quote(schema), "version": VERSION_TABLE}).fetchall()
        tables = tuple(_table(connection, schema, name, only) for name, only in names)
        return Digest(tables, _sha256(f"{item!r}\n" for item in structure(connection, schema)))


def _table(connection: psycopg.Connection, schema: str, name: str, only: str) -> TableDigest:
    from psycopg.errors import LockNotAvailable

    # (r.*) is the whole row, whatever its columns are called; record_out is how the server prints it, past any cast of
    # the application's. Hashing each row first keeps the aggregate at 32 bytes a row: its limit of 1 GB is then 30
    # million rows.
    table = f"{quote(schema)}.{quote(name)}"
    try:
        with connection.transaction():
            row = connection.execute(
                "select count(*), md5(coalesce(string_agg(h, '' order by h collate \"C\"), ''))"
                f" from (select md5(record_out((r.*))::text) as h from {only}{table} r) hashed"
            ).fetchone()
    except LockNotAvailable as error:
        raise locked(f"The digest of schema {schema} cannot be taken: {table} is locked.", connection, table) from error
    assert row is not None
    return TableDigest(name, int(row[0]), str(row[1]))


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(lines).encode()).hexdigest()
