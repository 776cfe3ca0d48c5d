"""Find the session that holds a lock, described so that a person can find and end it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.errors import UNCHANGED, LockTimeout

if TYPE_CHECKING:
    import psycopg

REMINDER_S = 15.0
"""Between two reports of a wait that goes on."""

_LOCKS = """
from pg_locks l {join}
where l.locktype = 'advisory' and l.granted and l.objsubid = 1
  and l.database = (select oid from pg_database where datname = current_database())
  and (l.classid::int8 << 32 | l.objid::int8) = %s
"""
_HELD_BY = f"select {_LOCKS.format(join='')} and l.pid = %s"
_SESSION = """
select a.pid, a.application_name, a.usename, host(a.client_addr), to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SSOF'),
       a.state
"""
_HOLDER = _SESSION + _LOCKS.format(join="join pg_stat_activity a using (pid)")
_USER = f"""
{_SESSION} from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'relation' and l.granted and l.pid <> pg_backend_pid()
  and l.database = (select oid from pg_database where datname = current_database())
  and l.relation = %s::text::regclass order by a.xact_start limit 1
"""
_WAITING = """
select from pg_locks l
where l.locktype = 'relation' and l.granted and l.pid <> pg_backend_pid()
  and l.database = (select oid from pg_database where datname = current_database())
  and l.relation = %s::text::regclass and pg_backend_pid() = any(pg_blocking_pids(l.pid))
"""


@dataclass(frozen=True)
class Blocker:
    """A session that others wait for. The server hides some columns of other roles' sessions: those are None."""

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


def find_holder(connection: psycopg.Connection, key: int) -> Blocker | None:
    """Return the session that holds the advisory lock `key` of this database, None where it is free."""
    return _first(connection, _HOLDER, (key,))


def is_held_by(connection: psycopg.Connection, key: int, pid: int) -> bool:
    """Return whether the session of the server process `pid` holds the advisory lock `key`."""
    # pg_locks alone: unlike pg_stat_activity it is never a copy from earlier in the transaction.
    return connection.execute(_HELD_BY, (key, pid)).fetchone() is not None


def find_blocker(connection: psycopg.Connection, relation: str) -> Blocker | None:
    """Return the other session that uses `relation` (a name in SQL form) in the oldest open transaction, or None."""
    return _first(connection, _USER, (relation,))


def is_waiting_for_us(connection: psycopg.Connection, relation: str) -> bool:
    """Return whether a session whose open transaction uses `relation` waits for the transaction of `connection`."""
    return connection.execute(_WAITING, (relation,)).fetchone() is not None


def locked(what: str, connection: psycopg.Connection, relation: str) -> LockTimeout:
    """Return the error for `what` could not be done because another session has locked `relation`."""
    blocker = find_blocker(connection, relation)
    end = f"; or end it: select pg_terminate_backend({blocker.pid});" if blocker else "."
    held = f"Locked by the open transaction of {blocker}." if blocker else "It was freed just now, too late."
    return LockTimeout(what, held, f"Run this again when that session has ended{end}", UNCHANGED)


def _first(connection: psycopg.Connection, query: str, arguments: tuple[object, ...]) -> Blocker | None:
    # Within a transaction, pg_stat_activity keeps showing the sessions of the first look.
    connection.execute("select pg_stat_clear_snapshot()")
    row = connection.execute(query, arguments).fetchone()
    return Blocker(*row) if row else None
