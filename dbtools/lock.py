"""The seed advisory lock: session form, pinned to the one connection that took it.

Any other program that takes pg_advisory_lock(1196576591) in the same database and this one exclude each other. The
lock is per database: the same key in another database of the server is another lock. It ends with its session, so a
dead process frees it; it is released on the session that took it, because anywhere else that would do nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.errors import ChainFailed, LockTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

SLICE = 0.25
"""Seconds of one blocking try. A waiter that blocked without end would hold one snapshot all the while, and a holder
that builds an index CONCURRENTLY waits for every older snapshot: the two would hang, unseen by the deadlock detector.
A slice queues fairly and wakes at once when the lock is freed; `nox -s bench` compares it with polling."""
FENCE = 0x46454E43 << 32  # "FENC", above the 32 bits of the lock's own key
REMIND = 15.0
"""Seconds after which a waiter is told again who holds the lock."""

_LOCKS = """
from pg_locks l {join}
where l.locktype = 'advisory' and l.granted and l.objsubid = 1
  and l.database = (select oid from pg_database where datname = current_database())
  and (l.classid::int8 << 32 | l.objid::int8) = %s
"""
_HELD_BY = f"select {_LOCKS.format(join='')} and l.pid = %s"
_HOLDER = f"""
select a.pid, a.application_name, a.usename, host(a.client_addr), to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SSOF'),
       a.state
{_LOCKS.format(join="join pg_stat_activity a using (pid)")}
"""


@dataclass(frozen=True)
class Holder:
    """The session that holds the lock. The server hides some columns of other roles' sessions: those are None."""

    pid: int
    application: str | None
    user: str | None
    client: str | None
    connected: str | None
    state: str | None

    def __str__(self) -> str:
        facts = {
            "application": self.application and repr(self.application),
            "user": self.user,
            "client": self.client,
            "state": self.state,
            "connected": self.connected,
        }
        return f"pid {self.pid} ({', '.join(f'{name} {value}' for name, value in facts.items() if value)})"


class SeedLock:
    """The lock `key` on `connection`, which must be in autocommit and used for nothing else while the lock is held.

    Autocommit matters: an open transaction on it would hold a snapshot for as long as the lock.
    """

    def __init__(self, connection: psycopg.Connection, key: int) -> None:
        assert connection.autocommit
        self.connection = connection
        self.key = key
        self.pid = connection.info.backend_pid
        # A timeout of the role or database would end the idle session that holds the lock, or cut the wait.
        connection.execute(
            "select set_config(name, '0', false) from pg_settings where name in ('statement_timeout',"
            " 'transaction_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout')"
        )

    def acquire(self, timeout: float, waiting: Callable[[Holder | None], None]) -> float:
        """Take the lock and return the seconds waited.

        Tries once at `timeout` 0, else waits up to `timeout` seconds in slices. `waiting` is told who holds the lock
        after the first failed try, when the holder changes, and every 15 s.

        Raises:
            LockTimeout: The lock was not free in time. Names the holder.
        """
        started = time.monotonic()
        if self._try():
            return 0.0
        told_pid, told_at = -1, started
        while True:
            holder = self.holder()
            waited = time.monotonic() - started
            if waited >= timeout:
                raise self._timeout(waited, holder)
            pid = holder.pid if holder else 0
            if pid != told_pid or time.monotonic() - told_at > REMIND:
                waiting(holder)
                told_pid, told_at = pid, time.monotonic()
            if self._block(min(SLICE, timeout - waited)):
                return time.monotonic() - started

    def holder(self) -> Holder | None:
        """Return who holds the lock now, or None where nobody does."""
        row = self.connection.execute(_HOLDER, (self.key,)).fetchone()
        return Holder(*row) if row else None

    def drain(self, timeout: float, waiting: Callable[[Holder | None], None]) -> None:
        """Wait until no work session of an earlier run is left: one whose lock was lost may still be at work.

        Raises:
            LockTimeout: It did not end in time. Names it.
        """
        fence = SeedLock(self.connection, FENCE | self.key)
        try:
            fence.acquire(timeout, waiting)
        except LockTimeout as error:
            what = "A run that lost the seed advisory lock is still at work, and this one waits for it no longer."
            raise LockTimeout(what, error.why, error.hint) from None
        fence.release()

    def enter(self, work: psycopg.Connection) -> None:
        """Put the session `work` behind the fence, until it ends.

        Raises:
            ChainFailed: The lock was lost already.
        """
        work.execute("select pg_advisory_lock_shared(%s)", (FENCE | self.key,))
        self.check(work)

    def check(self, work: psycopg.Connection) -> None:
        """Ask on the session `work` whether this run's session still holds the lock.

        Raises:
            ChainFailed: It does not. What is not committed is not to be.
        """
        # pg_locks alone: unlike pg_stat_activity it is never a copy from earlier in the transaction.
        if work.execute(_HELD_BY, (self.key, self.pid)).fetchone() is None:
            work.execute("select pg_stat_clear_snapshot()")
            holder = work.execute(_HOLDER, (self.key,)).fetchone()
            raise self._lost(f"It is {f'held by {Holder(*holder)}' if holder else 'free'} now")

    def release(self) -> None:
        """Release the lock.

        Raises:
            ChainFailed: The session did not hold it any more: the work was not protected to its end.
        """
        import psycopg

        try:
            row = self.connection.execute("select pg_advisory_unlock(%s)", (self.key,)).fetchone()
            reason = "" if row and row[0] else "The server says that this session did not hold it"
        except psycopg.Error as error:
            reason = f"The lock's session is gone: {' '.join(str(error).split())}"
        if reason:
            raise self._lost(f"{reason.rstrip('.')}. The work was committed before")

    def _try(self) -> bool:
        row = self.connection.execute("select pg_try_advisory_lock(%s)", (self.key,)).fetchone()
        return bool(row and row[0])

    def _block(self, seconds: float) -> bool:
        from psycopg.errors import DeadlockDetected, LockNotAvailable

        try:
            # lock_timeout is in milliseconds, and 0 would mean for ever.
            self.connection.execute(f"set lock_timeout = {max(1, round(seconds * 1000))}")
            self.connection.execute("select pg_advisory_lock(%s)", (self.key,))
        except (LockNotAvailable, DeadlockDetected):
            return False
        return True

    def _lost(self, reason: str) -> ChainFailed:
        return ChainFailed(
            f"The seed advisory lock (key={self.key}) was lost before the work was done.",
            f"{reason}.",
            "Run this again; if a pooler stands in between, connect past it.",
        )

    def _timeout(self, waited: float, holder: Holder | None) -> LockTimeout:
        tried = f"within {waited:.1f} s" if waited >= 0.05 else "at the first try"
        held = f"Held by {holder}" if holder else "It was freed just now, too late for this try"
        end = f", or end that session: select pg_terminate_backend({holder.pid});" if holder else "."
        return LockTimeout(
            f"Could not get the seed advisory lock (key={self.key}) {tried}.",
            f"{held}. Nothing was changed.",
            f"Wait longer with --lock-timeout SECONDS{end}",
        )
