"""Fill the tables with the rows of a run, and report what was created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.chain.copy import (
    analyze,
    copy_rows,
    foreign_keys_suspended,
    freezable_tables,
    freeze_rows,
    insert_missing,
    own_views,
    refresh,
)
from dbtools.chain.schema import check_row_security
from dbtools.db.sql import quote

if TYPE_CHECKING:
    from collections.abc import Collection

    import psycopg

    from dbtools.chain.prefetch import SeedRows
    from dbtools.chain.report import Report


def seed_tables(
    work: psycopg.Connection, schema: str, rows: SeedRows, report: Report, frozen: Collection[str] = ()
) -> int:
    """Copy the rows in, insert those that are missing, and return how many rows were added.

    Materialized views of `schema` are refreshed then, as far as this role may.
    """
    report.doing("Seeding database...")
    tables, summary = rows.copy_data()
    check_row_security(work, schema, [table.name for table in tables])
    copied, inserted = copy_rows(work, tables, frozen), insert_missing(work, rows.missing)
    refresh(work, own_views(work, schema))
    for line in (*summary, *rows.missing.summary):
        report.done(line)
    if rows.plan.known_users_only:
        report.note(f"{inserted} rows were missing")
    report.doing("Seed complete!")
    return copied + inserted


def seed_new_schema(work: psycopg.Connection, schema: str, rows: SeedRows, report: Report) -> int:
    """As `seed_tables`, for a `schema` that the open transaction has made and no other session sees yet.

    Rows are frozen, including those that the migrations inserted: a transaction whose snapshot is older than the commit
    then finds full tables, not empty ones. (Except in partitioned tables and tables with triggers.) Foreign keys are
    checked at the end, and statistics gathered.
    """
    with foreign_keys_suspended(work, schema):
        names = freezable_tables(work, schema)
        count = seed_tables(work, schema, rows, report, names)
        done = {table.name for table in rows.copy_data().tables} - {quote(table.table) for table in rows.missing.tables}
        freeze_rows(work, [name for name in names if name not in done])
    analyze(work, schema)
    return count
