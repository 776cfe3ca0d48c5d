"""What the project's own steps do undisturbed, and what they do one after the other: the measure of a bare round.

The steps run on a throwaway database as a build runs them, which refuses a step that does nothing there: so no program
that goes to another database comes to be run at once. Then the same processes run there one after the other. What fails
or doubles there also is no race. Two undisturbed runs, this one and that of the snapshot, show what is different in
every run: salts, times, random rows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.checks.content import Content, Unsteady, differences
from dbtools.checks.round import MIGRATED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbtools.checks.stage import Stage

SLACK = 20.0
"""How many times as long as an undisturbed run a round may take."""


@dataclass(frozen=True)
class Reference:
    """The contents that undisturbed and serial runs leave, and what fails in the serial ones."""

    snapshot: Content
    """What the snapshot's steps left."""
    again: Content
    """What they left now."""
    first_seeds: Content
    """The same number of seeds as in a round, one after the other, from tables that were migrated only."""
    seeds: Content
    """The same, from the whole content."""
    resets: Content
    """And resets after that."""
    excused: tuple[tuple[str, str], ...]
    """Actions, and failures that they had one after the other."""

    @property
    def _varying(self) -> Unsteady:
        return Unsteady.between(self.snapshot, self.again)

    @property
    def _seeded(self) -> Unsteady:
        return Unsteady.between(self.again, self.first_seeds, self.seeds)

    def differences(self, found: Content, actions: Sequence[str], start: str) -> list[str]:
        """Return how the content after a round differs from what the same processes leave one after the other.

        Where seeds and resets are mixed, their order decides how often the last content was seeded: what the seed does
        not repeat is not compared then.
        """
        if "reset" in actions:
            loose = self._varying | self._seeded | Unsteady.between(self.again, self.resets)
            return differences(found, self.resets, loose)
        loose = self._varying | Unsteady(values=self._seeded.values)
        return differences(found, self.first_seeds if start == MIGRATED else self.seeds, loose)

    def notes(self) -> Iterator[str]:
        """Return what the runs one after the other show, and what is not compared, in sentences."""
        for action, failure in self.excused:
            yield f"{failure}: {action} fails also one after the other: no race, the {action} is not repeatable."
        for difference in differences(self.first_seeds, self.again, self._varying | _values(self._seeded)):
            yield f"{difference}: also one after the other: no race, the seed is not repeatable."
        for difference in differences(self.resets, self.again, self._varying | self._seeded):
            yield f"{difference}: also one after the other: no race, the reset is not repeatable."
        values = sorted(self._varying.values - self._varying.rows)
        varying = [f"values of {name}" for name in values] + [f"rows of {name}" for name in sorted(self._varying.rows)]
        if varying:
            yield f"Not compared, because two undisturbed runs differ: {', '.join(varying)}."


def observe(stage: Stage, snapshot: Content, actions: Sequence[Sequence[str]]) -> Reference:
    """Run the processes of the rounds `actions` one after the other; `snapshot` is what an undisturbed reset leaves.

    Afterwards the stage gives each round as much time as these runs show to be needed.

    Raises:
        StepFailed: A step failed in the first, undisturbed run, or did nothing.
    """
    excused: dict[tuple[str, str], None] = {}
    with stage.empty_database() as scratch:
        began = time.monotonic()
        stage.builder.run(scratch)
        stage.timeout = max(stage.timeout, SLACK * (time.monotonic() - began))

        def in_turn(action: str, times: int) -> Content:
            for _ in range(times):
                (result,) = stage.run(scratch.dsn, "bare", [action])
                if result.failed:
                    excused[action, result.failure] = None
            return stage.content(scratch.dsn)

        again = in_turn("seed", 0)
        seeds, resets = (max(one.count(action) for one in actions) for action in ("seed", "reset"))
        # The undisturbed run was the first seed.
        first_seeds = in_turn("seed", seeds - 1)
        second_seeds = in_turn("seed", min(seeds, 1))
        after = in_turn("reset", resets)
    if not resets:
        after = again
    return Reference(snapshot, again, first_seeds, second_seeds, after, tuple(excused))


def _values(unsteady: Unsteady) -> Unsteady:
    return Unsteady(values=unsteady.values)
