"""Who goes next: pure functions of what was seen, without a clock and without a server.

A *schedule* is written as runs: an actor, and how many choices in a row fall on it, or None for as many as it can take
until it is blocked or ends. After the last run, and wherever nothing else is said, the actor that went last goes on. So
only what is unusual is written. A *preemption* is a switch away from an actor that could have gone on.

Sources: bounded preemption, Musuvathi and Qadeer, "Iterative Context Bounding", PLDI 2007; PCT, Burckhardt et al., "A
Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010.
"""

from __future__ import annotations

import random
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbtools.races.execution.scheduler import Point
    from dbtools.races.pruning import Wait

    Runs = tuple[tuple[int, int | None], ...]
    Choices = Sequence[tuple[Point, int]]
    Choose = Callable[[Point], int]


class Divergence(Exception):
    """The programs did not do what the schedule says of them."""


def stay(point: Point) -> int:
    """Go on with who went last; else the first that can."""
    return point.current if point.current is not None and point.current in point.enabled else point.enabled[0]


def is_preemption(point: Point, number: int) -> bool:
    """Return whether the choice takes the turn from an actor that could have gone on."""
    return point.current in point.enabled and number != point.current


def in_order(order: Sequence[int]) -> Choose:
    """Let each go as far as it can before those after it."""
    return lambda point: min(point.enabled, key=order.index)


class Replay:
    """Follows a schedule, and stops with a `Divergence` where that is not possible."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._at = 0
        self._used = 0

    def __call__(self, point: Point) -> int:
        """Return the actor that the schedule names."""
        while self._at < len(self._runs):
            actor, count = self._runs[self._at]
            if self._used != count and actor in point.enabled:
                self._used += 1
                return actor
            if self._used == 0 or (count is not None and self._used < count):
                steps = f"{count or 'its next'} step{'' if count in (None, 1) else 's'}"
                raise Divergence(
                    f"run {self._at + 1} of the schedule has actor {chr(65 + actor)} take {steps};"
                    f" after {self._used} it could not go on"
                )
            self._at, self._used = self._at + 1, 0
        return stay(point)


def runs_of(choices: Choices) -> Runs:
    """Return the shortest schedule that leads to these choices again."""
    runs: list[tuple[int, int | None]] = []
    firsts: list[tuple[Point, int]] = []
    at = 0
    for actor, group in groupby(choices, key=lambda one: one[1]):
        taken = list(group)
        at += len(taken)
        ended = at == len(choices) or actor not in choices[at][0].enabled
        runs.append((actor, None if ended else len(taken)))
        firsts.append(taken[0])
    while len(runs) > 1 and firsts[-1][1] == stay(firsts[-1][0]):
        runs.pop()
        firsts.pop()
    return tuple(runs)


def preemptions(choices: Choices) -> int:
    """Return how many of the choices are preemptions."""
    return sum(is_preemption(*one) for one in choices)


class Bounded:
    """Every schedule with 0 preemptions, then those with 1, then 2, up to `bound`: each of them once.

    Neighbours, which differ by one step, mostly end alike. So those of one number are taken far apart from each other,
    in the order of van der Corput's sequence: where a race takes a tenth of them, it is met after some ten.
    """

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self._frontier: list[list[Runs]] = [[] for _ in range(bound + 1)]
        self._frontier[0].append(())
        self._taken = 0
        self._waits: list[Wait] = []
        self.left_out = 0
        """How many schedules were not returned, because a wait covers them."""
        self.depth = 0
        """The preemptions of the schedules that are being tried; above `bound` when none is left."""

    def next(self) -> Runs | None:
        """Return a schedule that was not tried yet, or None if there is none."""
        while self.depth <= self.bound:
            if self._taken < len(self._frontier[self.depth]):
                self._taken += 1
                runs = self._frontier[self.depth][self._taken - 1]
                actors = [actor for actor, count in runs for _ in range(count or 0)]
                if not actors or not any(one.covers(actors) for one in self._waits):
                    return runs
                self.left_out += 1
                continue
            self._frontier[self.depth].clear()
            self._taken = 0
            self.depth += 1
            if self.depth <= self.bound:
                self._frontier[self.depth] = _spread(self._frontier[self.depth])
        return None

    def learn(self, runs: Runs, choices: Choices, waits: Sequence[Wait] = ()) -> None:
        """Note what else could have been chosen after the given beginning `runs`, and which of it need not be tried.

        What a wait covers has no fewer preemptions than the run that it was seen in, nor have those that follow from
        it: all that is left out has its like within the bound.
        """
        self._waits += waits
        begun = sum(count or 0 for _, count in runs)
        cost = preemptions(choices[:begun])
        for at in range(begun, len(choices)):
            point, taken = choices[at]
            for other in point.enabled:
                more = cost + is_preemption(point, other)
                if other != taken and more <= self.bound:
                    self._frontier[more].append(_exactly([*(one for _, one in choices[:at]), other]))
            cost += is_preemption(point, taken)


def _spread(schedules: list[Runs]) -> list[Runs]:
    bits = len(schedules).bit_length()
    return [schedules[at] for at in sorted(range(len(schedules)), key=lambda at: int(f"{at:0{bits}b}"[::-1], 2))]


def _exactly(actors: Sequence[int]) -> Runs:
    return tuple((actor, len(list(group))) for actor, group in groupby(actors))


def random_walk(seed: int) -> Choose:
    """Choose each time among all that can go, evenly."""
    stream = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    return lambda point: stream.choice(point.enabled)


def pct(seed: int, depth: int, actors: int, steps: int) -> Choose:
    """Let the actor of the highest priority go; at `depth` - 1 random choices the one that is on loses its priority.

    Finds a race of that depth with a probability of at least 1 / (actors * steps ** (depth - 1)), where a run has no
    more than `steps` choices.
    """
    stream = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    priorities = [depth + number for number in stream.sample(range(actors), actors)]
    drops = {stream.randrange(max(1, steps)): depth - 1 - number for number in range(depth - 1)}

    def choose(point: Point) -> int:
        best = max(point.enabled, key=priorities.__getitem__)
        if point.number in drops:
            priorities[best] = drops[point.number]
            best = max(point.enabled, key=priorities.__getitem__)
        return best

    return choose
