"""Which statements the lab overlaps by latches of its own, and what a report says of how far it went."""

from __future__ import annotations

import pytest

from dbtools.races import report
from dbtools.races.content import Content
from dbtools.races.overlap import ROWS, Overlaps, composes, defines, latched
from dbtools.races.result import ExplorationResult, Verdict
from dbtools.races.run import RunResult
from dbtools.races.scenario import Actor, Latch, Scenario
from dbtools.races.trace import Step, Trace


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CREATE SCHEMA IF NOT EXISTS s", True),
        ("begin; /* first */ alter table t add x int; commit", True),
        ("do $$ begin if not exists (select) then create type mood as enum ('a'); end if; end $$", True),
        ("grant select on t to public", True),
        ("create temp table t (id int)", False),
        ("insert into log values ('drop table t')", False),
        ("select created_at from t -- drop it", False),
        ("insert into t values (1) on conflict do nothing", False),
    ],
)
def test_what_defines_something(sql: str, expected: bool) -> None:
    assert defines(sql) is expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("insert into t select 1 where not exists (select from t)", True),
        ("MERGE into t using u on true when matched then delete", True),
        ("update t set n = (select max(n) from t)", True),
        ("with old as (delete from t returning n) insert into u select n from old", True),
        ("call work()", True),
        ("/* now */ do $$ begin perform 1; end $$", True),
        ("select public.take(1)", True),
        ("create or replace function take(int) returns int language sql return 1", False),
        ("select take from t", False),
        ("select lower(name) from t", False),
        ("select n from t where id = 1 for no key update", False),
        ("update t set n = n + 1", False),
        ("insert into log values ('select')", False),
        ("insert into t values (1) on conflict do nothing", False),
    ],
)
def test_what_reads_and_changes_rows_in_one(sql: str, expected: bool) -> None:
    assert composes(sql, frozenset({"take"})) is expected


def run(actor: str, *statements: str) -> RunResult:
    steps = [Step(number, actor, actor, sql) for number, sql in enumerate(statements, 1)]
    return RunResult(Trace(("a", "b"), steps), (), Content({}))


def test_every_definition_is_stopped_once_under_each_latch_within_the_bound() -> None:
    overlaps = Overlaps(Scenario("s", [Actor("a"), Actor("b")]))
    overlaps.learn(run("a", "create table t ()", "select 1", "create table u ()"))
    assert (overlaps.definitions, [*overlaps.schedules(2)]) == (0, [])  # one program alone
    overlaps.learn(run("b", "select 1", "drop table t"))
    assert overlaps.definitions == 3
    found = {(scenario.latches[0].name, schedule) for scenario, schedule in overlaps.schedules(2)}
    wanted = [((2, 1), (0, 1)), ((0, 2), (2, 1), (0, 1)), ((1, 1), (2, 1), (1, 1))]
    assert found == {(name, schedule) for name in ("keys", "dependencies") for schedule in wanted}
    assert {schedule for _, schedule in overlaps.schedules(1)} == {wanted[0]}
    assert [*overlaps.schedules(0)] == []


def test_what_reads_and_changes_rows_is_stopped_also_where_one_program_alone_does() -> None:
    scenario = Scenario("s", [Actor("a"), Actor("b")])
    overlaps = Overlaps(scenario, frozenset({"take"}))
    overlaps.learn(run("a", "select 1", "select take()"))
    assert (overlaps.composed, [*overlaps.schedules(2)]) == (0, [])  # of the other one nothing was seen
    overlaps.learn(run("b", "select 1"))
    assert (overlaps.composed, overlaps.definitions) == (1, 0)
    ((latched, schedule),) = overlaps.schedules(2)
    assert (latched.latches, schedule) == ([ROWS], ((0, 1), (2, 1), (0, 1)))
    own = Overlaps(Scenario("s", scenario.actors, latches=[Latch("mine", table="t")]))
    for actor in "ab":
        own.learn(run(actor, "call work()"))
    assert [*own.schedules(2)] == []


def test_a_scenario_has_its_own_latches_or_the_labs() -> None:
    plain = Scenario("s", [Actor("a"), Actor("b")], definition="{}")
    fingerprints = {scenario.fingerprint(16) for scenario in (plain, *latched(plain))}
    assert len(fingerprints) == 4
    assert latched(Scenario("s", [Actor("a")], latches=[Latch("mine", table="t")])) == []


def test_held_says_up_to_how_many_switches_all_schedules_were_tried() -> None:
    found = ExplorationResult(Scenario("s", [Actor("a")]), 16, Verdict.HELD, complete=2)
    found.schedules.update(
        {"one after the other": 4, "0 switches": 2, "1 switch": 6, "2 switches": 10, "3 switches": 7}
    )
    first, second, *_ = report.verdict(found)
    assert first == "✓ s: held. All schedules with up to 2 switches: 18, and 7 of those with 3; none fails."
    assert second == "  Besides: 4 one after the other; none fails."
