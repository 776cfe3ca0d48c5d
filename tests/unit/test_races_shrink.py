"""Shrinking, tried on programs that are only counters and fail in a known part of their schedules."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import TYPE_CHECKING

import pytest

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
