"""Did this project make the tables that a reset would replace?

A schema without tables, one with our mark, and one whose ledger of migrations holds nothing but migrations of this
history may be replaced. Anything else may be another project's, behind a URL that was copied once too often.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from dbtools.chain.mark import read_mark
from dbtools.db.catalog import summarize
from dbtools.db.dsn import printable
from dbtools.db.sql import quote
from dbtools.errors import UNCHANGED, ResetRefused

if TYPE_CHECKING:
    import psycopg

    from dbtools.build.manifest import TableData
    from dbtools.build.snapshot import Snapshot
    from dbtools.chain.target import Target

# The ledgers of tools for migrations, by the column that names a migration; Alembic's table may have any name.
LEDGERS = {
    "version_num": ("*",),
    "hash": ("__drizzle_migrations",),
    "migration_name": ("_prisma_migrations",),
    "name": ("django_migrations", "knex_migrations", "pgmigrations", "SequelizeMeta", "migrations", "kysely_migration"),
    "version": ("schema_migrations", "_sqlx_migrations", "flyway_schema_history"),
    "version_id": ("goose_db_version",),
}
NO_LEDGER = " or a ledger of migrations"
_TABLES = """
select c.relname, coalesce(array_agg(a.attname::text) filter (where a.attname = any(%s)), '{}')
from pg_class c left join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = to_regnamespace(%s) and c.relkind in ('r', 'p')
  and not exists (select from pg_depend d where (d.classid, d.objid, d.deptype) = ('pg_class'::regclass, c.oid, 'e'))
group by c.relname order by c.relname
"""


def check_ours(work: psycopg.Connection, target: Target, snapshot: Snapshot) -> None:
    """Refuse to replace tables that this project did not make.

    Raises:
        ResetRefused: Names some of them; --confirm with the database's name opens it.
    """
    if target.confirm == work.info.dbname:
        return
    doubts = {}
    known = False
    for schema in snapshot.manifest.schemas:
        found = work.execute(_TABLES, ([*LEDGERS], quote(schema))).fetchall()
        if found and not read_mark(work, schema):
            strange = _strange_entries(work, schema, found, snapshot)
            known = known or strange == ""
            doubts[schema] = (found, strange)
    for schema, (found, strange) in doubts.items():
        # A ledger in a schema of its own speaks for the others too, but for no other ledger.
        if strange == "" or (known and strange == NO_LEDGER):
            continue
        raise ResetRefused(
            f"Refused to reset database {printable(work.info.dbname)}:"
            f" schema {printable(schema)} holds tables that this project did not make.",
            f"{summarize([name for name, _ in found])} {'are' if len(found) > 1 else 'is'} there,"
            f" without a mark of an earlier reset{strange}.",
            f"If they may be destroyed, this once: --confirm {shlex.quote(work.info.dbname)}",
            UNCHANGED,
        )


def unmarked_tables(work: psycopg.Connection, schema: str) -> list[str]:
    """Return the tables of a schema whose origin `check_ours` would ask about: [] where a reset has left its mark."""
    found = [str(name) for name, _ in work.execute(_TABLES, ([], quote(schema)))]
    return found if found and not read_mark(work, schema) else []


def _strange_entries(
    work: psycopg.Connection, schema: str, found: list[tuple[str, list[str]]], snapshot: Snapshot
) -> str:
    """Return "" if a ledger shows that the tables come from this history, else what speaks against that."""
    known_ledger = False
    for name, columns in found:
        for column in columns:
            if "*" not in LEDGERS[column] and name not in LEDGERS[column]:
                continue
            rows = work.execute(f"select distinct {quote(column)}::text from {quote(schema)}.{quote(name)}").fetchall()
            here = {str(value) for (value,) in rows}
            if strange := sorted(here - _known_entries(snapshot, schema, name, column)):
                return f", and table {name} has {summarize(strange)}, which is unknown to this project's history"
            known_ledger = known_ledger or bool(here)
    return "" if known_ledger else NO_LEDGER


def _known_entries(snapshot: Snapshot, schema: str, name: str, column: str) -> set[str]:
    manifest = snapshot.manifest
    known = set(manifest.revisions) if column == "version_num" else set()
    for table in manifest.tables:
        if (manifest.schemas[table.schema], table.name) == (schema, name) and column in table.columns:
            known |= _column(snapshot, table, table.columns.index(column))
    return known


def _column(snapshot: Snapshot, table: TableData, index: int) -> set[str]:
    with snapshot.open(table.file) as file:
        return {line.decode().rstrip("\n").split("\t")[index] for line in file}
