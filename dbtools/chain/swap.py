"""The swap strategy: build a new schema aside and put it in the place of the live one in the same transaction.

One session and one transaction hold the lock and do the work, so no run can lose the lock and go on: advisory lock, a
schema of its own, migrations, rows, statistics, exchange, commit. If anything fails before the commit, the server rolls
back and the old database is whole; no other session ever sees a part of the new one. What was replaced is dropped after
the commit, in small steps that give way to readers.

The tables, types and routines move, not the schema they live in: its owner, grants, comment and default privileges
stay, and so do its extensions, even those that this role could not move.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from dbtools.chain.cleanup import sweep, vacuum_catalogs
from dbtools.chain.exchange import exchange
from dbtools.chain.locked_transaction import open_guarded_session, transaction_lock
from dbtools.chain.migrations import AlembicMigrations, RenderedMigrations
from dbtools.chain.phase import ROLLED_BACK, Outcome, phase
from dbtools.chain.report import Report, waiting_for_tables
from dbtools.chain.seeding import seed_new_schema
from dbtools.chain.shadow import IN_PLACE, Shadow
from dbtools.errors import UNCHANGED, ChainFailed

if TYPE_CHECKING:
    from pathlib import Path

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
    """Build the schema anew aside and exchange it for the live one. `history` is None where only Alembic can run it.

    Raises:
        DbtoolsError: As `chain.reset`.
    """
    if history is not None and history.committing:
        raise ChainFailed(
            f"Migration {history.committing} commits by itself, so the new schema cannot be built in one transaction.",
            "",
            IN_PLACE,
            UNCHANGED,
        )

    with open_guarded_session(target, "reset", rows.plan) as work, ExitStack() as stack:
        with phase("sweep", "The live tables were not changed.", Outcome()):
            sweep(work, patience=0)  # before the new tables need the room
        migrator: RenderedMigrations | AlembicMigrations
        if history is None:
            migrator = AlembicMigrations(work, migrations, owned=True)  # asks the server, and rolls back after that
            stack.callback(migrator.close)
        else:
            migrator = history
        with transaction_lock(work, target, report, outcome):
            with phase("migrate", ROLLED_BACK, outcome):
                shadow = Shadow(work, target.schema, target.lock_key)
                report.doing("Running migrations...")
                shadow.migrate(migrator)
                report.done("Migrations applied")
            with phase("seed", ROLLED_BACK, outcome):
                outcome.rows = seed_new_schema(work, shadow.name, rows, report)
                shadow.check_rows()
            with phase("swap", ROLLED_BACK, outcome):
                exchange(work, target.schema, shadow.name, shadow.kept, target.waits.lock, waiting_for_tables(report))
                report.done("All tables and enums replaced")
        work.autocommit = True
        with phase("drop", "The new tables are in place; the next reset drops the old ones.", outcome):
            if left := sweep(work, target.waits.sweep):
                report.note(f"The old tables, in schema {left}, are still in use: the next reset drops them")
            vacuum_catalogs(work)
