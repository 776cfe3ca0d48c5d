"""Fill the tables with the rows of a run, and report what was created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.chain.copy import copy_rows, insert_missing, own_views, refresh
from dbtools.words import number_of

if TYPE_CHECKING:
    import psycopg

    from dbtools.chain.prefetch import SeedRows
    from dbtools.chain.report import Report


def seed_tables(work: psycopg.Connection, schema: str, rows: SeedRows, report: Report) -> int:
    """Copy the rows in, insert those that are missing, and return how many rows were added.

    Materialized views of `schema` are refreshed then, as far as this role may.
    """
    report.doing("Seeding database...")
    tables, summary = rows.copy_data()
    copied, inserted = copy_rows(work, tables), insert_missing(work, rows.missing)
    refresh(work, own_views(work, schema))
    for line in (*summary, *rows.missing.summary):
        report.done(line)
    if rows.plan.known_users_only:
        report.note(f"{number_of(inserted, 'row')} {'was' if inserted == 1 else 'were'} missing")
    report.doing("Seed complete!")
    return copied + inserted
