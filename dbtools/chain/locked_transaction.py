"""The seed lock in the transaction that does the work: the two end together, so neither outlives the other."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dbtools.chain import guard
from dbtools.chain.lock import TransactionLock
from dbtools.chain.phase import ROLLED_BACK, Outcome, commit, phase, server_time
from dbtools.chain.report import Report, lock_released, lock_taken, waiting_for_earlier_run, waiting_for_lock
from dbtools.db.connect import open_session
from dbtools.db.settings import fix_text_settings
from dbtools.db.sql import search_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from dbtools.chain.target import Target
    from dbtools.config import SeedPlan


@contextmanager
def open_guarded_session(target: Target, purpose: str, plan: SeedPlan) -> Iterator[psycopg.Connection]:
    """Open the one session of a run and ask the guard.

    Raises:
        DatabaseUnreachable: The server did not let us in.
        ResetRefused: The guard said no.
    """
    with open_session(target.dsn, purpose) as work:
        with phase("guard", "Nothing was changed.", Outcome()):
            guard.check_database(work, target, purpose, environ=plan.environ)
        yield work


@contextmanager
def transaction_lock(work: psycopg.Connection, target: Target, report: Report, outcome: Outcome) -> Iterator[None]:
    """Hold the seed lock in a transaction of `work`, and commit it at the end of the block.

    An unprotected run has neither lock nor transaction.

    Raises:
        LockTimeout: Another session kept the lock.
        ChainFailed: The commit failed.
    """
    if target.unprotected:
        fix_text_settings(work, local=False)
        work.execute(f"set search_path to {search_path([target.schema])}")
        yield
        return
    with phase("lock", "Nothing was changed.", outcome):
        work.autocommit = False
        lock = TransactionLock(work, target.lock_key)
        outcome.waited = lock.acquire(target.waits, waiting_for_lock(report, target.lock_key))
        lock.wait_for_fence(target.waits.after(outcome.waited), waiting_for_earlier_run(report))
        outcome.acquired_at = server_time(work)
        fix_text_settings(work, local=True)
        lock_timeout = f"set local lock_timeout = '{target.waits.statement:.3f}s'"
        work.execute(f"set local search_path to {search_path([target.schema])}; {lock_timeout}")
    lock_taken(report, target.lock_key, work.info.backend_pid, outcome.waited)
    yield
    with phase("commit", ROLLED_BACK, outcome):
        outcome.released_at = server_time(work)
    commit(work, outcome)
    lock_released(report, target.lock_key, outcome.rows)
