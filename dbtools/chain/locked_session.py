"""The seed lock on a session of its own, while the project's own programs work on sessions that they open.

The lock's session does nothing else. The programs' sessions are behind a fence (`lock`): where the lock's session is
lost, the next run waits until theirs have ended.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dbtools.chain.lock import SeedLock
from dbtools.chain.phase import Outcome, phase, server_time
from dbtools.chain.report import Report, lock_released, lock_taken, waiting_for_earlier_run, waiting_for_lock
from dbtools.db.pooler import refuse_shared_sessions
from dbtools.db.sessions import Sessions
from dbtools.errors import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.chain.target import Target


@contextmanager
def session_lock(target: Target, purpose: str, report: Report, outcome: Outcome) -> Iterator[SeedLock]:
    """Hold the seed lock on a session reserved for it.

    Raises:
        LockTimeout: Another session kept the lock.
        ChainFailed: The lock was lost before the end of the block.
    """
    sessions = Sessions(target.dsn, target.pool_size, purpose)
    with sessions.open() as reserved:
        with phase("lock", UNCHANGED, outcome):
            refuse_shared_sessions(reserved, sessions)
            lock = SeedLock(reserved, target.lock_key)
            outcome.waited = lock.acquire(target.waits, waiting_for_lock(report, target.lock_key))
            lock.wait_for_fence(target.waits.after(outcome.waited), waiting_for_earlier_run(report))
            outcome.acquired_at = server_time(reserved)
        lock_taken(report, target.lock_key, lock.pid, outcome.waited)
        yield lock
        with phase("unlock", "The work was committed before.", outcome):
            outcome.released_at = server_time(reserved)
            lock.release()
        lock_released(report, target.lock_key, outcome.rows)
