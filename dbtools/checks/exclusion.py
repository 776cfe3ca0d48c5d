"""Does the advisory lock exclude, through this very URL? Tried with two sessions, in both forms of the lock.

Nothing is changed, and nobody waits for it: the key is a random one.
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING

from dbtools.checks.findings import Finding
from dbtools.db.blockers import is_held_by
from dbtools.db.connect import open_session
from dbtools.db.pooler import lends_sessions
from dbtools.db.sql import scalar

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from dbtools.db.dsn import Dsn

_SERVER = (
    "select format('started %s at %s, port %s', pg_postmaster_start_time(), inet_server_addr(), inet_server_port())"
)
_FUNCTION = """
select p.oid::regprocedure::text from pg_proc p
where p.oid = to_regprocedure(%s || '(bigint)') and p.pronamespace <> 'pg_catalog'::regnamespace
"""
_ENGINES = {"CockroachDB": "CockroachDB", "-YB-": "YugabyteDB"}
"""What version() says of engines that speak PostgreSQL's protocol."""
BEGIN_WAIT_S = 5.0
"""How long a pool may take to let a second transaction in."""
ADVICE = "Connect to the server itself, past whatever stands before it."
SHADOWED = "Drop that function, or have the search_path name pg_catalog first, or not at all."
OTHER_ENGINE = "Take a PostgreSQL server: this engine's advisory locks do not exclude."


def examine_lock(dsn: Dsn) -> Iterator[Finding]:
    """Yield whether the lock of `reset` and `seed`, and that of `migrate` and of other programs, exclude.

    Raises:
        DatabaseUnreachable: The server does not answer, or refuses the login.
    """
    yield _transaction_lock(dsn)
    yield _session_lock(dsn)


def _transaction_lock(dsn: Dsn) -> Finding:
    key, function = secrets.randbits(62), "pg_try_advisory_xact_lock"
    with (
        open_session(dsn, "doctor", autocommit=False) as one,
        open_session(dsn, "doctor", autocommit=False) as other,
    ):
        taken = _try(one, function, key)
        beside = threading.Thread(target=_try, args=(other, function, key), daemon=True)
        beside.start()
        beside.join(BEGIN_WAIT_S)
        if beside.is_alive():
            one.rollback()
            beside.join()
            other.rollback()
            return Finding(
                "transaction lock",
                None,
                f"not tried: while one transaction was open, another did not begin within {BEGIN_WAIT_S:.0f} s",
                hint="A pool of one session does that. A pool of two or more can be tried.",
            )
        again = _try(other, function, key)
        (cause, advice), held = _cause(one, other, function), is_held_by(one, key, _pid(one))
        one.rollback()
        freed = again or _try(other, function, key)
        other.rollback()
    if not (wrong := _wrong(taken=taken, again=again, held=held, freed=freed)):
        return Finding("transaction lock", True, "excludes: the second of two sessions did not get it, then it did")
    why = f"{cause} Two runs at once would not notice each other."
    return Finding("transaction lock", False, wrong, why=why, hint=advice)


def _session_lock(dsn: Dsn) -> Finding:
    key, function = secrets.randbits(62), "pg_try_advisory_lock"
    with open_session(dsn, "doctor") as one, open_session(dsn, "doctor") as other:
        if lends_sessions(one, other):
            return Finding(
                "session lock",
                False,
                "does not exclude: a session of the server goes from one client to the next",
                why="A pooler in transaction mode stands before the server. reset and seed work through it; migrate"
                " refuses, and other programs that take the lock with pg_advisory_lock are not protected.",
                hint="For those, connect past the pooler, or to one in session mode.",
                about="lock",
            )
        taken, again = _try(one, function, key), _try(other, function, key)
        (cause, advice), held = _cause(one, other, function), is_held_by(other, key, _pid(one))
        released = bool(scalar(one, "select pg_advisory_unlock(%s)", (key,)))
        freed = released and (again or _try(other, function, key))
    if not (wrong := _wrong(taken=taken, again=again, held=held, freed=freed)):
        return Finding("session lock", True, "excludes: the second of two sessions did not get it, then it did")
    why = f"{cause} migrate, and other programs that take the lock with pg_advisory_lock, would not be protected."
    return Finding("session lock", False, wrong, why=why, hint=advice, about="lock")


def _try(session: psycopg.Connection, function: str, key: int) -> bool:
    return bool(scalar(session, f"select {function}(%s)", (key,)))


def _pid(session: psycopg.Connection) -> int:
    return int(scalar(session, "select pg_backend_pid()"))


def _wrong(*, taken: bool, again: bool, held: bool, freed: bool) -> str:
    """Return what the tries show to be wrong, "" where the lock excludes."""
    if not taken:
        return "cannot be taken, although nobody has it"
    if again:
        return "does not exclude: two sessions have it at once"
    if not held:
        return "is not in pg_locks, so its holder cannot be found"
    return "" if freed else "is not freed when its holder lets go of it"


def _cause(one: psycopg.Connection, other: psycopg.Connection, function: str) -> tuple[str, str]:
    """Return a sentence on why two sessions do not exclude each other, and what to do about it."""
    if found := one.execute(_FUNCTION, (function,)).fetchone():
        return (
            f"The function that is called is {found[0]}, not the server's own: the search_path has it first.",
            SHADOWED,
        )
    version = str(scalar(one, "select version()"))
    for mark, engine in _ENGINES.items():
        if mark in version:
            return f"The server is {engine}: {version}.", OTHER_ENGINE
    here, there = (str(scalar(session, _SERVER)) for session in (one, other))
    if here != there:
        return f"The two sessions are on different servers: one {here}; the other {there}.", ADVICE
    return f"Why is not known; the server is {version.partition(' on ')[0]}.", ADVICE
