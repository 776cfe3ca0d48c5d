"""The in-place strategy: drop, migrate and seed in the live schema, under the session lock.

The work is one transaction, so that a failure at any point leaves the database as it was. Readers wait from the drop to
the commit.

Migrations that commit by themselves (CREATE INDEX CONCURRENTLY, autocommit blocks) cannot run in one transaction. They
run in phases instead, each committed, still under the one lock; a failure then leaves a database that is dropped or
half built, and the error says so.
"""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING

from dbtools.chain.cleanup import vacuum_catalogs
from dbtools.chain.copy import foreign_keys_suspended
from dbtools.chain.drop import BATCH, drop_all
from dbtools.chain.locked_session import open_work_session, session_lock
from dbtools.chain.migrations import AlembicMigrations, RenderedMigrations
from dbtools.chain.phase import ROLLED_BACK, Outcome, commit, phase
from dbtools.chain.report import Report, waiting_for_tables
from dbtools.chain.schema import check_rights
from dbtools.chain.seeding import seed_tables
from dbtools.db.catalog import schema_objects
from dbtools.db.table_locks import lock_tables

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from dbtools.chain.prefetch import SeedRows
    from dbtools.chain.target import Target


def rebuild(
    target: Target,
    history: RenderedMigrations | None,
    migrations: Path,
    rows: SeedRows,
    report: Report,
    outcome: Outcome,
) -> None:
    """Drop what the application owns, migrate to head and seed. `history` is None where only Alembic can run it.

    Raises:
        DbtoolsError: As `chain.reset`.
    """
    whole = (history is None or not history.committing) and not target.unprotected
    with (
        session_lock(target, "reset", rows.plan, report, outcome) as locked,
        open_work_session(locked, target, whole=whole) as work,
        ExitStack() as stack,
    ):
        # Alembic has to be set up before there is anything to roll back: now, or after the drop was committed.
        ready = _migrator(work, history, migrations, stack) if whole else None
        with phase("drop", ROLLED_BACK if whole else "The schema is as it was, or dropped in part.", outcome):
            report.doing("Dropping all application tables...")
            check_rights(work, target.schema)
            if whole:
                tables = [found.name for found in schema_objects(work, target.schema) if found.is_lockable]
                what = "The old tables are in use and could not be dropped."
                lock_tables(work, tables, target.waits.lock, waiting_for_tables(report), what)
            drop_all(work, target.schema, batch=None if whole else BATCH)
            report.done("All tables and enums dropped")
        with phase(
            "migrate",
            ROLLED_BACK if whole else "The schema is dropped and only partly rebuilt: run reset again.",
            outcome,
        ):
            locked.check(work)
            report.doing("Running migrations...")
            (ready or _migrator(work, history, migrations, stack)).run(work)
            report.done("Migrations applied")
        unseeded = "The schema is migrated and holds no data: run seed."
        with phase("seed", ROLLED_BACK if whole else unseeded, outcome):
            if not whole:
                work.autocommit = target.unprotected
            locked.check(work)
            with foreign_keys_suspended(work, target.schema) if whole else nullcontext():
                outcome.rows = seed_tables(work, target.schema, rows, report)
            locked.check(work)
        if whole:
            commit(work, outcome)
        else:
            unknown = "Whether it took place is not known: the schema is migrated, and holds all its data or none."
            commit(work, outcome, refused=unseeded, unknown=unknown)
        if not target.unprotected:
            work.autocommit = True
            with phase("vacuum", "The new tables are in place.", outcome):
                vacuum_catalogs(work)


def _migrator(
    work: psycopg.Connection, history: RenderedMigrations | None, folder: Path, stack: ExitStack
) -> RenderedMigrations | AlembicMigrations:
    """Return what runs the migrations: the rendered script, or Alembic where there is none or it commits by itself."""
    if history is not None and not history.committing:
        return history
    online = AlembicMigrations(work, folder, owned=history is None)
    stack.callback(online.close)
    return online
