"""Shrinking, tried on programs that are only counters and fail in a known part of their schedules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest

from dbtools.races import shrink as module
from dbtools.races.run import RunResult
from dbtools.races.schedule import Divergence, SchedulingPoint, preemptions
from dbtools.races.shrink import shrink
from dbtools.races.strategies import Replay
from dbtools.races.trace import Failure, Trace

if TYPE_CHECKING:
    from dbtools.races.schedule import Schedule

Fails = Callable[[list[tuple[int, int]]], bool]


def program(lengths: list[int], fails: Fails, tries: list[Schedule]) -> Callable[[Schedule], RunResult]:
    """Return a function that runs a schedule of programs of these lengths; `fails` gets the runs that came of it."""

    def run_schedule(runs: Schedule) -> RunResult:
        tries.append(runs)
        left, current, choose = list(lengths), None, Replay(runs)
        choices: list[tuple[SchedulingPoint, int]] = []
        diverged = ""
        while any(left):
            point = SchedulingPoint(len(choices), tuple(actor for actor, count in enumerate(left) if count), current)
            try:
                current = choose(point)
            except Divergence as error:
                diverged = str(error)
                break
            left[current] -= 1
            choices.append((point, current))
        came = [(actor, len(list(group))) for actor, group in groupby(actor for _, actor in choices)]
        failed = not diverged and fails(came)
        failures = [Failure("error", "23505 invoices_pkey")] if failed else []
        return RunResult(Trace(("A", "B"), failures=failures), tuple(choices), {}, diverged)

    return run_schedule


def test_a_long_run_before_the_switch_is_cut_to_its_shortest_in_few_tries() -> None:
    tries: list[Schedule] = []
    run_schedule = program([300, 300], lambda came: came[0][0] == 0 and 101 <= came[0][1] <= 250, tries)
    runs, result = shrink(run_schedule(((0, 237), (1, None))), run_schedule)
    assert runs == ((0, 101), (1, None))
    assert result.failure == "23505 invoices_pkey"
    assert len(tries) < 40


def test_switches_that_do_not_matter_are_left_out() -> None:
    tries: list[Schedule] = []
    run_schedule = program([20, 20], lambda came: (1, 3) in came, tries)
    runs, result = shrink(run_schedule(((0, 4), (1, 2), (0, 5), (1, 3), (0, 7), (1, 1), (0, None))), run_schedule)
    assert preemptions(result.choices) == 1
    assert runs == ((1, 3), (0, None))


@pytest.mark.parametrize("runs", [((0, 1), (1, None)), ((1, 1), (0, None))])
def test_what_is_simple_stays(runs: Schedule) -> None:
    run_schedule = program([5, 5], lambda came: came[0][1] == 1, [])
    assert shrink(run_schedule(runs), run_schedule)[0] == runs


@pytest.mark.parametrize(
    "end",
    [{"trace": Trace(("A", "B"), failures=[Failure("error", "40P01")])}, {"diverged": "run 1 of the schedule ..."}],
)
def test_a_schedule_that_diverges_or_fails_in_another_way_is_no_result(end: dict[str, Any]) -> None:
    def run_schedule(runs: Schedule) -> RunResult:
        result = program([5, 5], lambda came: True, [])(runs)
        same = [actor for _, actor in result.choices][:5] == [0, 0, 0, 0, 1]
        return result if same else replace(result, **end)

    assert shrink(run_schedule(((0, 4), (1, None))), run_schedule)[0] == ((0, 4), (1, None))


def test_shrinking_ends_after_a_number_of_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TRIES", 3)
    tries: list[Schedule] = []
    run_schedule = program([300, 300], lambda came: came[0][1] == 237, tries)
    assert shrink(run_schedule(((0, 237), (1, None))), run_schedule)[0] == ((0, 237), (1, None))
    assert len(tries) == 1 + 3
