"""Leaving out schedules changes no verdict: the same scenarios with and without."""

from __future__ import annotations

import psycopg
import pytest

from dbtools.races import Actor, Scenario, explore
from dbtools.races.result import ExplorationResult, Verdict
from dbtools.races.scenario import Script

START = ["create table counter (n int); insert into counter values (0)"]
WORK = ["update counter set n = n + 1", "update counter set n = n * 2", "select n from counter"]
TAKE, GIVE = "select pg_advisory_lock(7)", "select pg_advisory_unlock(7)"


def both(*programs: list[str], bound: int = 2, **more: object) -> tuple[ExplorationResult, ExplorationResult]:
    """Explore with some schedules left out, and with none."""
    actors = [Actor(f"actor{number}", call=Script(program)) for number, program in enumerate(programs, 1)]
    scenario = Scenario("prune", actors, START, **more)  # type: ignore[arg-type]
    pruned, whole = explore(scenario, bound=bound), explore(scenario, bound=bound, every=True)
    assert whole.left_out == 0
    assert (pruned.verdict, pruned.failure, pruned.reason) == (whole.verdict, whole.failure, whole.reason)
    return pruned, whole


def within(found: ExplorationResult) -> int:
    """How many schedules of the bound were run."""
    return sum(count for kind, count in found.schedules.items() if "switch" in kind)


def test_a_long_program_under_a_lock_needs_few_schedules() -> None:
    program = [TAKE, *WORK * 5, GIVE]
    pruned, whole = both(program, program, bound=1)
    assert pruned.verdict is Verdict.HELD
    assert within(whole) == 2 * len(program)  # the first step of the other one comes at each of them
    assert within(pruned) < 12
    assert within(pruned) + pruned.left_out == within(whole)
    assert pruned.waits.keys() == whole.waits.keys() == {"advisory lock 7"}


def test_in_a_transaction_too_where_each_statement_has_a_snapshot_of_its_own() -> None:
    program = ["begin", "select pg_advisory_xact_lock(7)", *WORK * 3, "commit"]
    pruned, whole = both(program, program)
    assert pruned.verdict is Verdict.HELD
    assert pruned.left_out
    assert within(pruned) < within(whole)


LEVEL = "default_transaction_isolation = 'repeatable read'"


@pytest.mark.parametrize(
    ("begin", "setting", "options", "pruned"),
    [
        ("begin", "", "", True),
        ("begin isolation level read committed", "", "", True),
        ("begin isolation level repeatable read", "", "", False),
        ("begin", f"alter role current_user set {LEVEL}", "", False),
        ("begin", "", "-c default_transaction_isolation=serializable", False),
    ],
)
def test_not_where_the_wait_keeps_a_snapshot(begin: str, setting: str, options: str, pruned: bool) -> None:
    def program(url: str) -> None:
        with psycopg.connect(url, options=options, autocommit=True) as connection:
            connection.execute(begin)
            connection.execute("select pg_advisory_xact_lock(7)")
            connection.execute("insert into log values (1)")
            connection.execute("insert into log values (2)")
            connection.execute("commit")

    start = ["create table log (n int)", *filter(None, [setting])]
    found = explore(Scenario("prune", [Actor(name, call=program) for name in ("a", "b")], start))
    assert found.verdict is Verdict.HELD
    assert (found.left_out > 0) is pruned


def test_a_race_beside_the_lock_is_found_all_the_same() -> None:
    program = ["insert into seen select n from counter", TAKE, *WORK, GIVE]
    first = [TAKE, *WORK * 2, GIVE, "update counter set n = 0"]
    for programs in ((program, first), (first, program)):
        actors = [Actor(f"actor{number}", call=Script(steps)) for number, steps in enumerate(programs)]
        scenario = Scenario("prune", actors, [*START, "create table seen (n int)"])
        found = [explore(scenario, every=every) for every in (False, True)]
        assert [result.failure for result in found] == ["no serial order"] * 2
        assert found[0].schedule == found[1].schedule


def test_three_programs() -> None:
    program = [TAKE, WORK[0], GIVE]
    pruned, whole = both(program, program, program, bound=1)
    assert pruned.verdict is Verdict.HELD
    assert pruned.left_out > 0
    assert within(pruned) + pruned.left_out <= within(whole)


def test_a_program_that_looks_at_locks_may_see_the_wait_begin() -> None:
    looks = [TAKE, "select count(*) from pg_locks where locktype = 'advisory'", *WORK, GIVE]
    left_out = []
    for program in (looks, [TAKE, "select 2", *WORK, GIVE]):
        pruned, whole = both(program, program, bound=1)
        assert pruned.verdict is Verdict.HELD
        assert within(pruned) + pruned.left_out == within(whole)
        left_out.append(pruned.left_out)
    assert 0 < left_out[0] < left_out[1]
