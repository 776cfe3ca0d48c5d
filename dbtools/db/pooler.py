"""Find out whether a pooler lends our server session to other clients between transactions, or even within them.

Behind such a pooler (PgBouncer in transaction mode, for example) a session lock is taken on a session that our next
statement may not run on and that another client may get: it protects nothing, and may never be released.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    import psycopg

    from dbtools.db.sessions import Sessions

ATTEMPTS = 3


def refuse_shared_sessions(connection: psycopg.Connection, sessions: Sessions) -> None:
    """Refuse a connection whose server session another client can get while `connection` is idle.

    A server tells its client which process serves it, a pooler cannot. Only where the two differ, a second session is
    opened and begins a transaction: it gets the server session that ours just gave back, or ours gets another one.

    Raises:
        ConfigurationError: That happened. Nothing was changed.
    """
    if _pid(connection) == connection.info.backend_pid:
        return
    for _ in range(ATTEMPTS):
        with sessions.open(autocommit=False) as other:
            if lends_sessions(connection, other):
                raise ConfigurationError(
                    "A session lock cannot be held through this connection.",
                    "A pooler in transaction mode stands before the server: between two statements it gives the session"
                    " that holds the lock to somebody else.",
                    "Connect past the pooler, or to one in session mode. reset and seed work as you are.",
                    UNCHANGED,
                )


def lends_sessions(one: psycopg.Connection, other: psycopg.Connection) -> bool:
    """Return whether a transaction of `other` gets the server session that `one`, which is in autocommit, had before.

    Or whether `one` gets another one by itself, as from a pooler that takes its sessions in turn, or then. `other` is
    left in no transaction.
    """
    mine = _pid(one)
    if mine == one.info.backend_pid:
        return False
    if _pid(one) != mine:
        return True
    with other.transaction():
        return _pid(other) == mine or _pid(one) != mine


def refusal(error: BaseException) -> ConfigurationError | None:
    """Return the error for people where `error` is a pooler's that lets no transaction in; it was the first statement.

    PgBouncer in statement mode says so at every BEGIN.
    """
    import psycopg

    if not isinstance(error, psycopg.errors.ProtocolViolation) or "statement pooling" not in str(error):
        return None
    return ConfigurationError(
        "Nothing can be done as one unit through this connection.",
        "A pooler in statement mode stands before the server: it lets no transaction in.",
        "Connect past the pooler, or to one in transaction or session mode.",
        UNCHANGED,
    )


def _pid(connection: psycopg.Connection) -> int:
    row = connection.execute("select pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])
