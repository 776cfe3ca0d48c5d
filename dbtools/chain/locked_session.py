"""The seed lock on a session of its own, and fenced sessions for the work beside it.

One session holds the seed advisory lock and does nothing else; the work runs on other sessions of the same pool, opened
only once the lock is held, so that a waiter costs the server one connection. The work is fenced (`lock`): once the
lock's session is gone nothing more is committed, and the next run waits until this one's work has ended.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.chain import guard
from dbtools.chain.lock import SeedLock
from dbtools.chain.phase import Outcome, phase, server_time
from dbtools.chain.report import Report, waiting_for_earlier_run, waiting_for_lock
from dbtools.chain.schema import search_path
from dbtools.db.connect import disable_timeouts
from dbtools.db.pooler import refuse_shared_sessions
from dbtools.db.sessions import Sessions
from dbtools.db.settings import fix_text_settings
from dbtools.errors import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from dbtools.chain.target import Target
    from dbtools.config import SeedPlan


@dataclass(frozen=True)
class LockedSessions:
    """The lock while it is held, and the sessions for the work; an unprotected run has no lock."""

    sessions: Sessions
    lock: SeedLock | None

    def check(self, work: psycopg.Connection) -> None:
        """Raise ChainFailed unless this run still holds the lock."""
        if self.lock:
            self.lock.check(work)


@contextmanager
def session_lock(
    target: Target, purpose: str, plan: SeedPlan | None, report: Report, outcome: Outcome
) -> Iterator[LockedSessions]:
    """Hold the seed lock on a session reserved for it. With a `plan`, ask the guard first.

    Raises:
        ResetRefused: The guard said no.
        LockTimeout: Another session kept the lock.
        ChainFailed: The lock was lost before the end of the block.
    """
    sessions = Sessions(target.dsn, target.pool_size, purpose)
    if target.unprotected:
        yield LockedSessions(sessions, None)
        return
    with sessions.open() as reserved:
        with phase("lock", "Nothing was changed.", outcome):
            if plan:
                guard.check_database(reserved, target, purpose, environ=plan.environ)
            refuse_shared_sessions(reserved, sessions)
            lock = SeedLock(reserved, target.lock_key)
            outcome.waited = lock.acquire(target.waits, waiting_for_lock(report, target.lock_key))
            lock.wait_for_fence(target.waits.after(outcome.waited), waiting_for_earlier_run(report))
            outcome.acquired_at = server_time(reserved)
        report.done(f"Acquired seed advisory lock (key={target.lock_key})")
        yield LockedSessions(sessions, lock)
        with phase("unlock", "The work was committed before.", outcome):
            outcome.released_at = server_time(reserved)
            lock.release()
        report.done("Released seed advisory lock")


@contextmanager
def open_work_session(locked: LockedSessions, target: Target, *, whole: bool) -> Iterator[psycopg.Connection]:
    """Open a session behind the fence, its search_path the schema; one transaction when `whole`, else autocommit."""
    with locked.sessions.open(autocommit=True) as connection:
        with phase("session", UNCHANGED, Outcome()):
            disable_timeouts(connection, local=False)
            if locked.lock:
                locked.lock.join_fence(connection)
            fix_text_settings(connection, local=False)
            connection.execute(f"set search_path to {search_path(target.schema)}")
            connection.execute(f"set lock_timeout = '{target.waits.statement:.3f}s'")
            connection.autocommit = not whole
        yield connection
