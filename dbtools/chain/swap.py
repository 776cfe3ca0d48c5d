"""The swap strategy: build a new schema aside and put it in the place of the live one in the same transaction.

One session and one transaction hold the lock and do the work, so nothing can lose the lock and go on: advisory lock,
a schema of its own, migrations, rows, statistics, exchange, commit. Whatever happens before the commit, the server
rolls back and the old database is whole; nobody ever sees a part of the new one. What was replaced is dropped after the
commit, in small steps that give way to whoever still reads it.

What moves is the tables, types and routines, not the schema they live in: its owner, grants, comment and default
privileges stay as they are, and so do its extensions, also those that this role could not move.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from dbtools.chain import guard
from dbtools.chain.exchange import exchange, sweep
from dbtools.chain.in_place import search_path
from dbtools.chain.lock import TransactionLock
from dbtools.chain.migrations import Online, Script
from dbtools.chain.phase import UNTOUCHED, Outcome, Report, clock, draining, in_use, phase, waiting
from dbtools.chain.seeding import fill_new
from dbtools.chain.shadow import IN_PLACE, Shadow
from dbtools.db.connect import open_session
from dbtools.db.table_locks import PATIENCE
from dbtools.errors import ChainFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from dbtools.chain.prefetch import Rows
    from dbtools.chain.target import Target
    from dbtools.config import SeedPlan

SWEEPING = 5.0
"""Seconds for which a table that is still read is tried to be dropped; the next reset tries again."""


def rebuild(
    target: Target, history: Script | None, migrations: Path, rows: Rows, report: Report, outcome: Outcome
) -> None:
    """Build the schema anew aside and exchange it for the live one. `history` is None where only Alembic can run it.

    Raises:
        As `chain.reset`.
    """
    if history is not None and history.committing:
        raise ChainFailed(
            f"Migration {history.committing} commits by itself, so the new schema cannot be built in one transaction.",
            "Nothing was changed.",
            IN_PLACE,
        )

    with opened(target, "reset", rows.plan) as work, ExitStack() as stack:
        sweep(work, patience=0)  # before the new tables need the room
        migrator: Script | Online
        if history is None:
            migrator = Online(work, migrations, owned=True)  # asks the server some questions and rolls back after them
            stack.callback(migrator.close)
        else:
            migrator = history
        with held(work, target, report, outcome):
            with phase("migrate", UNTOUCHED, outcome):
                shadow = Shadow(work, target.schema, target.lock_key)
                report.doing("Running migrations...")
                shadow.migrate(migrator)
                report.done("Migrations applied")
            with phase("seed", UNTOUCHED, outcome):
                outcome.rows = fill_new(work, shadow.name, rows, report)
            with phase("swap", UNTOUCHED, outcome):
                patience = max(target.lock_timeout, PATIENCE)
                exchange(work, target.schema, shadow.name, shadow.kept, patience, in_use(report))
                report.done("All tables and enums replaced")
        work.autocommit = True
        with phase("drop", "The new tables are in place; the next reset drops the old ones.", outcome):
            if left := sweep(work, SWEEPING):
                report.note(f"The old tables, in schema {left}, are still in use: the next reset drops them")


@contextmanager
def opened(target: Target, purpose: str, plan: SeedPlan) -> Iterator[psycopg.Connection]:
    """Open the one session of a run and ask the guard."""
    with open_session(target.dsn, purpose) as work:
        with phase("guard", "Nothing was changed.", Outcome()):
            guard.check_database(work, target, purpose, environ=plan.environ)
        yield work


@contextmanager
def held(work: psycopg.Connection, target: Target, report: Report, outcome: Outcome) -> Iterator[None]:
    """Hold the seed lock in a transaction of `work`, and commit it at the end of the block.

    An unprotected run has neither lock nor transaction.
    """
    if target.unprotected:
        work.execute(f"set search_path to {search_path(target.schema)}")
        yield
        return
    with phase("lock", "Nothing was changed.", outcome):
        work.autocommit = False
        lock = TransactionLock(work, target.lock_key)
        outcome.waited = lock.acquire(target.lock_timeout, waiting(report, target.lock_key))
        lock.drain(max(0.0, target.lock_timeout - outcome.waited), draining(report))
        outcome.acquired_at = clock(work)
        work.execute(f"set local search_path to {search_path(target.schema)}")
    report.done(f"Acquired seed advisory lock (key={target.lock_key})")
    yield
    with phase("commit", "Whether it took place is not known: the database is the old one or the new one.", outcome):
        outcome.released_at = clock(work)
        work.commit()
    report.done("Released seed advisory lock")
