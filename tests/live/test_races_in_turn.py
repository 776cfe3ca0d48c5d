"""What a run of programs one after the other must not mix, and what no run may leave to the next one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dbtools.races import Actor, Scenario, explore, replay, store
from dbtools.races.execution.lab import Lab
from dbtools.races.overlap import ROWS
from dbtools.races.result import Verdict
from dbtools.races.scenario import Script
from dbtools.races.strategies import Replay, in_order

START = "create table t (n int not null); insert into t values (0); create table seen (n int)"
KEEPS = ("begin isolation level repeatable read", "select set_config('app.tenant', '1', true)")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    actors = [Actor(name, call=Script(["select from t"])) for name in "ab"]
    with Lab(Scenario("in turn", actors, [START], settings={"wal_level": "replica"})) as found:
        yield found


def test_one_after_the_other_nobody_connects_or_begins_before_its_turn(lab: Lab, tmp_path: Path) -> None:
    """A BEGIN fixes now(), set_config takes the snapshot, and a program may look at its own clock in between."""

    def program(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            print([path.name for path in tmp_path.iterdir()])  # noqa: T201
            for statement in (*KEEPS, "update t set n = n + 1"):
                connection.execute(statement, prepare=False)
            (tmp_path / "changed").touch()
            connection.execute("commit")

    run = lab.run(in_order(range(2)), [Actor(name, call=program) for name in "ab"], serial=True)
    assert [(step.actor, step.sqlstate) for step in run.trace.steps] == [*[("a", "")] * 4, *[("b", "")] * 4]
    assert [end.output for end in run.trace.ends] == ["[]\n", "['changed']\n"]


def test_no_run_finds_roles_databases_or_slots_of_another_one(lab: Lab) -> None:
    script = [
        "create role clerk",
        "create database branch owner clerk",
        "select pg_create_physical_replication_slot('branch')",
    ]
    actor = Actor("a", call=Script(script), superuser=True)
    assert [lab.run(in_order([0]), [actor]).failures for _ in range(2)] == [frozenset(), frozenset()]


def test_a_session_that_the_server_ends_because_its_request_was_held_is_no_race(lab: Lab) -> None:
    idle = ["set idle_in_transaction_session_timeout = '50ms'", "begin", "update t set n = n + 1", "commit"]
    actors = [Actor("a", call=Script(idle)), Actor("b", call=Script(["select pg_sleep(0.3)", "select from t"]))]
    run = lab.run(Replay(((0, 1), (1, None))), actors)
    assert run.trace.starved == "a gave up waiting although another one could have gone on."
    assert run.trace.ends[0].code == 1


def test_a_reader_that_keeps_its_snapshot_takes_it_between_two_transactions_of_another_one() -> None:
    """Its first request is no more than set_config; yet it decides what the transaction sees."""
    read = Script([*KEEPS, "insert into seen select sum(n) from t", "commit"])
    move = Script(["update t set n = n - 10", "update t set n = n + 10"])
    found = explore(Scenario("report", [Actor("move", call=move), Actor("read", call=read)], [START]), bound=1)
    assert (found.verdict, found.failure, found.switches) == (Verdict.VIOLATED, "no serial order", 1)
    assert found.anomaly is not None
    assert found.anomaly.name == "read-write conflict"


def test_a_procedure_that_commits_between_reading_and_writing() -> None:
    """No order of whole calls fails. The latch is the lab's own, and the token leads to it."""
    start = f"""{START}; create procedure work() language plpgsql as $$ declare seen int; begin
        select n into seen from t; commit; update t set n = seen + 1; end $$"""
    scenario = Scenario("procedure", [Actor(name, call=Script(["call work()"])) for name in "ab"], [start])
    found = explore(scenario, bound=1)
    assert (found.verdict, found.failure, found.switches) == (Verdict.VIOLATED, "no serial order", 1)
    fitted = store.fitting(scenario, found.token, found.major, "")
    assert fitted.latches == [ROWS]
    runs = replay(fitted, found.token, times=2)
    assert {run.failure for run in runs} == {"no serial order"}
    assert all(run.trace == runs[0].trace for run in runs)
