"""How the lab goes on by itself: with one switch more, and with latches where several programs define something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest

from dbtools.application import Invariant
from dbtools.config import Project
from dbtools.races import Actor, Scenario, explore, replay, report, store
from dbtools.races.execution.lab import Lab
from dbtools.races.explore import explain
from dbtools.races.result import Verdict
from dbtools.races.scenario import Script
from dbtools.races.strategies import in_order
from tests.support.pipelines import pipeline

OF_THE_LAB = "  Statements that a latch of the lab's own stopped in their middle: "


def twice(*statements: str, start: str = "select", superuser: bool = False) -> Scenario:
    actors = [Actor(name, call=Script(statements)) for name in ("a", "b")]
    return Scenario("twice", actors, [start], superuser=superuser)


def test_a_race_that_needs_three_switches() -> None:
    """B has to look while A is in the middle of its first change, and again in the middle of its second."""
    change, undo = "update flags set up = true where name = '{}'", "update flags set up = false where name = '{}'"
    actors = [
        Actor("a", call=Script([text.format(name) for name in "xy" for text in (change, undo)])),
        Actor(
            "b", call=Script([f"insert into seen select name from flags where up and name = '{name}'" for name in "xy"])
        ),
    ]
    start = [
        "create table seen (name text); create table flags (name text, up bool);"
        " insert into flags values ('x', false), ('y', false)"
    ]
    rule = [Invariant("not both", "select count(*) from seen having count(*) = 2")]
    scenario = Scenario("three", actors, start, rule, serial=False)

    within = explore(scenario, bound=2)
    assert (within.verdict, within.complete) == (Verdict.HELD, 2)
    assert "All schedules with up to 2 switches: 12, none fails." in report.verdict(within)[0]
    found = explore(scenario)
    assert (found.verdict, found.failure, found.switches) == (Verdict.VIOLATED, "invariant not both", 3)
    # A cure that is tried with fewer switches than the race needs would always hold.
    first, *_ = explain(scenario, found.token).trials
    assert (first.cure, first.verdict) == ("REPEATABLE READ", "does not help")


@pytest.mark.parametrize(
    ("statement", "start", "failure"),
    [
        ("create table if not exists t (id serial primary key)", "select", "23505 pg_type_typname_nsp_index"),
        ("create extension if not exists plpgsql", "drop extension plpgsql", "23505 pg_extension_name_index"),
        (
            "create or replace function one() returns int language sql as 'select 1'",
            "create function one() returns int language sql as 'select 1'; alter function one() owner to app",
            "XX000",
        ),
    ],
)
def test_what_two_definitions_do_to_each_other_inside_of_the_statement(
    statement: str, start: str, failure: str
) -> None:
    """No order of whole statements fails. The latch is the lab's own, and the token leads to it."""
    scenario = twice(statement, start=start, superuser=True)
    found = explore(scenario)
    assert (found.verdict, found.failure, found.switches) == (Verdict.VIOLATED, failure, 1)
    assert found.anomaly is not None
    assert found.anomaly.name == "DDL race"
    assert report.verdict(found)[-1] == (
        f"{OF_THE_LAB}1 of the 2 that create, alter or drop something. Others were not overlapped."
    )
    fitted = store.fitting(scenario, found.token, found.major, "")
    runs = replay(fitted, found.token, times=3)
    assert {run.failure for run in runs} == {failure}
    assert all(run.trace == runs[0].trace for run in runs)


def test_a_lock_around_the_definitions_holds() -> None:
    lock = "select pg_advisory_lock(1)"
    found = explore(twice(lock, "create schema if not exists s", "create table if not exists s.t (id serial)"))
    assert (found.verdict, len(found.stopped), found.schedules["with a latch"]) == (Verdict.HELD, 4, 8)
    assert report.verdict(found)[-1] == (
        f"{OF_THE_LAB}4 of the 4 that create, alter or drop something. Others were not overlapped."
    )


def test_definitions_that_wait_for_each_other_hold_although_nothing_else_can_be_interleaved() -> None:
    start = "create table t (id int); alter table t owner to app"
    found = explore(twice("alter table t add column if not exists name text", start=start))
    assert (found.verdict, len(found.stopped)) == (Verdict.HELD, 2)


ROWS = "create table t (id int primary key, n int not null); insert into t values (1, 0), (2, 0)"
ADD = "update t set n = n + 1 where id = {}"


def executemany(url: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        await connection.executemany(ADD.format("$1"), [(2,), (1,)])
        await connection.close()

    asyncio.run(run())


def increment(url: str) -> None:
    """Wait for the first answer only: psycopg sends Flush for it."""
    with psycopg.connect(url, autocommit=True) as connection, connection.pipeline():
        ((number,),) = connection.execute("select n from t where id = 1").fetchall()
        connection.execute("update t set n = %s where id = 1", (number + 1,))


FORTH, BACK = (ADD.format(1), ADD.format(2)), (ADD.format(2), ADD.format(1))


@pytest.mark.parametrize(
    ("one", "other", "failure", "steps"),
    [
        (increment, executemany, "no serial order", 4),
        (pipeline(*FORTH), pipeline(*BACK, begin=True), "40P01", 6),
    ],
    ids=["asyncpg and Flush", "implicit and explicit"],
)
def test_a_race_between_two_statements_of_a_pipeline(
    one: Callable[[str], None], other: Callable[[str], None], failure: str, steps: int
) -> None:
    scenario = Scenario("pipelines", [Actor("a", call=one), Actor("b", call=other)], [ROWS])
    found = explore(scenario, bound=1)
    assert (found.verdict, found.failure, found.batch) == (Verdict.VIOLATED, failure, 1)
    assert found.failing is not None
    assert len(found.failing.trace.steps) == steps
    runs = replay(scenario, found.token, times=3)
    assert {run.failure for run in runs} == {failure}
    assert all(run.trace.shape == runs[0].trace.shape for run in runs)


def test_pipelines_that_take_a_lock_first_hold() -> None:
    """Also where one of them fails in its middle: what the server skips is no step."""
    lock, double = "select pg_advisory_xact_lock(1)", "insert into t values (1, 0)"
    actors = [Actor("a", call=pipeline(lock, *FORTH)), Actor("b", call=pipeline(lock, ADD.format(2), double, *FORTH))]
    scenario = Scenario("pipelines", actors, [ROWS], waits="advisory lock", allow=["23505 t_pkey"])
    found = explore(scenario)
    assert (found.verdict, found.complete) == (Verdict.HELD, 2)
    with Lab(scenario) as lab:
        steps = lab.run(in_order((1, 0))).trace.steps
    sent = [(step.sql, step.transaction, step.sqlstate) for step in steps]
    failed, passed = (lock, ADD.format(2), double), (lock, *FORTH)
    assert sent == [
        *zip(failed, "TTI", ("", "", "23505"), strict=True),
        *zip(passed, "TTI", ("", "", ""), strict=True),
    ]


def test_what_cannot_be_taken_apart_is_one_step_and_the_report_says_so() -> None:
    def several(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"{FORTH[0]}; {FORTH[1]}; select 1".encode())

    found = explore(Scenario("several", [Actor(name, call=several) for name in "ab"], [ROWS]), bound=0)
    assert found.batch == 3
    assert "  A request of up to 3 statements was one step: nothing came in between them." in report.verdict(found)


def test_a_token_finds_the_latch_in_a_file(tmp_path: Path) -> None:
    """On another machine there is the file and nothing else."""
    (tmp_path / "fresh.toml").write_text(
        "[actors.a]\nsql = ['create schema if not exists s']\n[actors.b]\nsql = ['create schema if not exists s']\n"
    )
    project = Project(tmp_path, races=tmp_path)
    found = explore(store.find(project, "fresh"), bound=1)
    again = store.find_by_token(project, found.token, "", found.major)
    assert [actor.name for actor in again.all_actors] == ["a", "b", "latch dependencies"]
    assert found.token.split("-")[2] == "C1.A"
    (run,) = replay(again, found.token)
    assert run.failure == found.failure == "23505 pg_namespace_nspname_index"
