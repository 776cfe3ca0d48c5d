"""Overlaps statements that create, alter or drop something, or that read and change rows: each is stopped in its middle
while the others run.

No order of whole statements shows what CREATE ... IF NOT EXISTS does to another one while both run: each looks, and
then writes a catalogue. A latch on what they write last stops the first of them after it has written the row that must
be unique, and before it ends. The others, run meanwhile, have looked before it ends, and wait for it; so only one waits
for the latch, and what follows does not depend on who is quicker.

A statement that changes rows by what it reads (INSERT ... SELECT, MERGE, a call of a function) does in one step what a
program would do in two. It is stopped before the first row that it changes. It has its snapshot by then, and a function
has read what comes before.

A scenario with a latch of the lab's own is another scenario, with a fingerprint of its own; so a token says by itself
that its schedule needs the latch.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from dbtools.races.execution.wire import without_comments
from dbtools.races.scenario import EVERY_TABLE, MAX_ACTORS, Latch
from dbtools.races.strategies import spread
from dbtools.races.trace import EventKind, without_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
ROWS = Latch("rows", table=EVERY_TABLE)
"""On the first statement that changes rows."""
_DEFINES = re.compile(
    r"\b(create(?!\s+((global|local)\s+)?temp)|alter|drop|grant|revoke|comment\s+on)\b", re.IGNORECASE
)

_LOCKS = re.compile(r"\bfor\s+(no\s+key\s+)?update\b", re.IGNORECASE)
_CALLS = re.compile(r"\s*(call|do|merge)\b", re.IGNORECASE)
_CHANGES = re.compile(r"\b(insert\s+into|update|delete\s+from|merge\s+into)\b", re.IGNORECASE)
_CALLED = re.compile(r'(\w+)"?\s*\(')


def defines(sql: str) -> bool:
    """Return whether a request creates, alters or drops something that other sessions see, as far as its text shows."""
    return _DEFINES.search(without_values(without_comments(sql))) is not None


def composes(sql: str, functions: frozenset[str] = frozenset()) -> bool:
    """Return whether a request reads and changes rows in one, as far as its text shows, or calls what may do so.

    `functions` are the names of such functions.
    """
    text = _LOCKS.sub("", without_values(without_comments(sql)))
    if _CALLS.match(text) or (_CHANGES.search(text) and re.search(r"\bselect\b", text, re.IGNORECASE)):
        return True
    return not (defines(sql) or functions.isdisjoint(_CALLED.findall(text)))


def latched(scenario: Scenario) -> list[Scenario]:
    """Return the scenario with each of `LATCHES` and with `ROWS`; nothing where it has latches, or too many actors."""
    if scenario.latches or len(scenario.actors) == MAX_ACTORS:
        return []
    return [
        replace(
            scenario,
            latches=[latch],
            definition=scenario.definition and f"{scenario.definition} latch {latch.name}: {latch.catalogue}",
        )
        for latch in (*LATCHES, ROWS)
    ]


class Overlaps:
    """The schedules that overlap statements, by what was seen of the programs of a scenario.

    `functions` are the names of the start state's functions that may change something.
    """

    def __init__(self, scenario: Scenario, functions: frozenset[str] = frozenset()) -> None:
        self._scenario = scenario
        self._functions = functions
        self._alone: dict[str, list[str]] = {}
        """The requests of each actor, as far as it went alone."""

    def learn(self, run: RunResult) -> None:
        """Note the requests of the actor that went first, as far as it went alone."""
        choices = [step for step in run.trace.steps if step.choice]
        alone = [step.sql for step in takewhile(lambda step: step.actor == choices[0].actor, choices)]
        if choices and len(alone) > len(self._alone.get(choices[0].actor, [])):
            self._alone[choices[0].actor] = alone

    @property
    def definitions(self) -> int:
        """How many statements of several programs create, alter or drop something; none, if only those of one do."""
        return len(self._positions(defines)) if len({name for name, _ in self._positions(defines)}) > 1 else 0

    @property
    def composed(self) -> int:
        """How many statements read and change rows in one; none, if only one program sends anything."""
        return len(self._positions(self._composes)) if len(self._alone) > 1 else 0

    def schedules(self, bound: int) -> Iterator[tuple[Scenario, Schedule]]:
        """Yield schedules with up to `bound` preemptions, and the scenario with the latch that each needs.

        An actor goes to its statement; the latch is taken; the statement is begun; the others go as far as they can.
        """
        *catalogues, rows = latched(self._scenario) or [self._scenario]
        latch = len(self._scenario.actors)
        numbers = {actor.name: number for number, actor in enumerate(self._scenario.actors)}
        kinds = [(defines, catalogues)] if self.definitions else []
        kinds += [(self._composes, [rows])] if self.composed and rows.latches != self._scenario.latches else []
        for kind, scenarios in kinds:
            for position, actor in spread(
                sorted((position, numbers[name]) for name, position in self._positions(kind))
            ):
                before = ((actor, position),) if position else ()
                if len(before) < bound:
                    yield from ((scenario, (*before, (latch, 1), (actor, 1))) for scenario in scenarios)

    def _composes(self, sql: str) -> bool:
        return composes(sql, self._functions)

    def _positions(self, kind: Callable[[str], bool]) -> list[tuple[str, int]]:
        return [(name, at) for name, sent in self._alone.items() for at, sql in enumerate(sent) if kind(sql)]


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
