"""When a program counts as polling, from what it asked, what it was answered, and whether it slept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dbtools.races.execution.polling import MAX_SPINS, Polling
from dbtools.races.execution.scheduler import Scheduler
from dbtools.races.execution.session import Phase, Session
from dbtools.races.scenario import Limits
from dbtools.races.trace import Step, without_values


class Clock:
    """A program of which only the sleep is of interest, and the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.busy = 0
        self.rested: dict[str, int] = {}
        """How often each thread has gone to sleep, where that is known."""
        monkeypatch.setattr("dbtools.races.execution.polling.time.monotonic", lambda: self.now)

    def ready(self) -> int:
        return self.busy

    def rests(self) -> dict[str, int]:
        return self.rested


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def ask(polling: Polling, clock: Clock, sql: str, sleep: float = 0.1, busy: float = 0.0) -> Any:
    """Sleep and compute, and then have a request held."""
    clock.now += sleep + busy
    clock.busy += int(busy * 1e9)
    polling.expect_answer()
    return SimpleNamespace(sql=sql, answered=0)


def exchange(
    polling: Polling,
    clock: Clock,
    sql: str,
    answer: int = 1,
    tag: str = "SELECT 1",
    sqlstate: str = "",
    **more: float,
) -> bool:
    """Ask and get an answer; return whether the request counted as a poll."""
    session = ask(polling, clock, sql, **more)
    polls = polling.polls(session)
    polling.asked(session, 0)
    session.answered = answer
    polling.expect_request()
    polling.answered(session, Step(1, "a", "a", sql, tag=tag, sqlstate=sqlstate))
    return polls


@pytest.mark.parametrize("sleep", [0.1, 0.0])
def test_the_scheduler_takes_the_time_from_the_answer_to_the_next_request(clock: Clock, sleep: float) -> None:
    sessions: list[Session] = []
    scheduler = Scheduler(None, Limits())  # type: ignore[arg-type]
    scheduler.add(clock, SimpleNamespace(actor="a", sessions=sessions))  # type: ignore[arg-type]
    sessions.append(Session("a", "a", scheduler.session_changed))
    (session,), polling, polls = sessions, scheduler._actors[0].polling, []  # noqa: SLF001
    for _ in range(4):
        clock.now += sleep
        session.sql = "select try()"
        session.enter(Phase.HELD)
        polls.append(polling.polls(session))
        polling.asked(session, 0)
        session.enter(Phase.RUNNING)
        clock.now += 0.1  # the server takes its time
        session.enter(Phase.IDLE)
        polling.answered(session, Step(1, "a", "a", session.sql, tag="SELECT 1"))
    assert polls == [False, False, sleep > 0, sleep > 0]


def test_what_was_undone_by_an_error_had_no_effect(clock: Clock) -> None:
    for sqlstate, expected in (("40001", [False, False, True]), ("", [False, False, False])):
        polling = Polling(clock)  # type: ignore[arg-type]
        found = [exchange(polling, clock, "update a; update b", tag="UPDATE 1", sqlstate=sqlstate) for _ in range(3)]
        assert found == expected


def test_who_has_only_ended_transactions_has_not_given_up(clock: Clock) -> None:
    polling = Polling(clock)  # type: ignore[arg-type]
    assert not polling.gave_up()
    for _ in range(3):
        exchange(polling, clock, "rollback", tag="ROLLBACK")
    assert not polling.gave_up()


def test_the_third_time_is_a_poll(clock: Clock) -> None:
    polling = Polling(clock)  # type: ignore[arg-type]
    assert [exchange(polling, clock, "select try()") for _ in range(4)] == [False, False, True, True]
    assert polling.gave_up()
    assert not exchange(polling, clock, "update t set n = 1", tag="UPDATE 1")
    assert not polling.gave_up()


@pytest.mark.parametrize(
    "more",
    [
        {"sleep": 0.0},  # it reads the same thrice
        {"sleep": 0.0, "busy": 0.5},  # it computes
        {"tag": "UPDATE 1"},  # it has an effect
        {"tag": "INSERT 0 1"},
        {"tag": "COMMIT PREPARED"},
    ],
)
def test_what_is_no_poll(clock: Clock, more: dict[str, Any]) -> None:
    polling = Polling(clock)  # type: ignore[arg-type]
    assert not any(exchange(polling, clock, "select n from t", **more) for _ in range(MAX_SPINS - 1))
    assert not polling.gave_up()


def test_another_answer_is_progress(clock: Clock) -> None:
    polling = Polling(clock)  # type: ignore[arg-type]
    assert not any(exchange(polling, clock, "select n from t", answer=number) for number in range(10))


def test_without_a_sleep_it_takes_many_rounds(clock: Clock) -> None:
    polling = Polling(clock)  # type: ignore[arg-type]
    rounds = [exchange(polling, clock, "select try()", sleep=0.0) for _ in range(MAX_SPINS + 2)]
    assert rounds == [False] * MAX_SPINS + [True] * 2


def test_a_poll_of_several_requests_yields_where_it_has_slept(clock: Clock) -> None:
    polling = Polling(clock)  # type: ignore[arg-type]
    polls = []
    for _ in range(4):
        polls.append(exchange(polling, clock, "update t set who = 'me' where until < '12:01'", tag="UPDATE 0"))
        polls.append(exchange(polling, clock, "COMMIT", tag="COMMIT", sleep=0.0))
    assert polls == [False] * 4 + [True, False] * 2
    assert polling.gave_up()


def test_sleeping_in_the_server_is_sleeping(clock: Clock) -> None:
    polling = Polling(clock)  # type: ignore[arg-type]
    polls = []
    for _ in range(3):
        polls.append(exchange(polling, clock, "select try()", sleep=0.0))
        polls.append(exchange(polling, clock, "select pg_sleep(0.1)", sleep=0.0))
    assert polls[-2]


def test_it_has_yielded_until_another_one_gets_on(clock: Clock) -> None:
    polling = Polling(clock)  # type: ignore[arg-type]
    for _ in range(2):
        exchange(polling, clock, "select try()")
    session = ask(polling, clock, "select try()")
    assert polling.has_yielded(session, 0, 0.0)
    assert not polling.has_yielded(session, 1, 0.0)
    assert not polling.has_yielded(session, 0, 5.0)  # one after the other, it must have polled for a while
    clock.now += 5
    assert polling.has_yielded(session, 0, 5.0)


@pytest.mark.parametrize(("rests", "slept"), [(1, False), (2, True)])
def test_a_request_that_comes_late_is_one_after_a_sleep_if_the_program_slept_twice(
    clock: Clock, rests: int, slept: bool
) -> None:
    polling, found = Polling(clock), []  # type: ignore[arg-type]
    for number in range(4):
        clock.rested = {"main": number * rests}
        found.append(exchange(polling, clock, "select 1"))
    assert found == [False, False, slept, slept]


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ('SAVEPOINT "s7cf2af739c784a1db3755913bd0f0e1c"', 'SAVEPOINT "s?"'),
        ('RELEASE SAVEPOINT "s140234567890112_x1"', 'RELEASE SAVEPOINT "s?_x1"'),
        ('fetch from "550e8400-e29b-41d4-a716-446655440000"', 'fetch from "?"'),
        (
            "select * from m_20240101 where name = 'deadbeef' and n = 12",
            "select * from m_20240101 where name = ? and n = ?",
        ),
    ],
)
def test_names_that_libraries_make_up_are_values(sql: str, shown: str) -> None:
    assert without_values(sql) == shown


def test_an_answer_that_differs_in_the_time_alone_is_the_same_answer() -> None:
    """A program that asks "is it free, and what time is it?" polls, too."""
    answers = []
    for data in (
        b"f\0\0\x1d2026-11-27 08:23:25.1234+00",
        b"f\0\0\x1d2026-11-27 08:23:26.4321+00",
        b"t\0\0\x1d2026-11-27 08:23:26+00",
    ):
        session = Session("a", "a", lambda _: None)
        session.add_answer(data)
        answers.append(session.answer)
    assert answers[0] == answers[1] != answers[2]
