"""One attempt to connect: its session or its error, and that a session which comes too late is closed."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, cast

import psycopg
import pytest

from dbtools.db.attempt import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.db.watch import WatchedConnection


class Session:
    """What is opened here: it can be closed."""

    closed = False

    def close(self) -> None:
        self.closed = True


def attempt(connect: Callable[[], Session]) -> Attempt:
    return Attempt(cast("Callable[[], WatchedConnection]", connect))


def test_a_session_that_comes_in_time_is_left_open() -> None:
    session = Session()
    assert cast(Session, attempt(lambda: session).result_within(60)) is session
    assert not session.closed


@pytest.mark.parametrize("error", [psycopg.OperationalError, SystemExit])
def test_an_error_is_raised_where_it_is_waited_for(error: type[BaseException]) -> None:
    def fail() -> Session:
        raise error("refused")

    with pytest.raises(error, match="refused"):
        attempt(fail).result_within(60)


def test_a_session_that_comes_too_late_is_closed() -> None:
    session, go = Session(), threading.Event()

    def connect() -> Session:
        go.wait(60)
        return session

    late = attempt(connect)
    with pytest.raises(psycopg.errors.ConnectionTimeout) as caught:
        late.result_within(0.04)
    assert str(caught.value) == "connection timeout expired: no answer in 0.0 s"
    assert late.daemon  # the end of the program does not wait for it
    go.set()
    late.join(60)
    assert session.closed


@pytest.mark.filterwarnings("error")
def test_an_error_that_comes_too_late_is_no_ones() -> None:
    go = threading.Event()

    def fail() -> Session:
        go.wait(60)
        raise psycopg.OperationalError

    late = attempt(fail)
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        late.result_within(0)
    go.set()
    late.join(60)


class Interrupted(BaseException):
    """What a signal's handler raises."""


def test_a_session_that_comes_after_an_interruption_is_closed() -> None:
    session, go, main = Session(), threading.Event(), threading.main_thread().ident

    def interrupt() -> Session:
        assert main is not None
        signal.pthread_kill(main, signal.SIGUSR1)
        go.wait(60)
        return session

    def handle(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        interrupted = attempt(interrupt)
        with pytest.raises(Interrupted):
            interrupted.result_within(60)
    finally:
        signal.signal(signal.SIGUSR1, before)
    go.set()
    interrupted.join(60)
    assert session.closed
