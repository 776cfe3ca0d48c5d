"""A schedule: which actor is chosen at each scheduling point.

It is a list of runs: an actor, and how many choices in a row fall on it, or None for all until it is blocked or has
ended. After the last run, the current actor goes on as long as it can, and then the first one that can. So a schedule
lists only its preemptions and other unusual choices. A *preemption* is a switch away from an actor that could have gone
on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from dbtools.races import token


@dataclass(frozen=True)
class SchedulingPoint:
    """Where a choice is made."""

    number: int
    """How many choices were made before."""
    enabled: tuple[int, ...]
    """The numbers of the actors that have a held request."""
    current: int | None
    """The actor of the last choice."""


Schedule: TypeAlias = tuple[tuple[int, int | None], ...]
Choices: TypeAlias = Sequence[tuple[SchedulingPoint, int]]
"""The scheduling points of a run, each with the actor that was chosen."""
Strategy: TypeAlias = Callable[[SchedulingPoint], int]
"""Returns one of the enabled actors."""


class Divergence(Exception):
    """The programs did not do what the schedule needs them to do."""


def continue_current(point: SchedulingPoint) -> int:
    """Return the current actor if it can go on, else the first that can."""
    return point.current if point.current is not None and point.current in point.enabled else point.enabled[0]


def is_preemption(point: SchedulingPoint, number: int) -> bool:
    """Return whether choosing the actor `number` preempts the current one."""
    return point.current in point.enabled and number != point.current


def preemptions(choices: Choices) -> int:
    """Return how many of the choices are preemptions."""
    return sum(is_preemption(point, number) for point, number in choices)


def schedule_of(choices: Choices) -> Schedule:
    """Return the shortest schedule that leads to the same choices."""
    runs: list[tuple[int, int | None]] = []
    firsts: list[tuple[SchedulingPoint, int]] = []
    done = 0
    for actor, group in groupby(choices, key=lambda choice: choice[1]):
        taken = list(group)
        done += len(taken)
        ended = done == len(choices) or actor not in choices[done][0].enabled
        runs.append((actor, None if ended else len(taken)))
        firsts.append(taken[0])
    while len(runs) > 1 and firsts[-1][1] == continue_current(firsts[-1][0]):
        runs.pop()
        firsts.pop()
    return tuple(runs)


def written(schedule: Schedule) -> str:
    """Return the schedule as tokens spell it: "A2.B.A"."""
    return token.spell([(token.letter(actor), count) for actor, count in schedule])
