"""Which schedules need not be run, because one that was run shows how they end.

A program that asks for an advisory lock and has to wait does nothing until it gets the lock. Whether it asks now or
after some more steps of the only other program that can go on makes no difference, as long as it would have waited all
that time. So of all the places where a long program under a lock can be interrupted by another that wants the lock,
few remain.

We prune only if all of this holds: the request is a single call of an advisory-lock function; no snapshot is held (the
level is READ COMMITTED, or no transaction is open); it blocked at once; and no step taken meanwhile blocked or, as far
as its text shows, reads locks or sessions.

The idea is that of partial-order reduction: Godefroid, "Partial-Order Methods for the Verification of Concurrent
Systems", LNCS 1032, 1996.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbtools.races.trace import EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtools.races.run import RunResult
    from dbtools.races.trace import Step, Trace

_KEY = r"[\w\s,$:'+-]*"
_LOCK = re.compile(
    rf"\s*select\s+(pg_catalog\.)?pg_advisory(_xact)?_lock(_shared)?\s*\("
    rf"({_KEY}|\s*(pg_catalog\.)?hashtext(extended)?\s*\({_KEY}\){_KEY})\)\s*(::\s*\w+\s*)?(as\s+\w+\s*)?;?\s*",
    re.IGNORECASE,
)
_READS_LOCKS = re.compile(r"advisory|pg_locks|pg_stat|pg_blocking", re.IGNORECASE)
_ISOLATION = re.compile(r"(?!\s*show\b).*isolation(?!\s+level\s+read\s+committed)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Wait:
    """A request that blocked at once, and did nothing while others took their choices."""

    begun: tuple[int, ...]
    """The actors of the choices before it."""
    actor: int
    meanwhile: tuple[int, ...]
    """The actors of the choices after it."""
    lengths: frozenset[int]
    """After how many of those choices it could have been made instead."""

    def covers(self, actors: Sequence[int]) -> bool:
        """Return whether choices that end with this request differ only in that it is made later."""
        first, last = len(self.begun), len(actors) - 1
        return (
            actors[last] == self.actor
            and last - first in self.lengths
            and tuple(actors[:first]) == self.begun
            and tuple(actors[first:last]) == self.meanwhile[: last - first]
        )


@dataclass
class _Open:
    """A wait that goes on."""

    at: int
    lengths: set[int] = field(default_factory=set)


def idle_waits(run: RunResult) -> list[Wait]:
    """Return the waits of a run that could have begun later."""
    trace, found = run.trace, list[Wait]()
    actors = tuple(actor for _, actor in run.choices)
    steps = {one.number: one for one in trace.steps}
    index = {one.number: at for at, one in enumerate(one for one in trace.steps if one.choice)}
    plain = run.plain and not any(_ISOLATION.match(one.sql) for one in trace.steps)
    waiting: dict[int, _Open] = {}
    latest = 0

    def close(numbers: Sequence[int]) -> None:
        for number in numbers:
            one = waiting.pop(number)
            if one.lengths:
                rest = actors[one.at + 1 : one.at + 1 + max(one.lengths)]
                found.append(Wait(actors[: one.at], actors[one.at], rest, frozenset(one.lengths)))

    for event in trace.events:
        if event.kind is EventKind.RELEASED:
            latest = event.step
            if (at := index.get(event.step)) is not None and len(run.choices[at][0].enabled) == 1:
                for one in waiting.values():
                    one.lengths |= {at - one.at - 1} - {0}
            if _READS_LOCKS.search(steps[event.step].sql):
                close([*waiting])
        elif event.kind is EventKind.BLOCKED:
            close([*waiting])
            if event.step == latest and event.step in index and _is_idle(trace, steps[event.step], plain=plain):
                waiting[event.step] = _Open(index[event.step])
        elif event.step in waiting:  # it was woken, or ended
            close([event.step])
    close([*waiting])
    return found


def _is_idle(trace: Trace, step: Step, *, plain: bool) -> bool:
    before = [one.transaction for one in trace.steps[: step.number - 1] if one.session == step.session]
    return _LOCK.fullmatch(step.sql) is not None and (plain or before[-1:] in ([], ["I"]))
