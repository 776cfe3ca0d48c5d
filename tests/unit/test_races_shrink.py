"""Shrinking, tried on programs that are only counters and fail in a known part of their schedules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest

from dbtools.races import shrink as module
from dbtools.races.content import Content
from dbtools.races.run import RunResult
from dbtools.races.schedule import Divergence, SchedulingPoint, preemptions
from dbtools.races.shrink import MAX_TRIES, shrink
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
        return RunResult(Trace(("A", "B"), failures=failures), tuple(choices), Content(), diverged)

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


def played(*choices: tuple[tuple[int, ...], int], failures: tuple[Failure, ...] = (), diverged: str = "") -> RunResult:
    """A run of these choices, each among the actors that could go on."""
    points, current = [], None
    for number, (enabled, actor) in enumerate(choices):
        points.append((SchedulingPoint(number, enabled, current), actor))
        current = actor
    return RunResult(Trace(("A", "B"), failures=list(failures)), tuple(points), Content(), diverged)


RACE, OTHER = Failure("error", "23505 invoices_pkey"), Failure("hang", "hang")
BOTH = (0, 1)
FOUND = played((BOTH, 0), (BOTH, 1), (BOTH, 0), (BOTH, 1), ((0,), 0), failures=(RACE,))
SIMPLE = ((BOTH, 1), (BOTH, 1), ((0,), 0))


@pytest.mark.parametrize(
    "other",
    [
        played(*SIMPLE, failures=(OTHER,)),
        played(*SIMPLE, failures=(RACE, OTHER)),
        played(*SIMPLE),
        played(*SIMPLE, failures=(RACE,), diverged="B has ended"),
        played(*[(point.enabled, actor) for point, actor in FOUND.choices], failures=(RACE,)),
    ],
    ids=["another failure", "one more failure", "no failure", "diverged", "no simpler"],
)
def test_what_is_not_the_same_failure_more_simply_is_not_kept(other: RunResult) -> None:
    tries: list[Schedule] = []

    def run(schedule: Schedule) -> RunResult:
        tries.append(schedule)
        return other

    schedule, kept = shrink(FOUND, run)
    assert kept is FOUND
    assert schedule == ((0, 1), (1, 1), (0, 1), (1, None))
    assert len(tries) == len(set(tries)) > 3
    assert schedule not in tries


def test_the_same_failure_more_simply_is_kept() -> None:
    simple = played(*SIMPLE, failures=(RACE,))
    schedule, kept = shrink(FOUND, lambda _: simple)
    assert kept is simple
    assert schedule == ((1, None),)


def test_what_is_kept_is_what_is_made_simpler_and_nothing_is_tried_again() -> None:
    tries: list[Schedule] = []
    simpler = played(*[(BOTH, 0)] * 2, (BOTH, 1), ((1,), 1), failures=(RACE,))
    between = played(*[(BOTH, 0)] * 3, (BOTH, 1), ((1,), 1), failures=(RACE,))

    def run(schedule: Schedule) -> RunResult:
        tries.append(schedule)
        return {4: simpler, 6: between}.get(len(tries), played())

    schedule, kept = shrink(played(*[(BOTH, 0)] * 4, (BOTH, 1), ((1,), 1), failures=(RACE,)), run)
    assert kept is simpler
    assert schedule == ((0, 2), (1, None))
    first = [((1, None),), ((0, 4),), ((0, None), (1, None)), ((0, 2), (1, None))]
    assert tries == [*first, ((0, 2),), ((0, 1), (1, None))]


def test_a_single_run_cannot_be_left_out() -> None:
    tries: list[Schedule] = []

    def run(schedule: Schedule) -> RunResult:
        tries.append(schedule)
        return played()

    shrink(played((BOTH, 1), (BOTH, 1), ((0,), 0), failures=(RACE,)), run)
    assert tries == []


def test_nothing_is_tried_twice() -> None:
    tries: list[Schedule] = []
    play = program([20, 20], lambda came: (1, 3) in came, tries)
    found = play(((0, 4), (1, 2), (0, 5), (1, 3), (0, 7), (1, 1), (0, None)))
    shrink(found, play)
    assert len(tries) == len(set(tries)) > 10


def test_tries_are_counted_and_end() -> None:
    assert MAX_TRIES == 100
    tries: list[Schedule] = []
    play = program([400, 400], lambda came: len(came) >= 80, tries)
    failing = play(tuple((number % 2, 5) for number in range(160)))
    assert failing.failures
    tries.clear()
    _, best = shrink(failing, play)
    assert len(tries) == MAX_TRIES
    assert best.failures == failing.failures


def test_the_last_try_counts() -> None:
    """The candidate that fails in the same way is the hundredth."""
    tries: list[Schedule] = []
    simple = played(*SIMPLE, failures=(RACE,))
    long = played(*[(BOTH, number % 2) for number in range(120)], failures=(RACE,))

    def run(schedule: Schedule) -> RunResult:
        tries.append(schedule)
        return simple if len(tries) == MAX_TRIES else played(*SIMPLE)

    assert shrink(long, run)[1] is simple
    assert len(tries) == MAX_TRIES


def test_what_is_tried() -> None:
    """Each run left out; then each run that has a number without it, and with less, by halves."""
    tries: list[Schedule] = []

    def run(schedule: Schedule) -> RunResult:
        tries.append(schedule)
        return played()

    shrink(played(*[(BOTH, 0)] * 5, (BOTH, 1), ((1,), 1), failures=(RACE,)), run)
    assert tries == [
        ((1, None),),
        ((0, 5),),
        ((0, None), (1, None)),
        ((0, 3), (1, None)),
        ((0, 4), (1, None)),
    ]


THREE = (0, 1, 2)


@pytest.mark.parametrize(
    ("more", "fewer"),
    [
        (
            played((BOTH, 0), (BOTH, 1), ((0,), 0), failures=(RACE,)),
            played((BOTH, 0), (BOTH, 0), (BOTH, 0), ((1,), 1), failures=(RACE,)),
        ),
        (
            played((BOTH, 0), (BOTH, 1), ((0,), 0), failures=(RACE,)),
            played(((0, 1, 2, 3), 3), (THREE, 2), (BOTH, 1), ((0,), 0), failures=(RACE,)),
        ),
        (
            played((THREE, 0), (THREE, 1), ((0, 2), 2), ((0,), 0), failures=(RACE,)),
            played((THREE, 0), (THREE, 1), ((0, 2), 0), ((0, 2), 0), ((2,), 2), failures=(RACE,)),
        ),
        (
            played((BOTH, 0), (BOTH, 1), (BOTH, 1), ((0,), 0), failures=(RACE,)),
            played((BOTH, 0), (BOTH, 0), (BOTH, 1), failures=(RACE,)),
        ),
        (
            played((BOTH, 0), (BOTH, 0), (BOTH, 1), ((0,), 0), failures=(RACE,)),
            played((BOTH, 0), (BOTH, 1), (BOTH, 1), ((0,), 0), failures=(RACE,)),
        ),
    ],
    ids=["switches", "switches before runs", "runs", "choices", "steps before a switch"],
)
def test_what_is_simpler(more: RunResult, fewer: RunResult) -> None:
    assert shrink(more, lambda _: fewer)[1] is fewer
    assert shrink(fewer, lambda _: more)[1] is fewer
