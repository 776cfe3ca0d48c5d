"""The seed advisory lock, in two forms that exclude each other and every program that takes the same key.

`TransactionLock` ends with the transaction that took it: where lock and work share one transaction there is nothing to
lose, nothing to release, and a transaction pooler does no harm. `SeedLock` is the session form, pinned to the one
connection that took it, for work that spans transactions or sessions; such work is fenced.

The fence is a second, shared advisory lock. Every work session holds it, and a new holder of the seed lock takes it
exclusively once: it so waits for the work of an earlier run whose lock was lost.

Any program that takes pg_advisory_lock(1196576591) in the same database is excluded. The lock is per database: the same
key in another database of the server is another lock. It ends with its session, so a dead process frees it.

A waiter tries in slices. One blocking call without end would hold one snapshot all the while, and a holder that builds
an index CONCURRENTLY waits for every older snapshot: the two would hang, unseen by the deadlock detector. A slice wakes
at once when the lock is freed (`nox -s bench` compares it with polling). After each slice the waiter re-queues at the
end. Slices therefore grow to a quarter of the time waited so far: long waiters are overtaken less often
(`nox -s faults -- -k contention` counts), and a concurrent index build is delayed by one slice at most.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dbtools.db.blockers import find_holder, is_held_by
from dbtools.db.connect import disable_timeouts
from dbtools.db.sql import scalar
from dbtools.errors import UNCHANGED, ChainFailed, LockTimeout

if TYPE_CHECKING:
    import psycopg

    from dbtools.chain.report import Waiting
    from dbtools.chain.target import Waits
    from dbtools.db.blockers import Blocker

FENCE = 0x46454E43 << 32  # "FENC", above the 32 bits of the lock's own key


class _Lock:
    """What both forms share: waiting in slices, and naming the holder."""

    def __init__(self, connection: psycopg.Connection, key: int) -> None:
        self.connection = connection
        self.key = key

    def acquire(self, waits: Waits, waiting: Waiting) -> float:
        """Take the lock and return the seconds waited.

        Tries once where `waits.lock` is 0, else waits up to that long, in slices. `waiting` is told who holds the lock
        after the first failed try, when the holder changes, and every `waits.reminder` seconds.

        Raises:
            LockTimeout: The lock was not free in time. Names the holder.
        """
        started = time.monotonic()
        if self._take():
            return 0.0
        told_pid, told_at = -1, started
        while True:
            holder = self.holder()
            waited = time.monotonic() - started
            if waited >= waits.lock:
                raise self._timeout(waits.lock, holder)
            pid = holder.pid if holder else 0
            if pid != told_pid or time.monotonic() - told_at > waits.reminder:
                waiting(holder)
                told_pid, told_at = pid, time.monotonic()
            if self._take(waits.slice_after(waited)):
                return time.monotonic() - started

    def holder(self) -> Blocker | None:
        """Return the session that holds the lock now, None where it is free."""
        return find_holder(self.connection, self.key)

    def wait_for_fence(self, waits: Waits, waiting: Waiting) -> None:
        """Wait until no work session of an earlier run is left: one whose lock was lost may still be at work.

        Raises:
            LockTimeout: It did not end in time. Names it.
        """
        fence = self._fence()
        try:
            fence.acquire(waits, waiting)
        except LockTimeout as error:
            error.what = "A run that lost the seed advisory lock is still at work, and this one waits for it no longer."
            raise
        fence._leave()  # noqa: SLF001 - another lock of this class

    def _fence(self) -> _Lock:
        raise NotImplementedError

    def _leave(self) -> None:
        """Let go of the fence, where it does not go by itself."""

    def _take(self, seconds: float = 0.0) -> bool:
        """Try for this long; at 0 without waiting."""
        raise NotImplementedError

    def _timeout(self, timeout: float, holder: Blocker | None) -> LockTimeout:
        tried = f"within {timeout:.1f} s" if timeout else "at the first try"
        held = f"Held by {holder}" if holder else "It was freed just now, too late for this try"
        end = f", or end that session: select pg_terminate_backend({holder.pid});" if holder else "."
        return LockTimeout(
            f"Could not get the seed advisory lock (key={self.key}) {tried}.",
            f"{held}.",
            f"Wait longer with --lock-timeout SECONDS{end}",
            UNCHANGED,
        )


class TransactionLock(_Lock):
    """The lock `key` in the open transaction of `connection`, or in one that taking it opens.

    `connection` must not be in autocommit. No setting made here outlives the transaction. With `nested`, there is a
    transaction to keep: a failed try is undone by a savepoint instead of a rollback. With `shared`, others may hold it
    in shared mode as well.
    """

    def __init__(self, connection: psycopg.Connection, key: int, *, nested: bool = False, shared: bool = False) -> None:
        assert not connection.autocommit
        super().__init__(connection, key)
        self._nested = nested
        self._mode = "_shared" if shared else ""

    def holder(self) -> Blocker | None:
        """Return the session that holds the lock now, None where it is free."""
        found = super().holder()
        if not self._nested:
            self.connection.rollback()
        return found

    def _fence(self) -> _Lock:
        return TransactionLock(self.connection, FENCE | self.key, nested=True)

    def _take(self, seconds: float = 0.0) -> bool:
        from psycopg.errors import DeadlockDetected, LockNotAvailable

        attempt = "savepoint attempt" if self._nested else "set transaction isolation level read committed, read write"
        self.connection.execute(attempt)
        if not self._nested:
            disable_timeouts(self.connection, local=True)
        try:
            if seconds:
                self.connection.execute(f"set local lock_timeout = {_milliseconds(seconds)}")
            function = "pg_advisory_xact_lock" if seconds else "pg_try_advisory_xact_lock"
            function += self._mode
            if scalar(self.connection, f"select {function}(%s)", (self.key,)) is not False:
                self.connection.execute("set local lock_timeout = 0")
                return True
        except (LockNotAvailable, DeadlockDetected):
            pass
        if self._nested:
            self.connection.execute("rollback to attempt")
        else:
            self.connection.rollback()
        return False


class SeedLock(_Lock):
    """The lock `key` on the session `connection`, which must be in autocommit and used for nothing else meanwhile.

    Autocommit matters: an open transaction on it would hold a snapshot for as long as the lock.
    """

    def __init__(self, connection: psycopg.Connection, key: int) -> None:
        assert connection.autocommit
        super().__init__(connection, key)
        self.pid = int(scalar(connection, "select pg_backend_pid()"))  # a pooler tells its clients another one
        disable_timeouts(connection, local=False)

    def check(self, work: psycopg.Connection) -> None:
        """Ask on the session `work` whether this run's session still holds the lock.

        Raises:
            ChainFailed: It does not. The caller must not commit.
        """
        if not is_held_by(work, self.key, self.pid):
            holder = find_holder(work, self.key)
            raise self._lost(f"It is {f'held by {holder}' if holder else 'free'} now.")

    def release(self) -> None:
        """Release the lock.

        Raises:
            ChainFailed: The session did not hold it any more: the work was not protected to its end.
        """
        import psycopg

        try:
            released = scalar(self.connection, "select pg_advisory_unlock(%s)", (self.key,))
            reason = "" if released else "The server says that this session did not hold it"
        except psycopg.Error as error:
            reason = f"The lock's session is gone: {' '.join(str(error).split())}"
        if reason:
            raise self._lost(f"{reason.rstrip('.')}.", "The work was committed before.", "it was released")

    def _fence(self) -> _Lock:
        return SeedLock(self.connection, FENCE | self.key)

    def _leave(self) -> None:
        self.release()

    def _take(self, seconds: float = 0.0) -> bool:
        from psycopg.errors import DeadlockDetected, LockNotAvailable

        function = "pg_advisory_lock" if seconds else "pg_try_advisory_lock"
        try:
            if seconds:
                self.connection.execute(f"set lock_timeout = {_milliseconds(seconds)}")
            return scalar(self.connection, f"select {function}(%s)", (self.key,)) is not False
        except (LockNotAvailable, DeadlockDetected):
            return False

    def _lost(self, reason: str, state: str = "", before: str = "the work was done") -> ChainFailed:
        return ChainFailed(
            f"The seed advisory lock (key={self.key}) was lost before {before}.",
            reason,
            "Run this again; if a pooler stands in between, connect past it.",
            state,
        )


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))  # to lock_timeout, 0 would mean for ever
