"""Leaving out switches back that are in vain loses no outcome: tried on programs that read, write and lock cells."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtools.races.reach import Reach, commute
from dbtools.races.returns import Beginnings
from dbtools.races.schedule import Choices, SchedulingPoint, Strategy, preemptions
from dbtools.races.strategies import BoundedPreemptions, Replay

LOCK, UNLOCK, SECRET = "lock", "unlock", "secret"
Step = tuple[str, int]
"""What it does, and the cell: "read", "write" or "secret", a write of which nothing is known."""


@dataclass
class Machine:
    """Runs programs. A program that asks for the lock while another one has it is blocked until that gives it back."""

    programs: list[list[Step]]
    done: list[int] = field(default_factory=list)
    cells: dict[int, tuple[object, ...]] = field(default_factory=dict)
    seen: list[list[object]] = field(default_factory=list)
    holder: int | None = None
    queue: list[int] = field(default_factory=list)

    def run(self, choose: Strategy) -> tuple[Choices, list[Reach | None], object]:
        """Return the choices, what they reach, and all that they come to."""
        self.done, self.seen = [0] * len(self.programs), [[] for _ in self.programs]
        choices: list[tuple[SchedulingPoint, int]] = []
        found: list[Reach | None] = []
        current = None
        while enabled := [n for n, program in enumerate(self.programs) if self.done[n] < len(program)]:
            enabled = [number for number in enabled if number not in self.queue]
            if not enabled:
                break  # a program has ended with the lock
            point = SchedulingPoint(len(choices), tuple(enabled), current)
            current = choose(point)
            choices.append((point, current))
            found.append(self.take(current, *self.programs[current][self.done[current]]))
        return choices, found, (self.seen, sorted(self.cells.items()), self.queue)

    def take(self, actor: int, what: str, cell: int) -> Reach | None:
        self.done[actor] += 1
        if what == LOCK and self.holder not in (None, actor):
            self.queue.append(actor)
        elif what == LOCK:
            self.holder = actor
        elif what == UNLOCK and self.holder == actor:
            self.holder = self.queue.pop(0) if self.queue else None
        elif what == "read":
            self.seen[actor].append(self.cells.get(cell))
            return Reach(reads=frozenset({cell}))
        elif what in ("write", SECRET):
            self.cells[cell] = (*self.cells.get(cell, ()), actor, self.done[actor])
            return Reach(writes=frozenset({cell})) if what == "write" else None
        return None


def explore(programs: list[list[Step]], bound: int, *, every: bool) -> tuple[int, set[str]]:
    """Return how many schedules were run, and all that they came to."""
    search, outcomes, count = BoundedPreemptions(bound), set(), 0
    while (schedule := search.next()) is not None:
        choices, found, outcome = Machine(programs).run(Replay(schedule))
        assert preemptions(choices) <= bound
        search.learn(schedule, choices, (), [] if every else found)
        outcomes.add(repr(outcome))
        count += 1
    assert every is False or search.left_out == 0
    return count, outcomes


def steps(longest: int) -> st.SearchStrategy[list[Step]]:
    kinds = st.sampled_from(["read", "write", "write", SECRET, LOCK, UNLOCK])
    return st.lists(st.tuples(kinds, st.integers(0, 3)), min_size=1, max_size=longest)


@given(st.lists(steps(6), min_size=2, max_size=2) | st.lists(steps(3), min_size=3, max_size=3), st.integers(1, 3))
def test_no_outcome_of_a_bound_is_lost(programs: list[list[Step]], bound: int) -> None:
    (whole, every), (run, found) = (explore(programs, bound, every=every) for every in (True, False))
    assert found == every
    assert run <= whole


def test_what_is_left_out() -> None:
    own = [[("write", cell)] * 6 + [("write", 9)] + [("write", cell)] * 6 for cell in (1, 2)]
    assert [explore(own, 2, every=every)[0] for every in (True, False)] == [2 + 24 + 288, 2 + 24 + 2 * 6]
    same = [[("write", 1)] * 6] * 2
    assert explore(same, 2, every=False) == explore(same, 2, every=True)
    unknown = [[(SECRET, cell)] * 6 for cell in (1, 2)]
    assert explore(unknown, 2, every=False)[0] == explore(unknown, 2, every=True)[0]
    alone = [[("read", 1)] * 6] * 2  # what both only read: a switch and no switch back
    assert explore(alone, 2, every=False)[0] == 2 + 10


def test_where_a_step_reaches_something_else_than_before_nothing_is_left_out() -> None:
    beginnings, known = Beginnings(), Reach(reads=frozenset({1}))
    programs: list[list[Step]] = [[("read", 1)] * 3] * 2
    straight, _, _ = Machine(programs).run(Replay(()))
    switched, _, _ = Machine(programs).run(Replay(((0, 1), (1, 2), (0, None))))
    beginnings.add(straight, [known] * 6)
    beginnings.add(switched, [known] * 6)
    assert beginnings.returns_in_vain(switched[:3], 0)
    assert not beginnings.returns_in_vain(switched[:3], 1)  # it has the turn
    beginnings.add(straight, [known, Reach(writes=frozenset({2})), *[known] * 4])
    assert not beginnings.returns_in_vain(switched[:3], 0)


@pytest.mark.parametrize(
    ("one", "other", "does"),
    [
        (Reach(frozenset({1}), frozenset({2})), Reach(frozenset({1}), frozenset({3})), True),
        (Reach(frozenset({1}), frozenset({2})), Reach(frozenset({2})), False),
        (Reach(writes=frozenset({1})), Reach(writes=frozenset({1})), False),
        (Reach(), None, False),
        (Reach(), Reach(writes=frozenset({1})), True),
    ],
)
def test_what_commutes(one: Reach | None, other: Reach | None, does: bool) -> None:
    assert commute(one, other) is commute(other, one) is does
