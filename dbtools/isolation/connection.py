"""The connections of a run: one per session of the spec, and the control connection beside them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import conninfo, pq

from dbtools.isolation.libpq import SpecAborted
from dbtools.isolation.spec import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg.pq.abc import PGconn, PGresult

    from dbtools.isolation.spec import NumNotices, PermutationStep, Spec, Step

# PostgreSQL's test driver fixes these settings for its specs, and the expected output depends on them.
SETTINGS = {
    "timezone": "PST8PDT",
    "datestyle": "Postgres, MDY",
    "intervalstyle": "postgres_verbose",
    "bytea_output": "hex",
    "timezone_abbreviations": "Default",
    "lc_messages": "C",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
}


@dataclass(eq=False)
class ActiveStep:
    """A step that was sent and whose end has not been reported."""

    pstep: PermutationStep
    connection: SessionConnection
    target_notices: dict[NumNotices, int]
    """The `total_notices` at which each blocker of this kind is released."""

    @property
    def step(self) -> Step:
        """The step itself."""
        return self.pstep.step


class SessionConnection:
    """The connection of one session (IsoConnInfo). Its notices are written as they arrive.

    Raises:
        SpecAborted: The connection failed; `number` counts the sessions from 1.
    """

    def __init__(self, session_name: str, number: int, parameters: str, write: Callable[[bytes], object]) -> None:
        self.session_name = session_name
        self.active_step: ActiveStep | None = None
        """The step that was sent and whose end has not been reported."""
        self.total_notices = 0
        self._write = write
        self.pgconn: PGconn = pq.PGconn.connect(parameters.encode())
        if self.pgconn.status != pq.ConnStatus.OK:
            raise SpecAborted(f"Connection {number} failed: ", self.pgconn.error_message)
        _append_to_application_name(self.pgconn, session_name)
        self.pid = self.pgconn.backend_pid
        self.pgconn.notice_handler = self._notice

    @property
    def is_busy(self) -> bool:
        """Whether the next result has not arrived yet."""
        return bool(self.pgconn.is_busy())

    def _notice(self, result: PGresult) -> None:
        # In libpq's default form: with detail and hint, without context.
        self._write(encode(f"{self.session_name}: ") + result.error_message)
        self.total_notices += 1


def open_control(parameters: str) -> psycopg.Connection:
    """Return the control connection: it runs the set-up and tear-down of the spec, and asks who waits for a lock.

    Raises:
        SpecAborted: The connection failed.
    """
    try:
        control = psycopg.connect(parameters, autocommit=True)
    except psycopg.OperationalError as error:
        raise SpecAborted(f"Connection 0 failed: {error}\n") from None
    _append_to_application_name(control.pgconn, "control connection")
    return control


def connection_parameters(spec: Spec, url: str) -> str:
    """Return the conninfo string of every connection: the database at `url`, the spec's name, and `SETTINGS`."""
    # A blank inside a value of `options` is escaped with a backslash.
    options = " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in SETTINGS.items())
    name = spec.name.encode("ascii", "replace").decode()
    return conninfo.make_conninfo(url, application_name=f"isolation/{name}", options=options)


@contextmanager
def without_libpq_variables() -> Iterator[None]:
    """Hide libpq's environment variables while connecting: PGTZ and PGDATESTYLE would override `SETTINGS`."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PG")}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _append_to_application_name(pgconn: PGconn, name: str) -> None:
    sql = b"select pg_catalog.set_config('application_name', current_setting('application_name') || '/' || $1, false)"
    result = pgconn.exec_params(sql, [encode(name)])
    if result.status != pq.ExecStatus.TUPLES_OK:
        raise SpecAborted("setting of application name failed: ", pgconn.error_message)
