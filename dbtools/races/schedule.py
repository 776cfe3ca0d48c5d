"""A schedule: which actor is chosen at each scheduling point.

It is a list of runs: an actor, and how many choices in a row fall on it, or None for all until it is blocked, has
yielded or has ended. After the last run, the current actor goes on as long as it can, and then the first one that can.
So a schedule lists only its preemptions and other unusual choices. A *preemption* is a switch away from an actor that
could have gone on. One that has yielded, because it polls, is left at no cost; to let it go on before the others costs
as much as a preemption.
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
    yielded: tuple[int, ...] = ()
    """Those of the enabled actors that only ask once more what they have asked before; never all of them."""
    requests: tuple[str, ...] = ()
    """The held requests of the enabled actors, in the same order."""


Schedule: TypeAlias = tuple[tuple[int, int | None], ...]
Choices: TypeAlias = Sequence[tuple[SchedulingPoint, int]]
"""The scheduling points of a run, each with the actor that was chosen."""
Strategy: TypeAlias = Callable[[SchedulingPoint], int]
"""Returns one of the enabled actors."""


class Divergence(Exception):
    """The programs did not do what the schedule needs them to do."""


def continue_current(point: SchedulingPoint) -> int:
    """Return the current actor if it can go on and has not yielded, else the first of those."""
    ready = [number for number in point.enabled if number not in point.yielded]
    return point.current if point.current is not None and point.current in ready else ready[0]


def is_preemption(point: SchedulingPoint, number: int) -> bool:
    """Return whether choosing the actor `number` takes the turn from one that could go on and has not yielded."""
    if number in point.yielded:
        return True
    return number != point.current and point.current in point.enabled and point.current not in point.yielded


def preemptions(choices: Choices) -> int:
    """Return how many of the choices are preemptions."""
    return sum(is_preemption(point, number) for point, number in choices)


def _goes_on(point: SchedulingPoint, actor: int) -> bool:
    return actor in point.enabled and actor not in point.yielded


def schedule_of(choices: Choices) -> Schedule:
    """Return the shortest schedule that leads to the same choices."""
    runs: list[tuple[int, int | None]] = []
    firsts: list[tuple[SchedulingPoint, int]] = []
    done = 0
    for actor, group in groupby(choices, key=lambda choice: choice[1]):
        taken = list(group)
        done += len(taken)
        ended = done == len(choices) or not _goes_on(choices[done][0], actor)
        whole = ended and all(_goes_on(point, actor) for point, _ in taken[1:])
        runs.append((actor, None if whole else len(taken)))
        firsts.append(taken[0])
    while len(runs) > 1 and firsts[-1][1] == continue_current(firsts[-1][0]):
        runs.pop()
        firsts.pop()
    return tuple(runs)


def written(schedule: Schedule) -> str:
    """Return the schedule as tokens spell it: "A2.B.A"."""
    return token.spell([(token.letter(actor), count) for actor, count in schedule])
