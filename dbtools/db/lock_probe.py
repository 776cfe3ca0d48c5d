"""Asks the server which sessions wait for which others, and for what.

The answers are those of the server's lock manager: they cover heavyweight locks, queued requests included, and waits
for a safe snapshot (SERIALIZABLE READ ONLY DEFERRABLE). They do not cover a wait for a buffer pin, a CREATE DATABASE
that waits for its template to be left, or a sleep: such a session counts as running.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import psycopg

    from dbtools.db.deadlock import DeadlockWait

PREPARED = 0
"""The process id that the server reports as the blocker where a prepared transaction holds the lock."""

_BLOCKERS = (
    "select pid, pg_catalog.pg_blocking_pids(pid) || pg_catalog.pg_safe_snapshot_blocking_pids(pid)"
    " from pg_catalog.unnest(%s::int[]) as waiting(pid)"
)
_STUCK = (
    "select pid from pg_catalog.unnest(%s::int[]) as waiting(pid)"
    " where pg_catalog.pg_isolation_test_session_is_blocked(pid, %s::int[])"
)
# A table of another database, or of a transaction that is still open, has no name here. The shared ones are in none.
_DATABASE = (
    "case when relisshared then 0"
    " else (select oid from pg_catalog.pg_database where datname = current_database())::int8 end"
)
_AWAITED = f"""
select l.locktype, l.mode, c.relname, l.classid::int8, l.objid::int8, l.objsubid
from pg_catalog.pg_locks l left join pg_catalog.pg_class c on c.oid = l.relation and l.database::int8 = {_DATABASE}
where l.pid = %s and not l.granted
"""
_RELATION = f"select relname from pg_catalog.pg_class where oid = %s::int8 and %s = {_DATABASE}"
_SLEEPING = "select pid from pg_catalog.pg_stat_activity where pid = any(%s::int[]) and wait_event = 'PgSleep'"
_NAMES = "select pid, application_name from pg_catalog.pg_stat_activity where pid = any(%s::int[])"


# How error messages call locks, and what pg_locks calls their types.
_ADVISORY = re.compile(r"advisory lock \[\d+,(\d+),(\d+),(\d+)\]")
_TABLE = re.compile(r"(?:(tuple) \(\d+,\d+\) of )?relation (\d+) of database (\d+)")
_TYPES = {
    "extension of relation": "extend",
    "object": "object",
    "page": "page",
    "speculative token": "spectoken",
    "transaction": "transactionid",
    "virtual transaction": "virtualxid",
}


class Probe:
    """Questions about sessions, which are named by the process ids of their backends.

    The connection must be in autocommit mode, and nothing else may use it meanwhile.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def blocked(self, pids: Iterable[int]) -> dict[int, tuple[int, ...]]:
        """Return the sessions that others *of these* block, each with its blockers, sorted."""
        among = set(pids)
        found = {pid: tuple(blocker for blocker in on if blocker in among) for pid, on in self.blockers(among).items()}
        return {pid: on for pid, on in found.items() if on}

    def blockers(self, pids: Iterable[int]) -> dict[int, tuple[int, ...]]:
        """Return the sessions that any session blocks, each with its blockers, sorted.

        No session blocks itself, and a parallel worker counts as its leader. `PREPARED` stands for all prepared
        transactions.
        """
        rows = self._connection.execute(_BLOCKERS, [list(pids)], prepare=False).fetchall()
        found = {pid: tuple(sorted(set(on) - {pid})) for pid, on in rows}
        return {pid: on for pid, on in found.items() if on}

    def stuck(self, pids: Iterable[int], among: Collection[int]) -> set[int]:
        """Return the sessions that the server's own isolation tests would call blocked by one of `among`.

        Unlike `blocked`, this counts every wait for a safe snapshot, whichever session holds it up.
        """
        rows = self._connection.execute(_STUCK, [list(pids), list(among)], prepare=False).fetchall()
        return {pid for (pid,) in rows}

    def sleeping(self, pids: Iterable[int]) -> set[int]:
        """Return the sessions that are in pg_sleep."""
        rows = self._connection.execute(_SLEEPING, [list(pids)], prepare=False).fetchall()
        return {pid for (pid,) in rows}

    def awaited_lock(self, pid: int) -> str:
        """Return the lock that a session waits for: "advisory lock 7", "AccessExclusiveLock on invoices"; else "".

        The same wait has the same name in every run: it holds no numbers of transactions, processes or tables.
        """
        row = self._connection.execute(_AWAITED, [pid], prepare=False).fetchone()
        return lock_name(*row) if row else ""

    def deadlock_lock(self, wait: DeadlockWait) -> str:
        """Return the lock of a wait that is over by the name that `awaited_lock` had for it."""
        if advisory := _ADVISORY.fullmatch(wait.lock):
            return lock_name("advisory", wait.mode, None, *map(int, advisory.groups()))
        if table := _TABLE.fullmatch(wait.lock):
            kind, oid, database = table.groups()
            row = self._connection.execute(_RELATION, [int(oid), int(database)], prepare=False).fetchone()
            return lock_name(kind or "relation", wait.mode, row[0] if row else None)
        kind = next((kind for words, kind in _TYPES.items() if wait.lock.startswith(f"{words} ")), "")
        return lock_name(kind, wait.mode)

    def describe(self, pids: Iterable[int]) -> dict[int, str]:
        """Return what to call these blockers in a report: "pid 4711 (psql)"."""
        wanted = list(pids)
        rows = self._connection.execute(_NAMES, [wanted], prepare=False).fetchall()
        known: dict[int, str] = dict(rows)
        return {pid: _describe(pid, known.get(pid)) for pid in wanted}


def lock_name(kind: str, mode: str, table: str | None = None, high: int = 0, low: int = 0, form: int = 0) -> str:
    """Return the name of a lock, from the columns of pg_locks; an advisory lock of `form` 1 has a key of 64 bits."""
    if kind == "advisory":
        halves = f"({_signed(high, 32)}, {_signed(low, 32)})"
        return f"advisory lock {_signed(high << 32 | low, 64) if form == 1 else halves}"
    if kind == "relation":
        return f"{mode} on {table or 'a new table'}"
    if kind in ("transactionid", "virtualxid"):
        return "transaction"
    return f"row of {table}" if kind == "tuple" and table else kind


def _signed(number: int, bits: int) -> int:
    return number - (number >> (bits - 1) << bits)


def _describe(pid: int, application: str | None) -> str:
    if pid == PREPARED:
        return "a prepared transaction"
    if application is None:
        return f"pid {pid} (gone)"
    return f"pid {pid} ({application or 'no name'})"
