"""Lock many tables at one moment, without failing those who use them.

Taking many locks while others take theirs can end in a deadlock, of which the server ends one side after
deadlock_timeout. So each attempt is shorter than that, and takes all locks or none: a failed attempt gives them all
back, and readers get as long a turn before the next. The table that blocked the attempt moves to the front, so that the
next attempt waits for it while holding nothing else. The order thus converges on the one the readers use, in which no
deadlock is possible. An attempt keeps readers waiting for nothing, so the first one is short. Attempts grow as long as
a slow transaction stands in the way, but not where the two sides wait for each other.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from dbtools.db.blockers import REMINDER_S, find_blocker, is_waiting_for_us
from dbtools.db.sql import scalar
from dbtools.errors import LockTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import psycopg

    from dbtools.db.blockers import Blocker

FIRST_ATTEMPT_S, LONGEST_ATTEMPT_S = 0.01, 0.5
"""The first attempt and the longest one, where deadlock_timeout does not demand shorter ones."""
QUIET_S = 1.0
"""How long attempts go on before the first report."""


def lock_tables(
    work: psycopg.Connection,
    tables: Sequence[str],
    timeout: float,
    waiting: Callable[[Blocker | None], None],
    what: str,
    then: str = "",
) -> None:
    """Take ACCESS EXCLUSIVE on the tables (names in SQL form), all or none, and run the SQL `then` as part of it.

    In the open transaction of `work`, which keeps the locks to its end. Tries for `timeout` seconds; at 0 once, in one
    attempt of the longest kind. A long wait is reported to `waiting`, with the session that uses the tables, and again
    every `REMINDER_S`.

    Raises:
        LockTimeout: They were in use all that time; `what` says what could not be done. The caller has to roll back.
    """
    from psycopg.errors import DeadlockDetected, LockNotAvailable

    deadlock_timeout = scalar(work, "select setting::float / 1000 from pg_settings where name = 'deadlock_timeout'")
    longest = min(LONGEST_ATTEMPT_S, 0.8 * float(deadlock_timeout))
    order = [*tables]
    began, told = time.monotonic(), 0.0
    span = min(FIRST_ATTEMPT_S, longest) if timeout else longest
    while True:
        blocker, mutual = None, False
        try:
            with work.transaction():  # a savepoint: a failed attempt gives back what it had locked
                _lock(work, order, span)
                if then:
                    work.execute(then)
            work.execute("set local lock_timeout = 0")
            return
        except _InUseError as error:
            blocker, mutual = error.blocker, error.mutual
            order.sort(key=error.table.__ne__)  # to the front
        except (LockNotAvailable, DeadlockDetected):
            pass  # `then` met something that is no table, such as a sequence
        now = time.monotonic()
        if now >= began + timeout:
            raise _in_use(what, blocker)
        if blocker and not mutual and now > max(began + QUIET_S, told + REMINDER_S):
            waiting(blocker)
            told = now
        time.sleep(random.uniform(0.5, 1.5) * span)  # noqa: S311 - jitter: readers get as long a turn
        if not mutual:
            span = min(1.5 * span, longest)


class _InUseError(Exception):
    def __init__(self, work: psycopg.Connection, table: str) -> None:
        self.table = table
        self.blocker, self.mutual = find_blocker(work, table), is_waiting_for_us(work, table)


def _lock(work: psycopg.Connection, tables: list[str], span: float) -> None:
    """Lock the tables in this order, within `span` seconds, or raise _InUseError with those before it still locked."""
    from psycopg.errors import DeadlockDetected, LockNotAvailable

    if not tables:
        return
    end = time.monotonic() + span

    def within() -> str:
        left = max(1, round((end - time.monotonic()) * 1000))
        return f"set local lock_timeout = {left}"

    try:
        with work.transaction():  # where nobody uses them: at one moment, in one round trip
            work.execute(f"{within()}; lock table {', '.join(tables)} in access exclusive mode nowait")
        return
    except LockNotAvailable:
        pass  # one by one, to find out which
    for table in tables:
        try:
            with work.transaction():
                work.execute(f"{within()}; lock table {table} in access exclusive mode")
        except (LockNotAvailable, DeadlockDetected):
            raise _InUseError(work, table) from None


def _in_use(what: str, blocker: Blocker | None) -> LockTimeout:
    end = f"End that session: select pg_terminate_backend({blocker.pid}); or wait" if blocker else "Wait"
    return LockTimeout(
        what,
        f"Used by the open transaction of {blocker or 'others'}.",
        f"{end} longer with --lock-timeout SECONDS.",
        "Everything was rolled back: nothing was changed.",
    )
