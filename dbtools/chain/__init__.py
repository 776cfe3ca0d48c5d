"""The chain: lock, drop, migrate, seed, as one unit that no concurrent run can break.

`reset` has two strategies. `swap`, the default, builds a new schema aside and puts it in place at once; `in_place`
rebuilds the live one, for migrations that cannot be run aside. `seed` and `migrate` keep the schema. All of them
exclude each other by the one lock.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from dbtools.chain import guard, in_place, swap
from dbtools.chain.copy import own_views, with_referencing_tables
from dbtools.chain.locked_session import open_work_session, session_lock
from dbtools.chain.locked_transaction import open_guarded_session, transaction_lock
from dbtools.chain.migrations import AlembicMigrations, current_revision, load_rendered
from dbtools.chain.phase import ROLLED_BACK, Outcome, phase
from dbtools.chain.report import Report, waiting_for_tables
from dbtools.chain.schema import check_row_security
from dbtools.chain.seeding import seed_tables
from dbtools.db.table_locks import lock_tables

if TYPE_CHECKING:
    from pathlib import Path

    from dbtools.chain.prefetch import SeedRows
    from dbtools.chain.target import Target


def reset(target: Target, migrations: Path, cache: Path, rows: SeedRows, report: Report) -> Outcome:
    """Rebuild the database: drop what the application owns, migrate to head, seed; all under the seed lock.

    `migrations` is Alembic's folder, `cache` a folder for what can be made again.

    Raises:
        ResetRefused: The guard said no. Nothing was changed.
        DatabaseUnreachable: The server did not let us in. Nothing was changed.
        LockTimeout: Another session kept the lock, or the tables. Nothing was changed.
        ChainFailed: A phase failed; the message says what state the database is in.
    """
    guard.check_environment("reset", rows.plan.environ)
    outcome = Outcome("reset")
    history = load_rendered(migrations, cache, report.note)
    if target.in_place or target.unprotected:
        in_place.rebuild(target, history, migrations, rows, report, outcome)
    else:
        swap.rebuild(target, history, migrations, rows, report, outcome)
    report.done(f"Reset complete (advisory lock key=0x{target.lock_key:x})")
    return outcome


def seed(target: Target, rows: SeedRows, report: Report) -> Outcome:
    """Empty the seeded tables and load them again, in one transaction under the seed lock.

    Readers wait from the emptying to the commit, but do not fail: all the tables are locked at one moment. Only a
    REPEATABLE READ transaction whose snapshot is older finds them empty: TRUNCATE does not honour older snapshots.

    In the known-users mode nothing is emptied: rows are inserted where they are missing.

    Raises:
        ResetRefused: The guard said no. Nothing was changed.
        DatabaseUnreachable: The server did not let us in. Nothing was changed.
        LockTimeout: Another session kept the lock, or the tables. Nothing was changed.
        ChainFailed: The tables are not there yet, or a statement failed; the message says what state that leaves.
    """
    guard.check_environment("seed", rows.plan.environ)
    outcome = Outcome("seed")
    with (
        open_guarded_session(target, "seed", rows.plan) as work,
        transaction_lock(work, target, report, outcome),
        phase("seed", ROLLED_BACK, outcome),
    ):
        seeded = [table.name for table in rows.copy_data().tables]
        check_row_security(work, target.schema, seeded)  # before readers have to wait
        emptied, only = with_referencing_tables(work, seeded, target.schema)
        if emptied and not target.unprotected:
            what = "The seeded tables are in use and could not be emptied."
            # LOCK TABLE takes no materialized view; ALTER locks one as REFRESH will, and changes nothing here.
            views = own_views(work, target.schema).items()
            then = "; ".join(f"alter materialized view {view} owner to {owner}" for view, owner in views)
            lock_tables(work, emptied, target.waits.lock, waiting_for_tables(report), what, then)
        if emptied:
            work.execute(f"truncate {', '.join(only)}")
        outcome.rows = seed_tables(work, target.schema, rows, report)
    return outcome


def migrate(target: Target, migrations: Path, report: Report) -> tuple[str, str]:
    """Upgrade to head under the seed lock, keeping the data; return the revisions before and after.

    The guard is not asked: nothing is destroyed.

    Raises:
        DatabaseUnreachable: The server did not let us in. Nothing was changed.
        LockTimeout: Another session kept the lock. Nothing was changed.
        ChainFailed: A revision failed; the message says what state the database is in.
    """
    outcome = Outcome("migrate")
    with (
        session_lock(target, "migrate", None, report, outcome) as locked,
        open_work_session(locked, target, whole=True) as work,
        ExitStack() as stack,
        phase("migrate", "What was committed before stays; invoke doctor shows the revision.", outcome),
    ):
        online = AlembicMigrations(work, migrations, owned=False)
        stack.callback(online.close)
        before = current_revision(work)
        work.rollback()
        report.doing("Running migrations...")
        online.run(work)
        after = current_revision(work)
        work.rollback()
        report.done(
            f"Migrations applied: {before or 'nothing'} to {after}" if before != after else f"Already at {after}"
        )
    return before, after
