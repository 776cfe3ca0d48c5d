"""Who depends on whom in a run: the dependencies between the transactions of its programs.

- ww: the second program changed a row after the first had changed it, or changed what the first had defined.
- wr: the second read a relation after the first had committed a change to it.
- rw, the anti-dependency: the first read a relation, and the second committed a change to it that the first had not
  seen.

A run is like a serial order only if they lead in no circle. Source: Adya, "Weak Consistency: A Generalized Theory and
Optimistic Implementations for Distributed Transactions", MIT 1999, here with a program in the place of a transaction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dbtools.races.footprint import AccessKind, Change
from dbtools.races.pruning import may_change_isolation
from dbtools.races.trace import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbtools.races.footprint import Access
    from dbtools.races.run import RunResult
    from dbtools.races.trace import Event, Step

_DUPLICATE = "23505"
_INSERT = re.compile(r"\s*(with\b.*\b)?insert\b", re.IGNORECASE | re.DOTALL)


class Kind(StrEnum):
    """The kind of a dependency."""

    WW = "ww"
    WR = "wr"
    RW = "rw"


@dataclass(frozen=True, eq=False)
class Dependency:
    """The program of the step `second` depends on that of the step `first`, which has to come before it."""

    kind: Kind
    first: Step
    second: Step
    relation: str
    rows: frozenset[str] = frozenset()
    """The keys of the rows in which they meet, where these are known."""
    change: Change | None = None
    """Of a wr or rw: what was written. Of a ww: what was written last; None if that failed."""
    before: Change | None = None
    """Of a ww: what was written first."""

    @property
    def defines(self) -> bool:
        """Whether one of the two has created, altered or dropped the relation."""
        return any(change is not None and change.defined for change in (self.change, self.before))

    def __str__(self) -> str:
        first, second = self.first, self.second
        doing = {
            Kind.WW: (_written(self.before, self.rows), _written(self.change, self.rows)),
            Kind.WR: (_written(self.change), "read it"),
            Kind.RW: ("read it", _written(self.change)),
        }[self.kind]
        return (
            f"{first.actor} -{self.kind}-> {second.actor}: {self.relation}."
            f" Step {first.number} {doing[0]}, then step {second.number} {doing[1]}."
        )


class Dependencies:
    """The dependencies of an observed run, and what they were found from.

    `matters` is asked whether a read by its actor would have had another answer, had another actor come before.
    """

    def __init__(self, run: RunResult, matters: Callable[[Step, str], bool] = lambda *_: True) -> None:
        assert run.footprint is not None
        self.trace = run.trace
        self.footprint = run.footprint
        self._plain = run.plain
        self._steps = {step.number: step for step in run.trace.steps}
        self._released = {e.step: at for at, e in enumerate(run.trace.events) if e.kind is EventKind.RELEASED}
        self._ended = {e.step: at for at, e in enumerate(run.trace.events) if e.kind is EventKind.ENDED}
        self._late = {e.step for e in run.trace.events if e.kind is EventKind.BLOCKED and self._reads_after(e)}
        """The steps that have read only after a wait."""
        self._transactions = self._number_transactions()
        self.failed = next((self._steps[f.step] for f in run.trace.failures if f.step), None)
        """The step that is the failure of the run, if one is."""
        self.all = [*self._between_changes(), *self._of_reads(matters), *self._of_failure()]

    def between(self, first: str, second: str, *kinds: Kind) -> list[Dependency]:
        """Return the dependencies of the actor `second` on the actor `first` of these kinds, or of all."""
        return [
            dependency
            for dependency in self.all
            if (dependency.first.actor, dependency.second.actor) == (first, second)
            and dependency.kind in (kinds or tuple(Kind))
        ]

    def read_by(self, actor: str) -> list[Dependency]:
        """Return the wr dependencies of an actor on all others."""
        return [one for one in self.all if one.kind is Kind.WR and one.second.actor == actor]

    def sent(self, actor: str) -> list[str]:
        """Return the requests of an actor."""
        return [step.sql for step in self.trace.steps if step.actor == actor]

    def released(self, step: Step) -> int:
        """Return when a step went to the server."""
        return self._released[step.number]

    def actor(self, change: Change) -> str:
        """Return whose change it is."""
        return self._steps[change.step].actor

    def committed(self, change: Change) -> int:
        """Return when a change was committed: a number that grows with time."""
        return self._ended[change.step]

    def seen(self, step: Step) -> int:
        """Return from when the state is that a step reads."""
        snapshot = step
        if not self._plain or any(may_change_isolation(other.sql) for other in self.transaction(step)):
            snapshot = next(other for other in self.transaction(step) if other.choice)
            return self._released[snapshot.number]
        return self._ended.get(step.number, 0) if step.number in self._late else self._released[step.number]

    def took(self, access: Access) -> int:
        """Return when a lock was taken."""
        return self._ended.get(access.step, 0)

    def locks(self, actor: str) -> list[Access]:
        """Return the advisory locks and explicit table locks that an actor has taken."""
        return [
            access
            for access in self.footprint.accesses
            if access.kind is AccessKind.LOCK and self._steps[access.step].actor == actor
        ]

    def transaction(self, step: Step) -> list[Step]:
        """Return all steps of the transaction that a step is part of."""
        return [other for other in self.trace.steps if self.are_one(other, step)]

    def are_one(self, one: Step, other: Step) -> bool:
        """Return whether two steps are part of one transaction."""
        return self._transactions[one.number] == self._transactions[other.number]

    def changed(self, actor: str, relation: str) -> list[Change]:
        """Return what an actor has changed in a relation."""
        return [c for c in self.footprint.changes if c.relation == relation and self.actor(c) == actor]

    def statement(self, change: Change) -> Step:
        """Return the step that made a change: the last one of its transaction that wrote the relation."""
        commit = self._steps[change.step]
        writes = [
            self._steps[access.step]
            for access in self.footprint.accesses
            if access.relation == change.relation and access.kind in (AccessKind.WRITE, AccessKind.DEFINE)
        ]
        return next((step for step in reversed(writes) if self.are_one(step, commit)), commit)

    def is_write(self, step: Step, relation: str) -> bool:
        """Return whether a step writes a relation, or would have written it."""
        return any(
            access.step == step.number and access.relation == relation and access.kind is AccessKind.WRITE
            for access in self.footprint.accesses
        )

    def _reads_after(self, wait: Event) -> bool:
        """Return whether what a step reads is from after a wait.

        It is if the wait is for a table: the snapshot comes after it. After a wait for a row, the newest version of it
        is read by whatever changes or locks it, but INSERT ... SELECT goes on with what it had read.
        """
        return "Lock on " in wait.lock or (
            wait.lock != "" and "advisory" not in wait.lock and not _INSERT.match(self._steps[wait.step].sql)
        )

    def _number_transactions(self) -> dict[int, tuple[str, int]]:
        """Return the session and the number of the transaction of every step."""
        numbers: dict[str, int] = {}
        found = {}
        for step in self.trace.steps:
            number = numbers.setdefault(step.session, 0)
            found[step.number] = (step.session, number)
            if step.transaction == "I":
                numbers[step.session] = number + 1
        return found

    def _between_changes(self) -> Iterator[Dependency]:
        changes = sorted(self.footprint.changes, key=self.committed)
        for at, second in enumerate(changes):
            for first in changes[:at]:
                if first.relation != second.relation or self.actor(first) == self.actor(second):
                    continue
                shared = first.rows & second.rows
                if shared or first.defined or second.defined:
                    steps = self.statement(first), self.statement(second)
                    yield Dependency(Kind.WW, *steps, first.relation, shared, second, first)

    def _of_reads(self, matters: Callable[[Step, str], bool]) -> Iterator[Dependency]:
        for access in self.footprint.accesses:
            if access.kind not in (AccessKind.READ, AccessKind.SHARE):
                continue
            reader = self._steps[access.step]
            for change in self.footprint.changes:
                if change.relation != access.relation or self.actor(change) == reader.actor:
                    continue
                writer = self.statement(change)
                if self.committed(change) < self.seen(reader):
                    yield Dependency(Kind.WR, writer, reader, change.relation, change=change)
                elif matters(reader, self.actor(change)):
                    yield Dependency(Kind.RW, reader, writer, change.relation, change=change)

    def _of_failure(self) -> Iterator[Dependency]:
        """Yield what the failed step met: rows with its key, or a relation that another one had defined."""
        if self.failed is None:
            return
        for change in self.footprint.changes:
            if self.actor(change) == self.failed.actor or self.committed(change) > self._ended[self.failed.number]:
                continue
            used = {a.relation for a in self.footprint.accesses if a.step == self.failed.number}
            met = change.inserted if self.failed.sqlstate == _DUPLICATE else {}
            if change.relation in used and (met or change.defined):
                yield Dependency(Kind.WW, self.statement(change), self.failed, change.relation, before=change)


def _written(change: Change | None, rows: frozenset[str] = frozenset()) -> str:
    """Return what was written, in words."""
    if change is None:
        return "met it and failed"
    if change.defined:
        return "defined it"
    words = []
    for how, keys in (("inserted", change.inserted), ("changed", change.updated), ("deleted", change.deleted)):
        chosen = rows & frozenset(keys) if rows else frozenset(keys)
        if len(chosen) == 1:
            (key,) = chosen
            words.append(f"{how} {'a row' if key.startswith('(') else f'row {key}'}")
        elif chosen:
            words.append(f"{how} {len(chosen)} rows")
    return " and ".join(words) or "changed it"
