"""Finds switches back to a program that are in vain: what it does next, it could have done before it lost the turn.

A program loses the turn, others go on, and it gets the turn back by another switch. If its next choice commutes with
all that the others have done meanwhile, the same comes of letting it make that choice first, and then taking the turn
from it: with a switch less. So the turn is given back only where something has been done on which the next choice
depends.

No outcome of a bound is lost. Let a schedule p + e begin with such a return p, and let p' be that beginning with the
choice moved forward. p' + e comes to the same. It costs no more: whatever e begins with, it costs at most one more
switch after p', which cost one less. And it is not left out for the sake of p + e in turn: of two schedules, take the
last position up to which they cost differently; there p' + e is the cheaper one. Each schedule has only finitely many
before it in that order. The waits that `pruning` leaves out do not disturb this: they move requests that have blocked,
which commute with nothing here, and always forward.

The idea is that of sleep sets: Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", LNCS
1032, 1996. What a bound does to it: Coons, Musuvathi and McKinley, "Bounded Partial-Order Reduction", OOPSLA 2013.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from dbtools.races.reach import commute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtools.races.reach import Reach
    from dbtools.races.schedule import Choices


class Beginnings:
    """The beginnings of all runs so far, as a tree, with what the last choice of each reaches."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int], int] = {}
        """The number of a beginning, by that of the one before its last choice, and the actor of that."""
        self._reaches: dict[int, Reach | None] = {}

    def add(self, choices: Choices, reaches: Sequence[Reach | None]) -> None:
        """Take notice of a run. Where a choice has reached something else than before, nothing is known of it."""
        number = 0
        for choice, reach in zip_longest(choices, reaches):
            number = self._numbers.setdefault((number, choice[1]), len(self._numbers) + 1)
            known = self._reaches.setdefault(number, reach)
            self._reaches[number] = reach if reach == known else None

    def returns_in_vain(self, begun: Choices, actor: int) -> bool:
        """Return whether giving the turn back to this actor is in vain after these choices."""
        own = [position for position, (_, chosen) in enumerate(begun) if chosen == actor]
        if not own or own[-1] == len(begun) - 1 or actor not in begun[own[-1] + 1][0].enabled:
            return False
        numbers = [0]
        for _, chosen in begun:
            numbers.append(self._numbers[numbers[-1], chosen])
        first = own[-1] + 2
        again = self._reaches.get(self._numbers.get((numbers[first - 1], actor), 0))
        return all(commute(again, self._reaches[number]) for number in numbers[first:])
