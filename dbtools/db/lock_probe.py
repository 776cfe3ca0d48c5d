"""The control connection: who waits for whom in the server, in one query.

It sees what the server's lock manager sees: heavyweight locks, queued requests included, and waits for a safe snapshot
(SERIALIZABLE READ ONLY DEFERRABLE). It does not see a wait for a buffer pin, CREATE DATABASE waiting for its template
to be left, or a sleep: sessions in these are running, as far as it can tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import psycopg

PREPARED = 0
"""What the server names as the blocker where a prepared transaction holds the lock."""

_BLOCKERS = (
    "select pid, pg_catalog.pg_blocking_pids(pid) || pg_catalog.pg_safe_snapshot_blocking_pids(pid)"
    " from pg_catalog.unnest(%s::int[]) as waiting(pid)"
)
_STUCK = (
    "select pid from pg_catalog.unnest(%s::int[]) as waiting(pid)"
    " where pg_catalog.pg_isolation_test_session_is_blocked(pid, %s::int[])"
)
# What lies in other databases, or was made by a transaction that is still open, has no name here.
_WANTED = """
select l.locktype, l.mode, c.relname, (l.classid::int8 << 32 | l.objid::int8), l.objsubid
from pg_catalog.pg_locks l left join pg_catalog.pg_class c
  on c.oid = l.relation and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
where l.pid = %s and not l.granted
"""
_NAMES = "select pid, application_name from pg_catalog.pg_stat_activity where pid = any(%s::int[])"


class Probe:
    """Questions about sessions, named by the process ids of their backends.

    The connection must be in autocommit mode and nobody else may use it meanwhile.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def blocked(self, pids: Iterable[int]) -> dict[int, tuple[int, ...]]:
        """Return, for each of these sessions that others *of them* block, who does, sorted."""
        among = set(pids)
        found = {pid: tuple(one for one in on if one in among) for pid, on in self.blockers(among).items()}
        return {pid: on for pid, on in found.items() if on}

    def blockers(self, pids: Iterable[int]) -> dict[int, tuple[int, ...]]:
        """Return, for each of these sessions that anybody blocks, who does, sorted.

        Nobody blocks itself, and a parallel worker counts as its leader. `PREPARED` stands for prepared transactions.
        """
        rows = self._connection.execute(_BLOCKERS, [list(pids)], prepare=False).fetchall()
        found = {pid: tuple(sorted(set(on) - {pid})) for pid, on in rows}
        return {pid: on for pid, on in found.items() if on}

    def stuck(self, pids: Iterable[int], among: Collection[int]) -> set[int]:
        """Return those of `pids` that the server's own isolation tests call blocked: by one of `among`.

        Unlike `blocked`, this counts every wait for a safe snapshot, whoever holds it up.
        """
        rows = self._connection.execute(_STUCK, [list(pids), list(among)], prepare=False).fetchall()
        return {pid for (pid,) in rows}

    def wanted(self, pid: int) -> str:
        """Return what a session waits for, in words: "advisory lock 7", "AccessExclusiveLock on invoices"; else "".

        The same wait has the same words in every run: no numbers of transactions, processes or tables are in them.
        """
        row = self._connection.execute(_WANTED, [pid], prepare=False).fetchone()
        if row is None:
            return ""
        kind, mode, table, key, form = row
        if kind == "advisory":
            return f"advisory lock {key}" if form == 1 else f"advisory lock ({key >> 32}, {key & 0xFFFFFFFF})"
        if kind == "relation":
            return f"{mode} on {table or 'a new table'}"
        names = {"transactionid": "transaction", "virtualxid": "transaction"}
        return f"row of {table}" if kind == "tuple" and table else names.get(kind, str(kind))

    def describe(self, pids: Iterable[int]) -> dict[int, str]:
        """Return what to call these blockers in a report: "pid 4711 (psql)"."""
        wanted = list(pids)
        rows = self._connection.execute(_NAMES, [wanted], prepare=False).fetchall()
        known: dict[int, str] = dict(rows)
        return {pid: _describe(pid, known.get(pid)) for pid in wanted}


def _describe(pid: int, application: str | None) -> str:
    if pid == PREPARED:
        return "a prepared transaction"
    if application is None:
        return f"pid {pid} (gone)"
    return f"pid {pid} ({application or 'no name'})"
