"""The chain: lock, drop, migrate, seed, as one unit that no concurrent run can break.

`reset` installs a snapshot that was built before. It has two strategies: `swap`, the default, fills a new schema aside
and puts it in place at once; `in_place` refills the live one, for content that cannot be moved. `seed` leaves the
structure as it is, and `migrate` the data. All of them exclude each other by the one lock.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from dbtools.chain import guard, in_place, swap
from dbtools.chain.copy import own_views, with_referencing_tables
from dbtools.chain.lock import FENCE
from dbtools.chain.lock_room import explain_lock_room
from dbtools.chain.locked_session import session_lock
from dbtools.chain.locked_transaction import open_guarded_session, transaction_lock
from dbtools.chain.phase import ROLLED_BACK, Outcome, phase
from dbtools.chain.report import Report, waiting_for_tables
from dbtools.chain.schema import check_row_security
from dbtools.chain.seeding import seed_tables
from dbtools.chain.self_wait import end_self_waits
from dbtools.db.connect import open_session
from dbtools.db.revisions import current_revisions
from dbtools.db.table_locks import lock_tables
from dbtools.errors import UNCHANGED, ChainFailed, StepFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import psycopg

    from dbtools.build.snapshot import Snapshot
    from dbtools.chain.install import SnapshotSource
    from dbtools.chain.prefetch import SeedRows
    from dbtools.chain.target import Target
    from dbtools.db.dsn import Dsn


def reset(target: Target, source: SnapshotSource, rows: SeedRows, report: Report) -> Outcome:
    """Put the content of the snapshot, and `rows`, in the place of what the schemas hold, under the seed lock.

    The snapshot is built first where there is none, outside of the lock: nobody else knows the scratch database.

    Raises:
        ResetRefused: The guard said no. Nothing was changed.
        DatabaseUnreachable: The server did not let us in. Nothing was changed.
        LockTimeout: Another session kept the lock, or the tables. Nothing was changed.
        StepFailed: A step of the project failed, or did nothing. Nothing was changed.
        ChainFailed: A phase failed; the message says what state the database is in.
    """
    outcome = Outcome("reset")
    _install(target, source, rows, report, outcome)
    report.done(f"Reset complete (advisory lock key=0x{target.lock_key:x})")
    return outcome


def _install(target: Target, source: SnapshotSource, rows: SeedRows, report: Report, outcome: Outcome) -> None:
    guard.check_environment(outcome.action, rows.plan.environ)
    is_in_place = target.in_place or target.unprotected
    rebuild = in_place.rebuild if is_in_place else swap.rebuild
    with (
        _open_with_snapshot(target, source, rows, outcome) as (work, snapshot),
        explain_lock_room(work, snapshot.manifest, outcome.action, in_place=is_in_place),
    ):
        rebuild(work, target, snapshot, replace(rows, in_snapshot=source.seeds), report, outcome)


@contextmanager
def _open_with_snapshot(
    target: Target, source: SnapshotSource, rows: SeedRows, outcome: Outcome
) -> Iterator[tuple[psycopg.Connection, Snapshot]]:
    """Open the session of the run, and find the snapshot or build it.

    A build takes long, so no session of ours waits for it: afterwards another one is opened.
    """
    with open_guarded_session(target, outcome.action, rows.plan) as work:
        with phase("build", UNCHANGED, outcome):
            snapshot = source.find(work)
        if snapshot:
            yield work, snapshot
            return
        here = target.dsn.pinned(work)
    with phase("build", UNCHANGED, outcome):
        snapshot = source.build(here)
    with open_guarded_session(target, outcome.action, rows.plan) as work:
        yield work, snapshot


def seed(target: Target, source: SnapshotSource, rows: SeedRows, report: Report) -> Outcome:
    """Empty the seeded tables and load them again, in one transaction under the seed lock.

    Readers wait from the emptying to the commit, but do not fail: all the tables are locked at one moment. Only a
    REPEATABLE READ transaction whose snapshot is older finds them empty: TRUNCATE does not honour older snapshots.

    In the known-users mode nothing is emptied: rows are inserted where they are missing.

    Where the project's own programs seed, their rows come from the snapshot, and the whole content is put in place as
    `reset` does it, if the live schema is the one that the migrate steps make.

    Raises:
        ResetRefused: The guard said no. Nothing was changed.
        DatabaseUnreachable: The server did not let us in. Nothing was changed.
        LockTimeout: Another session kept the lock, or the tables. Nothing was changed.
        StepFailed: A step of the project failed, or did nothing. Nothing was changed.
        ChainFailed: The tables are not there yet, or a statement failed; the message says what state that leaves.
    """
    outcome = Outcome("seed")
    if source.seeds and not rows.plan.known_users_only:
        _install(target, source, rows, report, outcome)
        return outcome
    guard.check_environment("seed", rows.plan.environ)
    with (
        open_guarded_session(target, "seed", rows.plan) as work,
        transaction_lock(work, target, report, outcome),
        phase("seed", ROLLED_BACK, outcome),
    ):
        seeded = [table.name for table in rows.copy_data().tables]
        check_row_security(work, seeded)  # before readers have to wait
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


def migrate(
    target: Target, upgrade: Callable[[Dsn, int], Sequence[str]], report: Report
) -> tuple[Sequence[str], Sequence[str]]:
    """Run the migrate steps under the seed lock and keep the data; return the revisions before and after.

    `upgrade` runs them on the database that it is given, every session behind the fence whose key it is given, and
    returns the heads of the history, if it knows them. The guard is not asked: nothing is destroyed.

    Raises:
        DatabaseUnreachable: The server did not let us in. Nothing was changed.
        LockTimeout: Another session kept the lock. Nothing was changed.
        StepFailed: A step failed, or takes the lock that this run holds; what it committed before stays.
        ChainFailed: The steps ended, but the database is not at the heads; or the lock was lost.
    """
    outcome = Outcome("migrate")
    stays = "What was committed before stays; invoke doctor shows the revision."
    with (
        session_lock(target, "migrate", report, outcome) as lock,
        open_session(target.dsn.pinned(lock.connection), "migrate") as work,
        phase("migrate", stays, outcome),
    ):
        before = current_revisions(work)
        report.doing("Running migrations...")
        here = target.dsn.pinned(work)
        try:
            with end_self_waits(here, target.lock_key) as waited:
                heads = upgrade(here, FENCE | target.lock_key)
        except StepFailed as error:
            error.state = stays  # no scratch database was at stake
            if waited.is_set():
                error.what = "A migrate step takes the seed advisory lock itself, and would have waited for this run."
                error.hint = "Leave the lock to invoke migrate: it holds it while the steps run."
            raise
        lock.check(work)
        after = current_revisions(work)
        if not after >= set(heads):
            raise ChainFailed(
                "The migrate steps ended without an error, but the database is not at the newest revision.",
                f"It is at {_listed(after)}; the history ends at {', '.join(heads)}.",
                "See what env.py connects to, and which table it keeps its revision in.",
            )
        if before != after:
            report.done(f"Migrations applied: {_listed(before)} to {_listed(after)}")
        else:
            report.done(f"Already at {_listed(after)}" if after else "The migrate steps ended without an error")
    return sorted(before), sorted(after)


def _listed(revisions: set[str]) -> str:
    return ", ".join(sorted(revisions)) or "nothing"
