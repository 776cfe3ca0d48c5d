"""Fill the tables with the rows of a run, and say what was created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.chain.copy import analyze, freezable, freeze, insert_missing, keys_checked_after, load, quote

if TYPE_CHECKING:
    from collections.abc import Collection

    import psycopg

    from dbtools.chain.phase import Report
    from dbtools.chain.prefetch import Rows


def fill(work: psycopg.Connection, rows: Rows, report: Report, frozen: Collection[str] = ()) -> int:
    """Copy the rows in, add the ones that may be there already, and return how many that were in all."""
    report.doing("Seeding database...")
    tables, summary = rows.bulk()
    copied, inserted = load(work, tables, frozen), insert_missing(work, rows.missing)
    for line in (*summary, *rows.missing.summary):
        report.done(line)
    if rows.plan.known_users_only:
        report.note(f"{inserted} rows were missing")
    report.doing("Seed complete!")
    return copied + inserted


def fill_new(work: psycopg.Connection, schema: str, rows: Rows, report: Report) -> int:
    """As `fill`, for a `schema` that the open transaction has made and nobody else sees yet.

    Its rows are frozen, those that the migrations inserted too: a transaction whose snapshot is older than the commit
    then finds the tables full, not empty. (Not the rows of partitioned tables, nor of tables with triggers.) Foreign
    keys are checked at the end, and statistics gathered.
    """
    with keys_checked_after(work, schema):
        names = freezable(work, schema)
        count = fill(work, rows, report, names)
        done = {one.table for one in rows.bulk()[0]} - {quote(one.table) for one in rows.missing.tables}
        freeze(work, [name for name in names if name not in done])
    analyze(work, schema)
    return count
