"""Finds schedules that need not be run, because another one has shown how they end.

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
    """A request that blocked at once, and did nothing while others were chosen."""

    begun: tuple[int, ...]
    """The actors of the choices before it."""
    actor: int
    meanwhile: tuple[int, ...]
    """The actors of the choices after it."""
    lengths: frozenset[int]
    """After how many of these choices the request could have been made instead."""

    def covers(self, actors: Sequence[int]) -> bool:
        """Return whether these choices, which end with this request, differ from the run only in making it later."""
        first, last = len(self.begun), len(actors) - 1
        return (
            actors[last] == self.actor
            and last - first in self.lengths
            and tuple(actors[:first]) == self.begun
            and tuple(actors[first:last]) == self.meanwhile[: last - first]
        )


@dataclass
class _OpenWait:
    """A wait that has not ended."""

    position: int
    lengths: set[int] = field(default_factory=set)


def only_takes_a_lock(sql: str) -> bool:
    """Return whether a request is a single call of an advisory-lock function that waits, and nothing else."""
    return _LOCK.fullmatch(sql) is not None


def may_change_isolation(sql: str) -> bool:
    """Return whether a request may set another isolation level than READ COMMITTED."""
    return _ISOLATION.match(sql) is not None


def idle_waits(run: RunResult) -> list[Wait]:
    """Return the waits of a run that could have begun later."""
    trace, found = run.trace, list[Wait]()
    actors = tuple(actor for _, actor in run.choices)
    steps = {step.number: step for step in trace.steps}
    choices = [step.number for step in trace.steps if step.choice]
    positions = {number: position for position, number in enumerate(choices)}
    plain = run.plain and not any(may_change_isolation(step.sql) for step in trace.steps)
    waiting: dict[int, _OpenWait] = {}
    latest = 0

    def close(numbers: Sequence[int]) -> None:
        for number in numbers:
            wait = waiting.pop(number)
            if wait.lengths:
                begin = wait.position
                rest = actors[begin + 1 : begin + 1 + max(wait.lengths)]
                found.append(Wait(actors[:begin], actors[begin], rest, frozenset(wait.lengths)))

    for event in trace.events:
        if event.kind is EventKind.RELEASED:
            latest = event.step
            position = positions.get(event.step)
            if position is not None and len(run.choices[position][0].enabled) == 1:
                for wait in waiting.values():
                    wait.lengths |= {position - wait.position - 1} - {0}
            if _READS_LOCKS.search(steps[event.step].sql):
                close([*waiting])
        elif event.kind is EventKind.BLOCKED:
            close([*waiting])
            if event.step == latest and event.step in positions and _is_idle(trace, steps[event.step], plain=plain):
                waiting[event.step] = _OpenWait(positions[event.step])
        elif event.step in waiting:  # it was woken, or ended
            close([event.step])
    close([*waiting])
    return found


def _is_idle(trace: Trace, step: Step, *, plain: bool) -> bool:
    """Return whether a blocked step does nothing but wait, and holds no snapshot meanwhile."""
    before = [other.transaction for other in trace.steps[: step.number - 1] if other.session == step.session]
    return only_takes_a_lock(step.sql) and (plain or before[-1:] in ([], ["I"]))
