"""Sessions of a test's own: what they wait for, what they hold, how they are set, and an end to every hang."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import psycopg

from tests.support.waiting import LIMIT_S

Connect: TypeAlias = Callable[..., psycopg.Connection]
"""Opens a session that is closed after the test: the fixture `connect`."""
TIMEOUTS = ("statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout", "lock_timeout")


def is_waiting(watcher: psycopg.Connection, pid: int, kind: str = "advisory") -> bool:
    """Return whether a session waits for a lock of this kind."""
    found = watcher.execute("select from pg_locks where pid = %s and locktype = %s and not granted", (pid, kind))
    return found.fetchall() != []


def advisory_locks(watcher: psycopg.Connection, pid: int) -> list[tuple[object, ...]]:
    """Return the advisory locks that a session holds: the key's upper and lower half, and the mode."""
    return watcher.execute(
        "select classid, objid, mode from pg_locks where locktype = 'advisory' and granted and pid = %s order by 1, 3",
        (pid,),
    ).fetchall()


def shown(connection: psycopg.Connection, *settings: str) -> list[object]:
    """Return what a session shows of these settings."""
    return [(connection.execute(f"show {setting}").fetchone() or ("",))[0] for setting in settings]


@contextmanager
def freed_at_last(holder: psycopg.Connection) -> Iterator[None]:
    """End the holder's session in the end: a wait that does not end by itself then fails its test and does not hang."""
    timer = threading.Timer(LIMIT_S, holder.close)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
