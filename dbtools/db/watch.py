"""End a session whose server has fallen silent, so that nothing waits for it for ever.

A machine that is gone, or a network that is cut, is for TCP to notice (see `connect`). But a proxy, a pooler or a
stopped server may keep a connection open and never answer, and a long statement is silent too. So where an answer has
not come within `PATIENCE_S`, a second thread asks the server in a session of its own what became of ours. A statement
that runs, or waits for a lock, is left to run for as long as it takes. A session is ended where twice in succession
there was no answer, where the server does not know it any more, or where the server waits for it in its turn; and
without a question where its first statement, which is always a short one, is not answered.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import termios
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.rows import TupleRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from psycopg.abc import PQGen

PATIENCE_S = 8.0
"""How long an answer may take before the server is asked. A slice of the wait for the seed lock is shorter."""
PROBE_S = 10.0
"""How long that question may take, the login included."""
DOUBTS = 2
"""So often in succession the answer has to be bad, so that one that is on its way does not count."""
NO_ANSWER = "the server let us in, and gave no answer in {:.1f} s"
RV = TypeVar("RV")

_STATE = """
select pg_backend_pid(), a.pid is not null, coalesce(a.wait_event = 'ClientRead', false)
from (values (%s::int)) ours(pid) left join pg_stat_activity a using (pid)
"""


class WatchedConnection(psycopg.Connection[TupleRow]):
    """A session of which every wait for the server ends: by an answer, or by an error that says why."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.waiting_since: float | None = None
        """When the wait for the server began that this session is in."""
        self.answered = False
        """Whether the server has said anything since the login."""
        self._verdict = ""
        self._watch_over, self._end_once = threading.Event(), threading.Lock()
        self._watcher: threading.Thread | None = None

    def watch(self, connect: Callable[[float], WatchedConnection]) -> None:
        """Begin the watch. `connect` opens another session on the same server within so many seconds."""
        arguments = (weakref.ref(self), self.info.backend_pid, connect, self._watch_over)
        self._watcher = threading.Thread(target=_watch, args=arguments, name="dbtools watch", daemon=True)
        self._watcher.start()

    def wait(self, gen: PQGen[RV], *arguments: Any, **options: Any) -> RV:
        """Wait for the server.

        Raises:
            OperationalError: The session was ended because the server is silent; says so.
        """
        self.waiting_since = time.monotonic()
        try:
            answer = super().wait(gen, *arguments, **options)
            self.answered = True
            return answer
        except psycopg.OperationalError as error:
            if self._verdict:
                raise psycopg.OperationalError(self._verdict) from error
            raise
        finally:
            self.waiting_since = None

    @contextmanager
    def answering_within(self, seconds: float) -> Iterator[None]:
        """End the session where the block takes longer than this."""
        timer = threading.Timer(seconds, self.hang_up, [NO_ANSWER.format(seconds)])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def hang_up(self, why: str) -> None:
        """End the session from any thread: the one that waits for the server gets an error that says `why`."""
        with self._end_once, suppress(OSError, psycopg.OperationalError):
            self._verdict = why
            with socket.socket(fileno=os.dup(self.fileno())) as link:
                link.shutdown(socket.SHUT_RDWR)

    @property
    def unsent(self) -> bool:
        """Whether bytes of ours are still on their way to the server: TCP then sees to it that they arrive."""
        count = array.array("i", [0])
        with self._end_once, suppress(OSError, psycopg.OperationalError):
            fcntl.ioctl(self.fileno(), termios.TIOCOUTQ, count)
        return count[0] > 0

    def close(self) -> None:
        """Close the session, and end its watch."""
        with self._end_once:
            super().close()
        self._end_watch()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._end_watch()  # a session that is lost is not closed any more

    def _end_watch(self) -> None:
        self._watch_over.set()
        if self._watcher:
            self._watcher.join(0.1)  # while other threads run, no later run forks; but a question may take longer


def _watch(
    session: weakref.ref[WatchedConnection],
    pid: int,
    connect: Callable[[float], WatchedConnection],
    over: threading.Event,
) -> None:
    doubts, doubted, pause = 0, None, PATIENCE_S
    while not over.wait(pause):
        connection = session()
        if connection is None:
            return
        since, unsent = connection.waiting_since, connection.unsent
        if since and not connection.answered and time.monotonic() - since >= PATIENCE_S:
            connection.hang_up(NO_ANSWER.format(PATIENCE_S))
            return
        del connection  # else a session that is dropped without being closed would live as long as this thread
        waited = time.monotonic() - since if since else 0.0
        pause = PATIENCE_S - waited if waited < PATIENCE_S else PATIENCE_S / 4
        if since is None or waited < PATIENCE_S:
            continue
        why = doubt(pid, connect, unsent=unsent)
        doubts = (doubts + 1 if since == doubted else 1) if why else 0
        doubted = since
        connection = session()
        if doubts >= DOUBTS and connection and connection.waiting_since == since:
            connection.hang_up(why)


def doubt(pid: int, connect: Callable[[float], WatchedConnection], *, unsent: bool) -> str:
    """Return what is wrong with the session of the server process `pid`, or "" where it may go on."""
    deadline = time.monotonic() + PROBE_S
    try:
        with connect(PROBE_S) as probe:
            with probe.answering_within(max(0.1, deadline - time.monotonic())):
                row = probe.execute(_STATE, (pid,)).fetchone()
            assert row is not None
            mine, known, waits_for_us = row
            if mine != probe.info.backend_pid:  # a pooler answers: it does not say which process serves us
                return ""
    except psycopg.OperationalError as error:
        full = error.sqlstate or "too many" in str(error) or "connection slots" in str(error)
        return "" if full else f"the server fell silent, and does not answer a new session either: {error}"
    if not known:
        return "no answer came, and the server does not know this session any more"
    if waits_for_us and not unsent:
        return "no answer came, and the server waits for this session: what was sent is lost on the way"
    return ""
