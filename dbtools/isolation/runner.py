"""Run an isolation spec and print what PostgreSQL's isolation tester prints, byte for byte.

One connection per session and a control connection, opened once per file. A step is sent as one simple query; it is
reported when it ends, or as waiting when the server says that another session of the test blocks it. Its errors are
part of the result. What the tester writes to standard error goes to the same place, where it would have appeared.
"""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import conninfo, pq

from dbtools.db.lock_probe import Probe
from dbtools.errors import VerificationFailed
from dbtools.isolation import format as pqprint
from dbtools.isolation.parser import ENCODING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from psycopg.pq.abc import PGconn, PGresult

    from dbtools.isolation.parser import Marker, Place, Spec, Step

STEP_TIMEOUT = 360.0
"""Seconds after which a step is cancelled; after twice that the file is given up."""
SILENCE = 0.010
"""Seconds without a word from the server after which it is asked whether the step is blocked.

The tester's own. Less would do for waits that only another step can end, but specs also have waits that end by
themselves (deadlock_timeout = '10ms'), and what is expected of those was recorded with this interval.
"""
# What PostgreSQL's test driver fixes for its specs, and their expected output shows.
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
_BEGUN_COPY = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)


def run(spec: Spec, url: str, write: Callable[[bytes], object], *, step_timeout: float = STEP_TIMEOUT) -> int:
    """Run every permutation of the spec on the database at `url` and return how many there were.

    Each piece of output is written when it is there. lc_messages is for superusers to set, so `url` must be one's.

    Raises:
        VerificationFailed: A connection or a set-up failed, or a step did not end even when cancelled. The output so
            far is written, and ends with the reason.
    """
    sessions: list[_Session] = []
    control = None
    try:
        for name in spec.unused():
            write(_bytes(f"unused step name: {name}\n"))
        write(b"Parsed test spec with %d sessions\n" % len(spec.sessions))
        parameters = _parameters(spec, url)
        with _without_variables():
            control = _open_control(parameters)
            for number, session in enumerate(spec.sessions, 1):
                sessions.append(_Session(session.name, number, parameters, write))
        runner = _Runner(spec, control, sessions, write, step_timeout)
        count = 0
        for order in spec.orders():
            runner.permutation(order)
            count += 1
        return count
    except _GivenUp as reason:
        write(reason.text)
        raise VerificationFailed(
            f"The spec {spec.name} could not be run to its end.",
            f"{' '.join(reason.text.decode(*ENCODING).split()).rstrip('.')}. What came before was printed.",
            "Correct the spec; the line above is in its output too.",
        ) from None
    finally:
        for one in sessions:
            one.pgconn.finish()
        if control is not None:
            control.close()


class _GivenUp(Exception):
    """The tester would end here; `text` are its last words."""

    def __init__(self, text: str, message: bytes = b"") -> None:
        self.text = _bytes(text) + message


class _Session:
    """One connection of the test."""

    def __init__(self, name: str, number: int, parameters: str, write: Callable[[bytes], object]) -> None:
        self.name = name
        self.active: _Launched | None = None
        self.notices = 0
        self._write = write
        self.pgconn: PGconn = pq.PGconn.connect(parameters.encode())
        if self.pgconn.status != pq.ConnStatus.OK:
            raise _GivenUp(f"Connection {number} failed: ", self.pgconn.error_message)
        _sign(self.pgconn, name)
        self.pid = self.pgconn.backend_pid
        self.pgconn.notice_handler = self._notice

    def _notice(self, result: PGresult) -> None:
        # As libpq words it by default: with detail and hint, without context.
        self._write(_bytes(f"{self.name}: ") + result.error_message)
        self.notices += 1

    @property
    def busy(self) -> bool:
        return bool(self.pgconn.is_busy())


@dataclass(eq=False)
class _Launched:
    """A step that was sent and whose end was not reported yet."""

    place: Place
    session: _Session
    targets: dict[Marker, int]
    """How many notices the session of a marker's step must have delivered."""

    @property
    def step(self) -> Step:
        return self.place.step


class _Limit:
    """An end to the wait for one step: it is cancelled after the timeout, the file is given up after twice that."""

    def __init__(self, what: str, pgconn: PGconn, timeout: float, write: Callable[[bytes], object]) -> None:
        self._what = what
        self._pgconn = pgconn
        self._timeout = timeout
        self._write = write
        self._started = time.monotonic()
        self._cancelled = False

    def check(self) -> None:
        waited = time.monotonic() - self._started
        if waited > self._timeout and not self._cancelled:
            try:
                self._pgconn.get_cancel().cancel()
                self._write(_bytes(f"isolationtester: canceling {self._what} after {int(waited)} seconds\n"))
                self._cancelled = True
            except psycopg.Error as error:
                self._write(_bytes(f"PQcancel failed: {error}\n"))
        if waited > 2 * self._timeout:
            raise _GivenUp(f"{self._what} timed out after {int(waited)} seconds\n")


class _Runner:
    """The permutations of one file on its open connections."""

    def __init__(
        self,
        spec: Spec,
        control: psycopg.Connection,
        sessions: Sequence[_Session],
        write: Callable[[bytes], object],
        timeout: float,
    ) -> None:
        self._spec = spec
        self._control = control
        self._probe = Probe(control)
        self._sessions = sessions
        self._pids = [one.pid for one in sessions]
        self._by_pid = {one.pid: one.name for one in reversed(sessions)}
        self._write = write
        self._timeout = timeout

    def permutation(self, order: Sequence[Place]) -> None:
        self._print("\nstarting permutation:", *(f" {place.step.name}" for place in order), "\n")
        self._set_up()
        waiting: list[_Launched] = []
        for place in order:
            session = self._sessions[place.step.session]
            self._free(session, waiting)
            launched = self._launch(place, session)
            done = self._try(launched, first=True, may_block=True)
            self._try_all(waiting, may_block=True)
            if not done:
                waiting.append(launched)
        self._try_all(waiting, may_block=False)
        if waiting:
            raise _GivenUp("failed to complete permutation due to mutually-blocking steps\n")
        self._tear_down()

    def _set_up(self) -> None:
        for sql in self._spec.setups:
            if (message := self._execute(self._control.pgconn, sql, "setup")) is not None:
                raise _GivenUp("setup failed: ", message)
        for session, one in zip(self._sessions, self._spec.sessions, strict=True):
            what = f"setup of session {session.name}"
            if one.setup is not None and (message := self._execute(session.pgconn, one.setup, what)) is not None:
                raise _GivenUp(f"{what} failed: ", message)

    def _tear_down(self) -> None:
        for session, one in zip(self._sessions, self._spec.sessions, strict=True):
            what = f"teardown of session {session.name}"
            if one.teardown is not None and (message := self._execute(session.pgconn, one.teardown, what)) is not None:
                self._write(_bytes(f"{what} failed: ") + message)
        if self._spec.teardown is not None:
            message = self._execute(self._control.pgconn, self._spec.teardown, "teardown")
            if message is not None:
                self._write(b"teardown failed: " + message)

    def _execute(self, pgconn: PGconn, sql: str, what: str) -> bytes | None:
        """Run a block to its end, print the rows of its last result, and return the message if that is an error."""
        limit = _Limit(what, pgconn, self._timeout, self._write)
        last = None
        try:
            pgconn.send_query(_bytes(sql))
            while (result := _next_result(pgconn, limit)) is not None:
                last = result
                if last.status in _BEGUN_COPY:
                    raise _GivenUp(f"{what} failed: COPY with data of the client is not possible in a spec\n")
        except psycopg.OperationalError:
            return pgconn.error_message  # the connection was lost before
        if last is not None and last.status == pq.ExecStatus.TUPLES_OK:
            self._write(_rows(last))
        elif last is None or last.status != pq.ExecStatus.COMMAND_OK:
            return pgconn.error_message
        return None

    def _free(self, session: _Session, waiting: list[_Launched]) -> None:
        """Wait until the session's earlier step is reported; other steps may have to be reported for that."""
        started = time.monotonic()
        while (earlier := session.active) is not None:
            if self._try(earlier, first=False, may_block=False):
                waiting.remove(earlier)
            self._try_all(waiting, may_block=True)
            if session.active is None:
                break
            waited = time.monotonic() - started
            if waited > 2 * self._timeout:
                active = "".join(f" {one.active.step.name}" for one in self._sessions if one.active)
                what = f"step {session.active.step.name} timed out after {int(waited)} seconds"
                raise _GivenUp(f"{what}\nactive steps are:{active}\n")
            # Only markers hold it now, so there may be nothing to listen to.
            time.sleep(SILENCE)

    def _launch(self, place: Place, session: _Session) -> _Launched:
        try:
            session.pgconn.send_query(_bytes(place.step.sql))
        except psycopg.OperationalError:
            raise _GivenUp(
                f"failed to send query for step {place.step.name}: ", session.pgconn.error_message + b"\n"
            ) from None
        targets = {
            marker: marker.notices + self._sessions[marker.step.session].notices
            for marker in place.markers
            if marker.step is not None and marker.notices is not None
        }
        session.active = _Launched(place, session, targets)
        return session.active

    def _try_all(self, waiting: list[_Launched], *, may_block: bool) -> None:
        """Try to report every waiting step, over again as long as that may have let another one go."""
        while True:
            before, notices = len(waiting), sum(one.notices for one in self._sessions)
            for one in list(waiting):
                if self._try(one, first=False, may_block=may_block):
                    waiting.remove(one)
            news = len(waiting) < before or sum(one.notices for one in self._sessions) > notices
            if not (news and any(one.place.markers for one in waiting)):
                return

    def _try(self, launched: _Launched, *, first: bool, may_block: bool) -> bool:
        """Wait until the step ends or, if it `may_block`, is blocked. Return whether its end was reported."""
        step, session = launched.step, launched.session
        waits = f"step {step.name}: {step.sql} <waiting ...>\n" if first else ""
        if first and any(marker.step is None for marker in launched.place.markers):
            self._print(waits)
            return False
        limit = _Limit(f"step {step.name}", session.pgconn, self._timeout, self._write)
        while session.busy:
            if _readable(session.pgconn, SILENCE):
                _consume(session.pgconn)
            elif may_block and self._is_blocked(session):
                # What arrived while the server was asked wins.
                _consume(session.pgconn)
                if session.busy:
                    self._print(waits)
                    return False
            else:
                limit.check()
        if self._is_held(launched):
            self._print(waits)
            return False
        self._print(f"step {step.name}: {step.sql}\n" if first else f"step {step.name}: <... completed>\n")
        self._report(launched, limit)
        return True

    def _is_blocked(self, session: _Session) -> bool:
        try:
            return bool(self._probe.stuck([session.pid], self._pids))
        except psycopg.Error as error:
            raise _GivenUp(f"lock wait query failed: {error}\n") from None

    def _is_held(self, launched: _Launched) -> bool:
        """Return whether a marker holds back the report of a step that has ended."""
        for marker in launched.place.markers:
            if marker.step is None:
                continue
            other = self._sessions[marker.step.session]
            if marker.notices is not None:
                if other.notices < launched.targets[marker]:
                    return True
            elif other.active is not None and other.active.step is marker.step:
                return True
        return False

    def _report(self, launched: _Launched, limit: _Limit) -> None:
        session = launched.session
        while (result := _next_result(session.pgconn, limit)) is not None:
            self._write(_shown(result))
            if result.status in _BEGUN_COPY:
                raise _GivenUp(f"step {launched.step.name}: COPY with data of the client is not possible in a spec\n")
        # Here, and only here, a lost connection is nothing new: its words are among the results.
        with suppress(psycopg.OperationalError):
            session.pgconn.consume_input()
        while (note := session.pgconn.notifies()) is not None:
            sender = self._by_pid.get(note.be_pid, f"PID {note.be_pid}")
            self._write(_bytes(f"{session.name}: NOTIFY ") + b'"%s" with payload "%s"' % (note.relname, note.extra))
            self._print(f" from {sender}\n")
            with suppress(psycopg.OperationalError):
                session.pgconn.consume_input()
        session.active = None

    def _print(self, *texts: str) -> None:
        self._write(_bytes("".join(texts)))


def _shown(result: PGresult) -> bytes:
    """Return what is printed for one result of a step."""
    if result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY):
        return b""
    if result.status == pq.ExecStatus.TUPLES_OK:
        return _rows(result)
    if result.status == pq.ExecStatus.FATAL_ERROR:
        # No detail: it may hold transaction numbers.
        severity = result.error_field(pq.DiagnosticField.SEVERITY)
        message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
        if severity is not None and message is not None:
            return severity + b":  " + message + b"\n"
        return result.error_message + b"\n"
    return _bytes(f"unexpected result status: PGRES_{pq.ExecStatus(result.status).name}\n")


def _rows(result: PGresult) -> bytes:
    columns = range(result.nfields)
    rows = [[result.get_value(row, column) for column in columns] for row in range(result.ntuples)]
    return pqprint.table([result.fname(column) or b"" for column in columns], rows)


def _next_result(pgconn: PGconn, limit: _Limit) -> PGresult | None:
    """Return the next result, or None after the last. libpq's own wait has no end and cannot be interrupted."""
    while pgconn.is_busy():
        if not _readable(pgconn, SILENCE):
            limit.check()
        elif _is_at_end(pgconn):
            break  # libpq makes a result of a lost connection, but only where it finds the loss itself
        else:
            _consume(pgconn)
    return pgconn.get_result()


def _readable(pgconn: PGconn, timeout: float) -> bool:
    poll = select.poll()
    poll.register(_socket(pgconn), select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def _is_at_end(pgconn: PGconn) -> bool:
    with socket.socket(fileno=os.dup(_socket(pgconn))) as peek:
        try:
            return peek.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True


def _consume(pgconn: PGconn) -> None:
    try:
        pgconn.consume_input()
    except psycopg.OperationalError:
        raise _GivenUp("PQconsumeInput failed: ", pgconn.error_message + b"\n") from None


def _socket(pgconn: PGconn) -> int:
    try:
        return pgconn.socket
    except psycopg.OperationalError:
        raise _GivenUp("invalid socket: ", pgconn.error_message) from None


def _open_control(parameters: str) -> psycopg.Connection:
    try:
        control = psycopg.connect(parameters, autocommit=True)
    except psycopg.OperationalError as error:
        raise _GivenUp(f"Connection 0 failed: {error}\n") from None
    _sign(control.pgconn, "control connection")
    return control


def _sign(pgconn: PGconn, name: str) -> None:
    sql = b"select pg_catalog.set_config('application_name', current_setting('application_name') || '/' || $1, false)"
    result = pgconn.exec_params(sql, [_bytes(name)])
    if result.status != pq.ExecStatus.TUPLES_OK:
        raise _GivenUp("setting of application name failed: ", pgconn.error_message)


def _parameters(spec: Spec, url: str) -> str:
    # In `options` a blank inside a value is escaped.
    options = " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in SETTINGS.items())
    name = spec.name.encode("ascii", "replace").decode()
    return conninfo.make_conninfo(url, application_name=f"isolation/{name}", options=options)


@contextmanager
def _without_variables() -> Iterator[None]:
    """Hide libpq's variables while connecting: PGTZ and PGDATESTYLE would beat the settings above."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PG")}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _bytes(text: str) -> bytes:
    return text.encode(*ENCODING)
