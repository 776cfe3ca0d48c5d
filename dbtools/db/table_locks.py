"""Lock many tables at one moment, without failing those who use them.

Taking many locks while others take theirs can end in a deadlock, of which the server ends one side, after
deadlock_timeout. So the locks are tried for less than that, all or none: on failure all are given back, and readers
have as long a turn before the next try. The table that could not be had goes first then: who begins with it waits
outside, holding nothing that is still wanted. So the order comes to be the readers' own, in which no two wait for each
other. A try is short, as readers wait that long for nothing; it grows as long as what stands in the way is a
transaction that takes its time, and not two that wait for each other.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from dbtools.db.blockers import REMIND_S, find_user, is_waiting
from dbtools.errors import LockTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import psycopg

    from dbtools.db.blockers import Holder

PATIENCE = 30.0
"""Seconds for which the locks are tried at least, whatever the lock's own timeout."""
SHORTEST, LONGEST = 0.01, 0.5
"""Seconds of the first try, and of any, where deadlock_timeout does not ask for less."""
QUIET = 1.0
"""Seconds of trying of which nobody needs to be told."""


def lock_tables(
    work: psycopg.Connection,
    tables: Sequence[str],
    timeout: float,
    waiting: Callable[[Holder | None], None],
    what: str,
    then: str = "",
) -> None:
    """Take ACCESS EXCLUSIVE on the tables (names in SQL form), all or none, and run the SQL `then` as part of it.

    In the open transaction of `work`, which keeps the locks to its end. `waiting` is told whose transaction uses them,
    where it takes long, and again every 15 s.

    Raises:
        LockTimeout: They were in use for `timeout` seconds; `what` says what could not be done. The caller is to roll
            back.
    """
    from psycopg.errors import DeadlockDetected, LockNotAvailable

    row = work.execute("select setting::float / 1000 from pg_settings where name = 'deadlock_timeout'").fetchone()
    assert row is not None
    longest = min(LONGEST, 0.8 * float(row[0]))
    order = [*tables]
    began, told, span = time.monotonic(), 0.0, min(SHORTEST, longest)
    while True:
        user, mutual = None, False
        try:
            with work.transaction():  # a savepoint: a failed try gives back what it had locked
                _lock(work, order, span)
                if then:
                    work.execute(then)
            work.execute("set local lock_timeout = 0")
            return
        except _InUseError as error:
            user, mutual = error.user, error.mutual
            order.sort(key=error.table.__ne__)  # to the front
        except (LockNotAvailable, DeadlockDetected):
            pass  # by what is no table, such as a sequence
        now = time.monotonic()
        if now > began + timeout:
            raise _busy(what, user)
        if user and not mutual and now > max(began + QUIET, told + REMIND_S):
            waiting(user)
            told = now
        time.sleep(random.uniform(0.5, 1.5) * span)  # noqa: S311 - jitter: readers get as long a turn
        if not mutual:
            span = min(1.5 * span, longest)


class _InUseError(Exception):
    def __init__(self, work: psycopg.Connection, table: str) -> None:
        self.table = table
        self.user, self.mutual = find_user(work, table), is_waiting(work, table)


def _lock(work: psycopg.Connection, tables: list[str], span: float) -> None:
    """Lock the tables in this order, within `span` seconds, or raise _InUseError with those before it still locked."""
    from psycopg.errors import DeadlockDetected, LockNotAvailable

    end = time.monotonic() + span
    for table in tables:
        left = max(1, round((end - time.monotonic()) * 1000))
        try:
            with work.transaction():
                work.execute(f"set local lock_timeout = {left}; lock table {table} in access exclusive mode")
        except (LockNotAvailable, DeadlockDetected):
            raise _InUseError(work, table) from None


def _busy(what: str, user: Holder | None) -> LockTimeout:
    end = f"End that session: select pg_terminate_backend({user.pid}); or wait" if user else "Wait"
    return LockTimeout(
        what,
        f"Used by the open transaction of {user or 'others'}. Everything was rolled back: nothing was changed.",
        f"{end} longer with --lock-timeout SECONDS.",
    )
