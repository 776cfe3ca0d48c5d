"""Strategies: which actor is chosen next. They need neither a clock nor a server, only what has happened so far.

Sources: bounded preemption, Musuvathi and Qadeer, "Iterative Context Bounding", PLDI 2007; PCT, Burckhardt et al., "A
Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010; POS, Yuan, Yang and Gu, "Partial
Order Aware Concurrency Sampling", CAV 2018.
"""

from __future__ import annotations

import random
import re
from itertools import groupby, islice
from typing import TYPE_CHECKING, TypeVar

from dbtools.races.returns import Beginnings
from dbtools.races.schedule import Divergence, continue_current, is_preemption, preemptions
from dbtools.races.shards import Deal
from dbtools.races.token import letter

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from dbtools.races.pruning import Wait
    from dbtools.races.reach import Reach
    from dbtools.races.schedule import Choices, Schedule, SchedulingPoint, Strategy

Item = TypeVar("Item")


def in_order(order: Sequence[int]) -> Strategy:
    """Let each actor go as far as it can before the next one in this order."""
    return lambda point: min(_ready(point), key=order.index)


def _ready(point: SchedulingPoint) -> list[int]:
    return [number for number in point.enabled if number not in point.yielded]


class Replay:
    """Follows a schedule, and raises `Divergence` where that is not possible."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._position = 0
        self._used = 0

    def __call__(self, point: SchedulingPoint) -> int:
        """Return the actor that the schedule names.

        Raises:
            Divergence: It cannot go on here.
        """
        while self._position < len(self._schedule):
            actor, count = self._schedule[self._position]
            goes_on = count is not None or not self._used or actor not in point.yielded
            if self._used != count and actor in point.enabled and goes_on:
                self._used += 1
                return actor
            if self._used == 0 or (count is not None and self._used < count):
                steps = f"{count or 'its next'} step{'' if count in (None, 1) else 's'}"
                raise Divergence(
                    f"run {self._position + 1} of the schedule has actor {letter(actor)} take {steps};"
                    f" after {self._used} it could not go on"
                )
            self._position, self._used = self._position + 1, 0
        return continue_current(point)


class BoundedPreemptions:
    """Every schedule with 0 preemptions, then those with 1, then 2, up to `bound`: each of them once.

    Neighbours differ by one step and mostly end alike. Schedules with equal cost are therefore visited in van der
    Corput order, so that successive ones differ widely: a race present in a tenth of them appears after about ten.

    With a `deal`, only those of a shard: see `shards`.
    """

    def __init__(self, bound: int, deal: Deal | None = None) -> None:
        self.bound = bound
        self._deal = deal or Deal()
        self._frontier: list[list[Schedule]] = [[] for _ in range(bound + 1)]
        self._frontier[0].append(())
        self._taken = 0
        self._waits: list[Wait] = []
        self._seen = Beginnings()
        self.left_out = 0
        """How many schedules were not returned, because others show how they end."""
        self.depth = 0
        """How many preemptions the schedules have that are being tried; more than `bound` at the end."""

    @property
    def ahead(self) -> int:
        """How many schedules of this depth are known and have not been returned."""
        return len(self._frontier[self.depth]) - self._taken

    def raise_bound(self) -> None:
        """Have one preemption more in the bound. Not after a schedule with as many as the bound has been learned."""
        self.bound += 1
        self._frontier.append([])

    def next(self) -> Schedule | None:
        """Return a schedule that was not tried yet, or None at the end."""
        while self.depth <= self.bound:
            if self._taken < len(self._frontier[self.depth]):
                self._taken += 1
                schedule = self._frontier[self.depth][self._taken - 1]
                if not self._is_covered(schedule):
                    return schedule
                self.left_out += 1
                continue
            self._frontier[self.depth].clear()
            self._taken = 0
            self.depth += 1
            if self.depth <= self.bound:
                self._frontier[self.depth] = spread(self._frontier[self.depth])
        return None

    def following(self) -> Iterator[Schedule]:
        """Yield those that `next` would return now, one after the other, without taking them; not beyond this cost."""
        if self.depth <= self.bound:
            later = islice(self._frontier[self.depth], self._taken, None)
            yield from (schedule for schedule in later if not self._is_covered(schedule))

    def _is_covered(self, schedule: Schedule) -> bool:
        actors = [actor for actor, count in schedule for _ in range(count or 0)]
        return bool(actors) and any(wait.covers(actors) for wait in self._waits)

    def learn(
        self,
        schedule: Schedule,
        choices: Choices,
        waits: Sequence[Wait] = (),
        reaches: Sequence[Reach | None] = (),
    ) -> None:
        """Note what else could have been chosen after the beginning `schedule`, and which of it need not be tried.

        `reaches` are what the choices reach: see `returns`. A schedule covered by a wait, and all its extensions, have
        at least as many preemptions as the run where the wait was seen; so each omitted schedule has an equivalent
        within the bound.
        """
        self._waits += waits
        self._seen.add(choices, reaches)
        begun = sum(count or 0 for _, count in schedule)
        cost = preemptions(choices[:begun])
        for position in range(begun, len(choices)):
            point, taken = choices[position]
            before = [actor for _, actor in choices[:position]]
            for other in point.enabled:
                more = cost + is_preemption(point, other)
                if other == taken or more > self.bound:
                    continue
                begins = _exactly([*before, other])
                if is_preemption(point, other) and self._seen.returns_in_vain(choices[:position], other):
                    self.left_out += 1
                elif cost or not more or self._deal.takes(begins):
                    self._frontier[more].append(begins)
            cost += is_preemption(point, taken)


def spread(items: list[Item]) -> list[Item]:
    """Return the items in van der Corput order: the first ones are far from each other."""
    bits = len(items).bit_length()
    order = sorted(range(len(items)), key=lambda position: int(f"{position:0{bits}b}"[::-1], 2))
    return [items[position] for position in order]


def _exactly(actors: Sequence[int]) -> Schedule:
    return tuple((actor, len(list(group))) for actor, group in groupby(actors))


def random_walk(seed: int) -> Strategy:
    """Choose among the enabled actors at random, each with the same probability."""
    stream = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    return lambda point: stream.choice(_ready(point))


def pct(seed: int, depth: int, actors: int, steps: int) -> Strategy:
    """Let the actor of the highest priority go; at `depth` - 1 random choices the current one loses its priority.

    Finds a race of that depth with a probability of at least 1 / (actors * steps ** (depth - 1)), where a run has no
    more than `steps` choices.
    """
    stream = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    priorities = [depth + number for number in stream.sample(range(actors), actors)]
    drops = {stream.randrange(max(1, steps)): depth - 1 - number for number in range(depth - 1)}

    def choose(point: SchedulingPoint) -> int:
        best = max(_ready(point), key=priorities.__getitem__)
        if point.number in drops:
            priorities[best] = drops[point.number]
            best = max(_ready(point), key=priorities.__getitem__)
        return best

    return choose


def pos(seed: int, tables: Collection[str]) -> Strategy:
    """Let the request of the highest priority go, where each has a random one; those that race with it get new ones.

    So requests that race with nothing do not lower the chance of one that waits among them: where the others draw n
    times meanwhile, it comes last with a probability of 1 / (n + 1), and by random walk with 1 / 2 ** n.

    Two requests race if they name one of the `tables` in common, unless both only read; one that names none, such as
    COMMIT, races with all. That is a guess by their texts: it decides how soon a race is found, not whether it is one.
    """
    stream = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    names = {name.rpartition(".")[2].lower() for name in tables}
    priorities: dict[int, float] = {}

    def choose(point: SchedulingPoint) -> int:
        for actor in point.enabled:
            priorities.setdefault(actor, stream.random())
        best = max(_ready(point), key=priorities.__getitem__)
        requests = dict(zip(point.enabled, point.requests, strict=True))
        for actor, request in requests.items():
            if actor == best or _race(request, requests[best], names):
                del priorities[actor]
        return best

    return choose


def _race(one: str, other: str, tables: Collection[str]) -> bool:
    named, others = ({word for word in re.findall(r"\w+", sql.lower()) if word in tables} for sql in (one, other))
    if not named or not others:
        return True
    return not named.isdisjoint(others) and not (_only_reads(one) and _only_reads(other))


def _only_reads(sql: str) -> bool:
    return re.match(r"\s*select\b(?!.*\bfor\s+(no|update|key|share))", sql, re.IGNORECASE | re.DOTALL) is not None
