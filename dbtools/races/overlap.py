"""Overlaps statements that create, alter or drop something: each is stopped in its middle while the others run.

No order of whole statements shows what CREATE ... IF NOT EXISTS does to another one while both run: each looks, and
then writes a catalogue. A latch on what they write last stops the first of them after it has written the row that must
be unique, and before it ends. The others, run meanwhile, have looked before it ends, and wait for it; so only one waits
for the latch, and what follows does not depend on who is quicker.

A scenario with a latch of the lab's own is another scenario, with a fingerprint of its own; so a token says by itself
that its schedule needs the latch.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from dbtools.races.execution.wire import without_comments
from dbtools.races.scenario import MAX_ACTORS, Latch
from dbtools.races.strategies import spread
from dbtools.races.trace import EventKind, without_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.races.run import RunResult
    from dbtools.races.scenario import Scenario
    from dbtools.races.schedule import Schedule

LATCHES = (
    # First what a table's keys and defaults are written to: after the table, and after the sequences of its columns. A
    # statement that makes sequences would wait for the other latch before it has made its table.
    Latch("keys", catalogue="pg_attrdef, pg_constraint, pg_index"),
    Latch("dependencies", catalogue="pg_depend, pg_shdepend"),
)
"""On what a statement writes to the catalogues after the row that must be unique."""
_DEFINES = re.compile(
    r"\b(create(?!\s+((global|local)\s+)?temp)|alter|drop|grant|revoke|comment\s+on)\b", re.IGNORECASE
)


def defines(sql: str) -> bool:
    """Return whether a request creates, alters or drops something that other sessions see, as far as its text shows."""
    return _DEFINES.search(without_values(without_comments(sql))) is not None


def latched(scenario: Scenario) -> list[Scenario]:
    """Return the scenario with each of `LATCHES`; nothing where it has latches, or as many actors as there can be."""
    if scenario.latches or len(scenario.actors) == MAX_ACTORS:
        return []
    return [
        replace(
            scenario,
            latches=[latch],
            definition=scenario.definition and f"{scenario.definition} latch {latch.name}: {latch.catalogue}",
        )
        for latch in LATCHES
    ]


class Overlaps:
    """The schedules that overlap statements, by what was seen of the programs of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._positions: dict[str, list[int]] = {}

    def learn(self, run: RunResult) -> None:
        """Note which requests of the actor that went first define something, as far as it went alone."""
        choices = [step for step in run.trace.steps if step.choice]
        alone = list(takewhile(lambda step: step.actor == choices[0].actor, choices))
        positions = [position for position, step in enumerate(alone) if defines(step.sql)]
        if len(positions) > len(self._positions.get(choices[0].actor if choices else "", [])):
            self._positions[choices[0].actor] = positions

    @property
    def statements(self) -> int:
        """How many statements can be overlapped: none, unless several programs have some."""
        found = [self._positions[actor.name] for actor in self._scenario.actors if actor.name in self._positions]
        return sum(map(len, found)) if len(found) > 1 else 0

    def schedules(self, bound: int) -> Iterator[tuple[Scenario, Schedule]]:
        """Yield schedules with up to `bound` preemptions, and the scenario with the latch that each needs.

        An actor goes to its statement; the latch is taken; the statement is begun; the others go as far as they can.
        """
        scenarios, latch = latched(self._scenario), len(self._scenario.actors)
        if not self.statements:
            return
        numbers = {actor.name: number for number, actor in enumerate(self._scenario.actors)}
        every = [(position, numbers[name]) for name, found in self._positions.items() for position in found]
        for position, actor in spread(sorted(every)):
            before = ((actor, position),) if position else ()
            if len(before) < bound:
                yield from ((scenario, (*before, (latch, 1), (actor, 1))) for scenario in scenarios)


def was_stopped(scenario: Scenario, run: RunResult) -> bool:
    """Return whether the statement that was begun under the scenario's latch was stopped by it, and went on later."""
    latch = scenario.latches[0].actor.name
    choices = [step for step in run.trace.steps if step.choice]
    taken = next((position for position, step in enumerate(choices) if step.actor == latch), len(choices))
    begun = {step.number for step in choices[taken + 1 : taken + 2]}
    stopped = any(
        event.kind is EventKind.BLOCKED and event.step in begun and latch in event.on for event in run.trace.events
    )
    return stopped and not (run.unjudged or run.trace.starved)
