"""What the scheduler writes down of a request that has ended, and what that says of the programs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dbtools.races.execution.scheduler import Scheduler
from dbtools.races.execution.session import Phase, Session
from dbtools.races.scenario import Limits
from dbtools.races.trace import Event, EventKind, Step

TIMED_OUT = {"C": "55P03", "R": "ProcessInterrupts", "M": "canceling statement due to lock timeout"}


class Run:
    """Two programs, each with one session, of which none has a server."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(None, Limits())  # type: ignore[arg-type]
        self.sessions = []
        for name in "ab":
            session = Session(name, name, lambda _: None)
            session.phase = Phase.IDLE
            self.sessions.append(session)
            proxy = SimpleNamespace(actor=name, sessions=[session])
            self.scheduler.add(SimpleNamespace(ready=lambda: 0), proxy)  # type: ignore[arg-type]
        self.a, self.b = self.scheduler._actors  # noqa: SLF001

    def end(self, sql: str = "update items", error: dict[str, str] | None = None, *, choice: bool = True) -> Step:
        """Let a request of A end, and take notice of it."""
        session, step = self.sessions[0], Step(1, "a", "a", sql, choice)
        self.a.steps[session] = step
        self.scheduler._ended_before[session] = session.ended  # noqa: SLF001
        session.ended += 1
        session.error = error or {}
        self.scheduler._record_ends()  # noqa: SLF001
        assert self.a.steps == {}
        return step


def test_the_answer_is_written_down() -> None:
    run = Run()
    run.sessions[0].tag, run.sessions[0].transaction = "UPDATE 1", "T"
    step = run.end()
    assert (step.tag, step.transaction, step.sqlstate, step.message, step.subject) == ("UPDATE 1", "T", "", "", "")
    assert run.a.events == [Event(EventKind.ENDED, "a", 1)]
    assert run.a.polling.begun
    step = run.end(error={"C": "23505", "M": "duplicate", "D": "Key (id)=(1)", "t": "items", "n": "items_pkey"})
    assert (step.sqlstate, step.message, step.detail, step.subject) == (
        "23505",
        "duplicate",
        "Key (id)=(1)",
        "items_pkey",
    )
    assert run.end(error={"C": "23502", "t": "items"}).subject == "items"


def test_a_connection_that_was_lost_is_an_error_unless_the_server_has_said_why() -> None:
    run = Run()
    run.sessions[0].phase = Phase.CLOSED
    step = run.end()
    assert (step.sqlstate, step.message) == ("08006", "the connection was lost")
    step = run.end(error={"C": "57P01", "M": "terminating connection"})
    assert (step.sqlstate, step.message) == ("57P01", "terminating connection")


def test_what_is_no_choice_is_no_round_of_a_poll() -> None:
    run = Run()
    run.end("begin", choice=False)
    assert not run.a.polling.begun


@pytest.mark.parametrize(
    ("error", "other", "starved"),
    [
        (TIMED_OUT, "", True),
        (TIMED_OUT | {"C": "57014"}, "", True),
        (TIMED_OUT, "over", False),
        (TIMED_OUT, "blocked", False),
        (TIMED_OUT | {"R": "LockAcquireExtended"}, "", False),  # NOWAIT
        (TIMED_OUT | {"C": "40001"}, "", False),
        ({}, "", False),
    ],
)
def test_who_ran_into_a_time_limit_while_another_one_could_go_on_is_starved(
    error: dict[str, str], other: str, starved: bool
) -> None:
    run = Run()
    run.b.over = other == "over"
    if other == "blocked":
        run.scheduler._waits.blocked[run.sessions[1]] = ("a",)  # noqa: SLF001
    run.end(error=error)
    assert run.a.timed_out is starved
    assert not run.b.timed_out
    run.end("rollback", {"C": "57014", "R": "ProcessInterrupts"} if not starved else {})
    assert run.a.timed_out is starved  # the end of a transaction says nothing of why it was given up
    run.end("begin", TIMED_OUT, choice=False)
    assert run.a.timed_out is starved
    run.end()
    assert not run.a.timed_out


def test_the_sleep_of_one_that_listens_is_counted_again_from_each_answer() -> None:
    for listening, left in ((True, 0.0), (False, 5.0)):
        run = Run()
        run.sessions[1].listening = listening
        run.b._asleep = 5.0  # noqa: SLF001
        run.end()
        assert run.b._asleep == left  # noqa: SLF001
        assert run.b.slept == 0.0
