"""The scheduler on a real server: when it chooses, what it writes down of each step, and how it gives a run up."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest

from dbtools.races import Actor, Scenario
from dbtools.races.execution.lab import Lab
from dbtools.races.execution.start import SETTINGS
from dbtools.races.run import RunResult
from dbtools.races.scenario import Limits, Script
from dbtools.races.schedule import SchedulingPoint, continue_current
from dbtools.races.strategies import Replay
from dbtools.races.trace import EventKind

START = [
    "create table counter (n int not null); insert into counter values (0);"
    "create table named (id int constraint named_key primary key, word text not null);"
    "create table tills (id int primary key, cents int); insert into tills values (1, 100), (2, 100)"
]
QUICK = Limits(patience=0.2, hang=1.5, step=600)
WRITE = "update counter set n = n + 1"
WRITES = Script([WRITE] * 2)


def play(*scripts: Script | list[str], schedule: tuple[tuple[int, int | None], ...] = (), **more: object) -> RunResult:
    """One run of actors a, b, c, ..., each of which sends these statements."""
    actors = [
        Actor("abcdef"[number], call=script if isinstance(script, Script) else Script(script))
        for number, script in enumerate(scripts)
    ]
    with Lab(Scenario("scheduler", actors, start=START, **more)) as lab:  # type: ignore[arg-type]
        return lab.run(Replay(schedule))


def events(run: RunResult) -> list[str]:
    return [f"{event.kind} {event.actor}{event.step or ''}" for event in run.trace.events]


def test_a_run_of_too_many_steps_is_ended() -> None:
    run = play([WRITE] * 5, limits=Limits(steps=3))
    assert run.trace.stalled == "It was ended after 3 steps."
    assert len(run.trace.steps) == 3
    assert [end.code for end in run.trace.ends] == [None]
    assert play([WRITE] * 3, limits=Limits(steps=3)).trace.stalled == ""


def test_every_choice_is_among_those_who_have_a_request_and_knows_who_went_last() -> None:
    points: list[SchedulingPoint] = []

    def choose(point: SchedulingPoint) -> int:
        points.append(point)
        return max(point.enabled)

    with Lab(Scenario("scheduler", [Actor(name, call=Script([WRITE] * 2)) for name in "ab"], start=START)) as lab:
        run = lab.run(choose)
    assert [(point.number, point.enabled, point.current) for point in points] == [
        (0, (0, 1), None), (1, (0, 1), 1), (2, (0,), 1), (3, (0,), 0),
    ]  # fmt: skip
    assert [point for point, _ in run.choices] == points
    assert [actor for _, actor in run.choices] == [1, 1, 0, 0]
    assert [(step.number, step.actor, step.tag) for step in run.trace.steps] == [
        (1, "b", "UPDATE 1"), (2, "b", "UPDATE 1"), (3, "a", "UPDATE 1"), (4, "a", "UPDATE 1"),
    ]  # fmt: skip
    assert events(run) == [
        "released b1", "ended b1", "released b2", "ended b2", "finished b",
        "released a3", "ended a3", "released a4", "ended a4", "finished a",
    ]  # fmt: skip


def test_a_wait_begins_and_ends_in_the_trace() -> None:
    run = play(["begin", WRITE, "select 1 from named", "commit"], ["begin", WRITE, "commit"],
               schedule=((0, 1), (1, 1), (0, None)))  # fmt: skip
    assert events(run) == [
        "released a1", "ended a1", "released b2", "ended b2", "released a3", "ended a3",
        "released b4", "blocked b4", "released a5", "ended a5", "released a6", "ended a6", "finished a",
        "woken b4", "ended b4", "released b7", "ended b7", "finished b",
    ]  # fmt: skip
    (blocked,) = [event for event in run.trace.events if event.kind is EventKind.BLOCKED]
    assert (blocked.on, blocked.lock) == (("a",), "transaction")


def test_a_blocked_actor_has_no_choice_until_it_is_woken() -> None:
    enabled: list[tuple[int, ...]] = []

    def choose(point: SchedulingPoint) -> int:
        enabled.append(point.enabled)
        return {0: 0, 1: 1}.get(point.number, min(point.enabled))

    actors = [Actor(name, call=Script(["begin", WRITE, "select 1 from named", "commit"])) for name in "ab"]
    with Lab(Scenario("scheduler", actors, start=START)) as lab:
        lab.run(choose)
    assert enabled == [(0, 1), (0, 1), (0,), (0,), (1,), (1,)]


def test_an_actor_that_is_woken_runs_on_before_the_next_choice() -> None:
    run = play(
        ["select pg_advisory_lock(7)", "select pg_advisory_unlock(7)", WRITE],
        ["select pg_advisory_lock(7), pg_sleep(0.5)"],
        schedule=((0, 1), (1, 1), (0, None)),
    )
    found = events(run)
    (written,) = [step for step in run.trace.steps if step.sql == WRITE]
    assert found.index("blocked b2") < found.index("woken b2") < found.index("ended b2")
    assert found.index("ended b2") < found.index(f"released a{written.number}")


@pytest.mark.parametrize("timeout", ["10ms", "500ms"])
def test_while_the_server_has_a_deadlock_to_break_nobody_else_is_let_through(
    timeout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the server takes longer than it is set to: a circle of waits is no place to go on from."""
    monkeypatch.setitem(SETTINGS, "deadlock_timeout", timeout)

    def take(first: int, second: int) -> list[str]:
        move = "update tills set cents = 0 where id = {}"
        return ["begin", move.format(first), move.format(second), "commit"]

    run = play(take(1, 2), take(2, 1), [WRITE], schedule=((0, 1), (1, 2), (0, 1), (2, None)))
    found = events(run)
    closing = next(step for step in run.trace.steps if step.sqlstate == "40P01")
    outside = next(step for step in run.trace.steps if step.actor == "c")
    assert timeout == "500ms" or closing.actor == "a"
    assert outside.number > closing.number
    assert found.index(f"ended {closing.actor}{closing.number}") < found.index(f"released c{outside.number}")


def test_the_one_that_closes_the_circle_fails_however_long_the_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each earlier wait has been looked at in vain before the next request goes to the server."""
    monkeypatch.setitem(SETTINGS, "deadlock_timeout", "300ms")
    monkeypatch.setattr("dbtools.races.execution.wait_tracker.DEADLOCK_TIMEOUT_S", 0.3)
    first, second = ("update tills set cents = 0 where id = 1", "update tills set cents = 0 where id = 2")
    run = play(["begin", first, second, "commit"], ["begin", second, first, "commit"], schedule=((0, 1), (1, None)))
    (failed,) = [step for step in run.trace.steps if step.sqlstate == "40P01"]
    assert (failed.actor, failed.detail) == (
        "a",
        "a waits for ShareLock on transaction; blocked by b.\nb waits for ShareLock on transaction; blocked by a.",
    )


def test_what_a_step_writes_down() -> None:
    run = play([
        "begin", "insert into named values (1, 'x')", "select 1 from named", "commit",
        "insert into named values (1, 'y')",
    ], ["insert into named values (2)"], ["begin", "select 1 / 0"])  # fmt: skip
    steps = {(step.actor, step.sql): step for step in run.trace.steps}
    assert [steps["a", sql].transaction for sql in ("begin", "select 1 from named", "commit")] == ["T", "T", "I"]
    assert steps["a", "insert into named values (1, 'x')"].tag == "INSERT 0 1"
    twice, null, zero = (
        steps["a", "insert into named values (1, 'y')"],
        steps["b", "insert into named values (2)"],
        steps["c", "select 1 / 0"],
    )
    assert (twice.sqlstate, twice.subject, twice.detail) == ("23505", "named_key", "Key (id)=(1) already exists.")
    assert twice.message == 'duplicate key value violates unique constraint "named_key"'
    assert (null.sqlstate, null.subject) == ("23502", "named")
    assert (zero.sqlstate, zero.subject, zero.message, zero.transaction) == ("22012", "", "division by zero", "E")
    assert {step.session for step in run.trace.steps} == {"a", "b", "c"}
    assert [failure.name for failure in run.trace.failures] == ["23505 named_key", "23502 named", "22012"]


def test_a_session_that_ends_during_its_step_has_lost_the_connection() -> None:
    """The program leaves while its statement waits for another one's lock, which is kept until the server knows."""

    def until_somebody_waits(url: str, waits: bool) -> None:
        database = url.partition("?")[0].rpartition("/")[2]
        with psycopg.connect(f"{lab.url.rpartition('/')[0]}/{database}", autocommit=True) as direct:
            while bool(direct.execute("select 1 from pg_locks where not granted").fetchall()) is not waits:
                time.sleep(0.005)

    def keeps(url: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute(WRITE)
            connection.execute("select 1 from named")
            until_somebody_waits(url, waits=False)

    def leaves(url: str) -> None:
        connection = psycopg.connect(url, autocommit=True, options="-c client_connection_check_interval=10ms")
        connection.pgconn.send_query(WRITE.encode())
        until_somebody_waits(url, waits=True)
        os._exit(3)

    with Lab(Scenario("scheduler", [Actor("a", call=keeps), Actor("b", call=leaves)], start=START)) as lab:
        run = lab.run(Replay(((0, 1), (1, 1), (0, None))))
    (step,) = [step for step in run.trace.steps if step.actor == "b"]
    assert (step.sqlstate, step.message) == ("08006", "the connection was lost")
    assert [end.code for end in run.trace.ends] == [0, 3]


def test_a_session_that_the_server_ends_keeps_the_servers_answer() -> None:
    (step,) = play(["select pg_terminate_backend(pg_backend_pid())"]).trace.steps
    assert (step.sqlstate, step.message) == ("57P01", "terminating connection due to administrator command")


def test_a_program_that_pauses_for_longer_than_the_others_wait_is_no_hang() -> None:
    def pauses(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(WRITE)
            time.sleep(0.6)
            connection.execute(WRITE)

    with Lab(
        Scenario("scheduler", [Actor("a", call=pauses)], start=START, limits=Limits(patience=0.1, hang=60))
    ) as lab:
        run = lab.run(continue_current)
    assert run.trace.failures == []
    assert len(run.trace.steps) == 2


def ask_again(url: str, *, nap: float) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(4):
            connection.execute("select n from counter where n < 9")
            if nap:
                time.sleep(nap)


@contextmanager
def busy_lab() -> Iterator[None]:
    """The lab gets to work only every 20 ms, so it sees each request that late."""
    over, before = threading.Event(), sys.getswitchinterval()

    def spin() -> None:
        while not over.is_set():
            pass

    thread = threading.Thread(target=spin)
    sys.setswitchinterval(0.02)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(before)


def test_a_program_whose_requests_the_lab_sees_late_does_not_poll() -> None:
    actors = {nap: [Actor("a", call=partial(ask_again, nap=nap)), Actor("b", call=WRITES)] for nap in (0, 0.03)}
    with Lab(Scenario("scheduler", actors[0], start=START)) as lab, busy_lab():
        for nap, first in ((0, 4), (0.03, 2)):
            run = lab.run(Replay(((0, None), (1, None))), actors[nap])
            assert [step.actor for step in run.trace.steps if step.choice].index("b") == first
            assert run.trace.starved == ""


def end_late(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("listen news")
        time.sleep(0.25)
        os._exit(0)


def test_the_end_of_a_program_that_has_slept_is_seen_with_that_of_its_connection() -> None:
    with Lab(Scenario("scheduler", [Actor("a", call=end_late)], START, limits=QUICK)) as lab, busy_lab():
        for _ in range(3):
            assert events(lab.run(Replay(((0, None),)))) == ["released a1", "ended a1", "finished a"]


def test_nobody_is_let_through_once_a_run_has_stalled() -> None:
    def computes(url: str) -> None:
        while True:
            pass

    actors = [Actor("a", call=computes), Actor("b", call=Script([WRITE, WRITE]))]
    with Lab(Scenario("scheduler", actors, start=START, limits=Limits(step=2))) as lab:
        run = lab.run(continue_current)
    assert run.trace.stalled == "After 2 s: a is computing."
    assert run.trace.steps == []


def test_a_hang_names_who_waits_for_whom_and_who_sleeps() -> None:
    def sleeps(url: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute(WRITE)
            time.sleep(3600)

    actors = [
        Actor("a", call=sleeps),
        *[Actor(name, call=Script([WRITE])) for name in "bc"],
        Actor("d", call=Script([])),
    ]
    with Lab(Scenario("scheduler", actors, start=START, limits=QUICK)) as lab:
        run = lab.run(continue_current)
    (failure,) = [failure for failure in run.trace.failures if failure.kind == "hang"]
    assert failure.name == "hang"
    assert failure.detail == (
        "No actor can make progress: a sleeps with no request under way, b waits for a, c waits for b."
    )
    assert [end.code for end in run.trace.ends] == [None, None, None, 0]
    assert run.trace.stalled == ""


def test_of_one_actors_connections_the_first_goes_first() -> None:
    def two(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as first, psycopg.connect(url, autocommit=True) as second:
            # From one thread, which does not sleep in between: so the actor is settled only once both are sent.
            second.pgconn.send_query(b"insert into named values (2, 'x')")
            first.pgconn.send_query(b"insert into named values (1, 'x')")
            for connection in (first, second):
                while connection.pgconn.get_result() is not None:
                    pass

    with Lab(Scenario("scheduler", [Actor("a", call=two)], start=START)) as lab:
        run = lab.run(continue_current)
    assert [step.session for step in run.trace.steps] == ["a", "a#2"]


def test_two_runs_of_one_schedule_are_equal_event_for_event() -> None:
    """With one session that waits for a row. Of several, the server itself does not always wake the same one first."""
    script = Script(["begin", WRITE, "insert into named values (1, 'x') on conflict do nothing", "commit"])
    with Lab(Scenario("scheduler", [Actor(name, call=script) for name in "ab"], start=START)) as lab:
        runs = [lab.run(Replay(((1, 1), (0, 1), (1, None)))) for _ in range(3)]
    assert all(run.trace == runs[0].trace for run in runs)
    kinds = [event.kind for event in runs[0].trace.events]
    assert kinds.count(EventKind.BLOCKED) == kinds.count(EventKind.WOKEN) == 1
