"""The chain: lock, drop, migrate, seed, as one unit that no concurrent run can break.

`reset` has two strategies. `swap`, the default, builds a new schema aside and puts it in place at once; `in_place`
rebuilds the live one, for migrations that cannot be run aside. `seed` and `migrate` keep the schema. All of them
exclude each other by the one lock.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from dbtools.chain import guard, in_place, swap
from dbtools.chain.copy import to_be_emptied
from dbtools.chain.migrations import Online, current, script
from dbtools.chain.phase import UNTOUCHED, Outcome, Report, in_use, phase
from dbtools.chain.seeding import fill
from dbtools.db.table_locks import PATIENCE, lock_tables

if TYPE_CHECKING:
    from pathlib import Path

    from dbtools.chain.prefetch import Rows
    from dbtools.chain.target import Target


def reset(target: Target, migrations: Path, cache: Path, rows: Rows, report: Report) -> Outcome:
    """Rebuild the database: drop what the application owns, migrate to head, seed; all under the seed lock.

    `migrations` is Alembic's folder, `cache` a folder for what can be made again, `rows` what `rows.prepare` gives.

    Raises:
        ResetRefused: The guard said no. Nothing was changed.
        DatabaseUnreachable: The server did not let us in. Nothing was changed.
        LockTimeout: Another session kept the lock, or the tables. Nothing was changed.
        ChainFailed: A phase failed; the message says what state the database is in.
    """
    guard.check_environment("reset", rows.plan.environ)
    outcome = Outcome()
    history = script(migrations, cache)
    if target.in_place or target.unprotected:
        in_place.rebuild(target, history, migrations, rows, report, outcome)
    else:
        swap.rebuild(target, history, migrations, rows, report, outcome)
    report.done(f"Reset complete (advisory lock key=0x{target.lock_key:x})")
    return outcome


def seed(target: Target, rows: Rows, report: Report) -> Outcome:
    """Empty the seeded tables and load them again, in one transaction under the seed lock.

    Readers wait from the emptying to the commit, but are not failed: all the tables are locked at one moment. Only a
    transaction with a snapshot from before, REPEATABLE READ, finds them empty: TRUNCATE is not for older snapshots.

    In the known-users mode nothing is emptied: rows are inserted where they are missing.

    Raises:
        As `reset`. ChainFailed: also when the tables are not there yet.
    """
    guard.check_environment("seed", rows.plan.environ)
    outcome = Outcome()
    with (
        swap.opened(target, "seed", rows.plan) as work,
        swap.held(work, target, report, outcome),
        phase("seed", UNTOUCHED, outcome),
    ):
        emptied = to_be_emptied(work, [one.table for one in rows.bulk()[0]], target.schema)
        if emptied and not target.unprotected:
            what = "The seeded tables are in use and could not be emptied."
            lock_tables(work, emptied, max(PATIENCE, target.lock_timeout), in_use(report), what)
        if emptied:
            work.execute(f"truncate {', '.join(emptied)}")
        outcome.rows = fill(work, rows, report)
    return outcome


def migrate(target: Target, migrations: Path, report: Report) -> tuple[str, str]:
    """Upgrade to head under the seed lock, keeping the data; return the revisions before and after.

    Raises:
        As `reset`, but for the guard's: nothing is destroyed here.
    """
    outcome = Outcome()
    with (
        in_place.locked(target, "migrate", None, report, outcome) as hold,
        in_place.opened(hold, target, whole=True) as work,
        ExitStack() as stack,
        phase("migrate", "Revisions before it stay applied where they commit by themselves.", outcome),
    ):
        online = Online(work, migrations, owned=False)
        stack.callback(online.close)
        before = current(work)
        work.rollback()
        report.doing("Running migrations...")
        online.run(work)
        after = current(work)
        work.rollback()
        report.done(
            f"Migrations applied: {before or 'nothing'} to {after}" if before != after else f"Already at {after}"
        )
    return before, after
