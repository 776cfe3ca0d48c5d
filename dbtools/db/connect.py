"""Open a session on the target database, and say in plain words why that failed."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtools.db.attempt import Attempt
from dbtools.db.secrets import mask, remember
from dbtools.errors import UNCHANGED, ConfigurationError, DatabaseUnreachable

if TYPE_CHECKING:
    import psycopg

    from dbtools.db.dsn import Dsn
    from dbtools.db.watch import WatchedConnection

OLDEST_MAJOR = 14
"""Before it the catalog lacks what the digest and the snapshot ask for."""
CONNECT_TIMEOUT_S = 10.0
ENDING_S = 3.0
"""How long a session that was closed, such as our own of a moment ago, may still take one of a limit's places."""
FULL_PAUSE_S = 0.05

# These come after the user's own and win: the schema is that of [tool.dbtools], and a long statement may take long.
_OPTIONS = (
    "-c search_path=pg_catalog -c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
    " -c standard_conforming_strings=on"
)

CONNECTION_LOST = (None, "57P01", "57P02", "57P03", "08006", "08003")
"""SQLSTATEs that say nothing of a statement's fate. psycopg gives none where the connection broke by itself."""
WAIT_FOR_IT = "wait for it: invoke wait-for-db --timeout 60"
WAIT = f"Start the server, or {WAIT_FOR_IT}"
MUTE = "Something accepts connections there and does not answer: look at the server, or at the proxy before it."
FULL = f"No connection is free: end sessions that are not needed, or {WAIT_FOR_IT}"

# libpq gives no SQLSTATE for a failed connection, so only its words tell why. psycopg's own libpq speaks English; the
# server's words are matched in English too. Unknown ones count as permanent and are shown verbatim.
_TRANSIENT = (
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
    "is the server running locally and accepting connections on that socket",
)
# Older versions of psycopg give the system's words alone: those of glibc, musl and macOS.
_NAMELESS = (
    "failed to resolve host",
    "name or service not known",
    "name does not resolve",
    "nodename nor servname provided",
    "no address associated with",
    "temporary failure in name resolution",
)
_LIBPQ = re.compile(r"^connection failed: | Is the server running [^?]*\?")
"""What libpq says beside the reason."""
_PERMANENT = (
    (
        "password authentication failed",
        "Correct user or password: in DATABASE_URL, PGPASSWORD or the file that PGPASSFILE names.",
    ),
    ("no password supplied", "Put the password into DATABASE_URL or into the file that PGPASSFILE names."),
    ("no pg_hba.conf entry", "Ask the server's administrator to let this user in from this host."),
    ("role ", "Create the role, or correct the user in DATABASE_URL."),
    ("database ", "Create the database: {createdb}; or correct its name in DATABASE_URL."),
    (
        "expected authentication request",
        "Something else listens there; correct host or port in DATABASE_URL.",
    ),
    (
        "invalid response to ssl negotiation",
        "Something else listens there; correct host or port in DATABASE_URL.",
    ),
)


@dataclass(frozen=True)
class Diagnosis:
    """Why a connection failed, in the server's or libpq's words; whether it is worth trying again; what to do."""

    reason: str
    transient: bool
    hint: str


def diagnose(error: Exception, password: str = "") -> Diagnosis:
    """Classify a failed connection.

    Transient: a server that is not there yet, is starting, stopping or full, and a host name that does not resolve: in
    containers and clusters names come late. Permanent: a wrong password, an unknown role or database, a port where
    something else listens.
    """
    text = " ".join(mask(str(error), password).split())
    words = text.lower()
    reason = _LIBPQ.sub("", text.rpartition("FATAL: ")[2].strip())
    for mark, hint in _PERMANENT:
        if mark in words and (mark not in ("role ", "database ") or "does not exist" in words):
            return Diagnosis(reason, False, hint)
    if any(mark in words for mark in _NAMELESS):
        return Diagnosis(reason, True, "Correct the host's name, or wait longer: clusters publish names late.")
    if "gave no answer in" in words:
        return Diagnosis(reason, True, MUTE)
    if any(mark in words for mark in ("too many clients", "too many connections", "connection slots")):
        return Diagnosis(reason, True, FULL)
    if any(mark in words for mark in _TRANSIENT):
        return Diagnosis(reason, True, WAIT)
    return Diagnosis(reason, False, "Read the server's answer above; correct DATABASE_URL or the server.")


def open_session(
    dsn: Dsn, purpose: str, *, autocommit: bool = True, timeout: float = CONNECT_TIMEOUT_S
) -> psycopg.Connection:
    """Return a new session on `dsn`; `purpose` is what pg_stat_activity shows: "dbtools reset".

    Where a limit of connections is reached, tries again for `ENDING_S`.

    Raises:
        DatabaseUnreachable: With the reason in words and the next step. Never holds the password.
        ConfigurationError: The server is older than PostgreSQL 14.
    """
    import psycopg

    began = time.monotonic()
    while True:
        try:
            session = connect(dsn, purpose, autocommit=autocommit, timeout=timeout)
            break
        except psycopg.OperationalError as error:
            diagnosis = diagnose(error, dsn.password)
        if diagnosis.hint != FULL or time.monotonic() - began > ENDING_S:
            raise unreachable(dsn, diagnosis)
        time.sleep(FULL_PAUSE_S)
    if session.info.server_version < OLDEST_MAJOR * 10000:
        version = (session.info.parameter_status("server_version") or "").partition(" ")[0]  # Debian's says more
        session.close()
        raise ConfigurationError(
            f"The server of {dsn.target} is too old: PostgreSQL {version}.",
            f"dbtools works with PostgreSQL {OLDEST_MAJOR} and newer.",
            "Upgrade the server, or name another one in DATABASE_URL.",
            UNCHANGED,
        )
    return session


def connect(dsn: Dsn, purpose: str, *, autocommit: bool, timeout: float, watched: bool = True) -> WatchedConnection:
    """Return a new session, or raise psycopg's own error (which may quote the password: see `diagnose`).

    `timeout`, in seconds, is for everything: the name, all hosts of a list, the login. The session is watched (see
    `watch`). Whatever the URL says, application_name and client_encoding are ours.
    """
    from dbtools.db.watch import WatchedConnection

    # Sent only where the user has options: poolers refuse them.
    ours: dict[str, Any] = {"options": f"{dsn.options} {_OPTIONS}"} if dsn.options else {}
    hosts = 1 + max(dsn.host.count(","), dsn.hostaddr.count(","))

    def attempt() -> WatchedConnection:
        return WatchedConnection.connect(
            dsn.url,
            autocommit=autocommit,
            **ours,
            application_name=f"dbtools {purpose}",
            client_encoding="UTF8",
            connect_timeout=max(2, round(timeout / hosts)),  # for each host, in whole seconds; libpq takes 1 for 2
            # The wait for a server that vanished silently ends after about 14 s, not two hours.
            keepalives_idle=5,
            keepalives_interval=3,
            keepalives_count=3,
            tcp_user_timeout=14000,
            prepare_threshold=None,  # a statement prepared on one session of a pooler is unknown on the next
        )

    connection = Attempt(attempt).result_within(timeout)
    info = connection.info
    remember(info.password, public=(info.user, info.dbname, info.host))  # it may come from a password file
    if watched:
        here = dsn.pinned(connection)
        connection.watch(lambda seconds: connect(here, "watch", autocommit=True, timeout=seconds, watched=False))
    return connection


def unreachable(dsn: Dsn, diagnosis: Diagnosis, *, tried: str = "") -> DatabaseUnreachable:
    """Return the error for a failed connection; `tried` says how long and how often, if more than once."""
    return DatabaseUnreachable(
        f"Cannot reach {dsn.target}{' as ' + dsn.user if dsn.user else ''}{tried}.",
        f"{diagnosis.reason.rstrip('.')}.",
        diagnosis.hint.replace("{createdb}", _createdb(dsn)),
        UNCHANGED,
    )


def _createdb(dsn: Dsn) -> str:
    """Return the command that makes the database."""
    user = ["-U", dsn.user] if dsn.user else []
    return shlex.join(["createdb", "-h", dsn.host, "-p", dsn.port, *user, dsn.dbname])


def lost(error: BaseException) -> DatabaseUnreachable | None:
    """Return the error for people where `error`, raised outside of a run's phases, says that the connection broke."""
    import psycopg

    if not isinstance(error, psycopg.OperationalError) or error.sqlstate not in CONNECTION_LOST:
        return None
    return DatabaseUnreachable(
        "The connection to the database broke.",
        f"{' '.join(str(error).split()).rstrip('.')}.",
        "Once the server is back, run this again.",
        "What was not committed is rolled back by the server.",
    )


def disable_timeouts(connection: psycopg.Connection, *, local: bool) -> None:
    """Keep timeouts of role or database from ending a session that holds a lock; with `local`, for this transaction.

    In return, the server notices a client that vanished silently: it ends the session within about 13 s (4 + 3 x 2 s of
    silence, and 3 s between two checks while a statement runs), where Linux alone would take two hours.
    """
    connection.execute(
        "select set_config(name, value, %s) from (values ('statement_timeout', '0'), ('transaction_timeout', '0'),"
        " ('idle_session_timeout', '0'), ('idle_in_transaction_session_timeout', '0'), ('tcp_keepalives_idle', '4'),"
        " ('tcp_keepalives_interval', '2'), ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '10000'),"
        " ('client_connection_check_interval', '3000')) wanted(name, value) join pg_settings using (name)",
        (local,),
    )
