"""Open a session on the target database, and say in a person's words why that failed."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtools.db.dsn import mask
from dbtools.errors import DatabaseUnreachable

if TYPE_CHECKING:
    import psycopg

    from dbtools.db.dsn import Dsn

CONNECT_TIMEOUT = 10.0

# After the user's own, so that these win: the schema is the one of [tool.dbtools], and a long statement may be long.
_OPTIONS = (
    "-c search_path=pg_catalog -c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
    " -c standard_conforming_strings=on"
)

# libpq gives no SQLSTATE for a connection that failed, so its words are all there is. psycopg's own libpq speaks
# English; the server's words are matched in English too, and unknown ones count as final, shown verbatim.
_HEALABLE = (
    "connection refused",
    "connection reset",
    "timeout expired",
    "timed out",
    "no route to host",
    "network is unreachable",
    "server closed the connection unexpectedly",
    "the database system is starting up",
    "the database system is shutting down",
    "the database system is in recovery mode",
    "the database system is not yet accepting connections",
    "too many clients already",
    "remaining connection slots are reserved",
    "is the server running locally and accepting connections on that socket",
)
_FINAL = (
    ("password authentication failed", "Correct user or password in DATABASE_URL."),
    ("no password supplied", "Put the password into DATABASE_URL or into the file that PGPASSFILE names."),
    ("no pg_hba.conf entry", "Ask the server's administrator to let this user in from this host."),
    ("role ", "Create the role, or correct the user in DATABASE_URL."),
    ("database ", "Create the database (createdb NAME), or correct its name in DATABASE_URL."),
    (
        "expected authentication request",
        "Something else listens there; correct host or port in DATABASE_URL.",
    ),
    (
        "invalid response to ssl negotiation",
        "Something else listens there; correct host or port in DATABASE_URL.",
    ),
    ("failed to resolve host", "Correct the host in DATABASE_URL."),
)


@dataclass(frozen=True)
class Diagnosis:
    """Why a connection failed: the server's or libpq's words, whether time can heal it, and what to do."""

    reason: str
    healable: bool
    hint: str


def diagnose(error: Exception, password: str = "") -> Diagnosis:
    """Classify a failed connection.

    Only what time can heal is healable: a server that is not there yet, starts, stops or is full. A wrong password,
    an unknown role or database, a host name that does not exist and a port where something else listens are not.
    """
    text = " ".join(mask(str(error), password).split())
    words = text.lower()
    reason = text.rpartition("FATAL: ")[2].strip() or text
    for mark, hint in _FINAL:
        if mark in words and (mark not in ("role ", "database ") or "does not exist" in words):
            healable = mark == "failed to resolve host" and _resolver_is_down(error)
            return Diagnosis(reason, healable, hint)
    if any(mark in words for mark in _HEALABLE):
        return Diagnosis(reason, True, "Start the server, or wait for it: invoke wait-for-db --timeout 60")
    return Diagnosis(reason, False, "Read the server's answer above; correct DATABASE_URL or the server.")


def _resolver_is_down(error: Exception) -> bool:
    """Tell "no such name" (final) from "the name server did not answer" (it may yet)."""
    return f"[Errno {socket.EAI_AGAIN}]" in str(error)


def open_session(
    dsn: Dsn, purpose: str, *, autocommit: bool = True, timeout: float = CONNECT_TIMEOUT
) -> psycopg.Connection:
    """Return a new session on `dsn`; `purpose` is what pg_stat_activity shows: "dbtools reset".

    Raises:
        DatabaseUnreachable: With the reason in words and the next step. Never holds the password.
    """
    import psycopg

    try:
        return connect(dsn, purpose, autocommit=autocommit, timeout=timeout)
    except psycopg.OperationalError as error:
        raise unreachable(dsn, diagnose(error, dsn.password)) from None


def connect(dsn: Dsn, purpose: str, *, autocommit: bool, timeout: float) -> psycopg.Connection:
    """Return a new session, or raise psycopg's own error (which may quote the password: see `diagnose`).

    Its name and its encoding are ours, whatever the URL says.
    """
    import psycopg

    # Without options of the user's none are sent: poolers refuse them.
    ours: dict[str, Any] = {"options": f"{dsn.options} {_OPTIONS}"} if dsn.options else {}
    return psycopg.connect(
        dsn.url,
        autocommit=autocommit,
        **ours,
        application_name=f"dbtools {purpose}"[:63],
        client_encoding="UTF8",
        connect_timeout=max(2, round(timeout)),  # libpq's unit is whole seconds, and it takes 1 for 2
        # A server that vanished without a word ends the wait for its answer within some 14 s, not two hours.
        keepalives_idle=5,
        keepalives_interval=3,
        keepalives_count=3,
        tcp_user_timeout=14000,
        prepare_threshold=None,  # a statement prepared on one session of a pooler is unknown on the next
    )


def unreachable(dsn: Dsn, diagnosis: Diagnosis, *, tried: str = "") -> DatabaseUnreachable:
    """Return the error for a failed connection; `tried` says how long and how often, where that was more than once."""
    return DatabaseUnreachable(
        f"Cannot reach {dsn.target}{' as ' + dsn.user if dsn.user else ''}{tried}.",
        f"{diagnosis.reason.rstrip('.')}. Nothing was changed.",
        diagnosis.hint,
    )


def settle(connection: psycopg.Connection, *, local: bool) -> None:
    """Make a session fit to hold a lock; with `local`, for the open transaction only.

    No timeout of role or database ends it while it waits or is idle. The server looks for a client that vanished
    without a word and ends its session within some 13 s (4 + 3 x 2 s of silence, and 3 s between two looks while a
    statement runs), where Linux alone would take two hours.
    """
    connection.execute(
        "select set_config(name, value, %s) from (values ('statement_timeout', '0'), ('transaction_timeout', '0'),"
        " ('idle_session_timeout', '0'), ('idle_in_transaction_session_timeout', '0'), ('tcp_keepalives_idle', '4'),"
        " ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '10000'),"
        " ('client_connection_check_interval', '3000')) wanted(name, value) join pg_settings using (name)",
        (local,),
    )
