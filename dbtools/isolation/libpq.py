"""The calls of libpq that a run of a spec needs, none of which waits without a limit.

libpq's own PQgetResult and PQexec wait for ever, and a Python program cannot interrupt them.
"""

from __future__ import annotations

import os
import select
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq

from dbtools.isolation.spec import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg.pq.abc import PGconn, PGresult

LOCK_CHECK_INTERVAL_S = 0.010
"""Seconds of silence after which the server is asked whether the step waits for a lock.

The tester's own value. Less would do for waits that only another step can end, but specs also have waits that end by
themselves (deadlock_timeout = '10ms'), and their expected output was recorded with this interval.
"""
COPY_STARTED = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)


class SpecAborted(Exception):
    """Where the tester would exit: `text` is the last thing it would print."""

    def __init__(self, text: str, server_message: bytes = b"") -> None:
        self.text = encode(text) + server_message


@dataclass(frozen=True)
class StepLimit:
    """How long one statement may take, and on which clock."""

    seconds: float
    clock: Callable[[], float]


class StepTimer:
    """The time that one statement takes: it is cancelled at the limit, and at twice the limit the spec is aborted.

    Messages call the statement `what`.
    """

    def __init__(self, limit: StepLimit, what: str, pgconn: PGconn, write: Callable[[bytes], object]) -> None:
        self._limit = limit
        self._what = what
        self._pgconn = pgconn
        self._write = write
        self._started = limit.clock()
        self._cancelled = False

    def check(self) -> None:
        """Cancel the statement if its time is up.

        Raises:
            SpecAborted: It still runs after twice its time.
        """
        waited = self._limit.clock() - self._started
        if waited > self._limit.seconds and not self._cancelled:
            try:
                self._pgconn.get_cancel().cancel()
                self._write(encode(f"isolationtester: canceling {self._what} after {int(waited)} seconds\n"))
                self._cancelled = True
            except psycopg.Error as error:
                self._write(encode(f"PQcancel failed: {error}\n"))
        if waited > 2 * self._limit.seconds:
            raise SpecAborted(f"{self._what} timed out after {int(waited)} seconds\n")


def next_result(pgconn: PGconn, timer: StepTimer) -> PGresult | None:
    """Return the next result of the statement, or None after the last one.

    Raises:
        SpecAborted: It did not come in time, or the connection failed.
    """
    while pgconn.is_busy():
        if not is_readable(pgconn):
            timer.check()
        elif _is_at_end(pgconn):
            break  # PQgetResult turns a lost connection into a result, but only if it finds the loss itself
        else:
            consume_input(pgconn)
    return pgconn.get_result()


def is_readable(pgconn: PGconn) -> bool:
    """Wait for the server for at most `LOCK_CHECK_INTERVAL_S`. Return whether it has sent something.

    Raises:
        SpecAborted: The connection is closed.
    """
    poll = select.poll()
    poll.register(_socket(pgconn), select.POLLIN)
    return bool(poll.poll(LOCK_CHECK_INTERVAL_S * 1000))


def consume_input(pgconn: PGconn) -> None:
    """Read what the server has sent.

    Raises:
        SpecAborted: The connection failed.
    """
    try:
        pgconn.consume_input()
    except psycopg.OperationalError:
        raise SpecAborted("PQconsumeInput failed: ", pgconn.error_message + b"\n") from None


def _is_at_end(pgconn: PGconn) -> bool:
    with socket.socket(fileno=os.dup(_socket(pgconn))) as peek:
        try:
            return peek.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True


def _socket(pgconn: PGconn) -> int:
    try:
        return pgconn.socket
    except psycopg.OperationalError:
        raise SpecAborted("invalid socket: ", pgconn.error_message) from None
