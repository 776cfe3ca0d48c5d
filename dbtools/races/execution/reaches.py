"""What each choice of a run has reached, as far as it is sure.

A choice stands for all that happens until the next one: its request, what the program's driver sends by itself, and
whoever wakes up. It is known where it is a single statement that the `Catalogue` knows, or the commit of a transaction
of such statements, and nothing failed, waited or woke up. Of all else nothing is known, and it commutes with nothing.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from dbtools.races.execution import wire
from dbtools.races.pruning import may_change_isolation
from dbtools.races.reach import Reach
from dbtools.races.trace import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dbtools.races.run import RunResult
    from dbtools.races.trace import Event, Step

_NEWS = re.compile(r"\b(listen|notify|pg_notify)\b", re.IGNORECASE)
_SETS = re.compile(r"\s*(set|reset|discard)\b|.*\bset_config\b", re.IGNORECASE | re.DOTALL)
# Settings by which no statement comes to mean another table.
_HARMLESS = re.compile(
    r"\s*(set\s+((local|session)\s+)?|select\s+(pg_catalog\.)?set_config\s*\(\s*')"
    r"(lock_timeout|statement_timeout|idle_in_transaction_session_timeout|application_name|client_encoding"
    r"|client_min_messages|timezone|time\s+zone|datestyle|intervalstyle|extra_float_digits|bytea_output)\b[^;]*;?\s*",
    re.IGNORECASE,
)
# What a driver sends after a statement and what other sessions see nothing of.
_OWN = re.compile(r"\s*((begin|start|set|show|select|deallocate)\b.*|\(sync\)|\(flush\))?", re.IGNORECASE | re.DOTALL)
_ROWS = re.compile(r"\s*(select|insert|update|delete|merge|with|values|copy|lock|table)\b", re.IGNORECASE)
_INTO = re.compile(r"\s*(select|with|table)\b.*\binto\b", re.IGNORECASE | re.DOTALL)


def reaches(run: RunResult, of: Callable[[str], Reach | None]) -> list[Reach | None]:
    """Return what each choice of a run reaches, where `of` knows it of a statement in the start state."""
    if not _is_sure(run):
        return [None] * len(run.choices)
    steps = {step.number: step for step in run.trace.steps}
    before = _states_before(run.trace.steps)
    work: dict[str, list[Reach | None]] = {}  # what the open transaction of each session has reached
    found: list[Reach | None] = []
    defined = False
    for events in _by_choice(run.trace.events, steps):
        released = [steps[event.step] for event in events if event.kind is EventKind.RELEASED]
        main = released[0]
        own = [step for step in released if step.session == main.session]
        ends, done = wire.is_end(main.sql), work.pop(main.session, [])
        known = None if main.commands > 1 or (defined and not ends) else Reach() if ends else of(main.sql)
        if all(step.transaction != "I" for step in own):
            work[main.session] = [*done, known]
        elif known:  # it commits, and so does the last statement of a pipeline
            writes = known.writes.union(*(one.writes for one in done if one))
            known = None if None in done else replace(known, writes=writes)
        defined = defined or _may_define(main)
        begins = before[main.number] == "I" != main.transaction or any(wire.is_begin(step.sql) for step in released)
        if known and ((known.timed and main.transaction == "I") or begins):
            known = known.with_clock()
        found.append(known if _is_alone(events, released) else None)
    return found


def _states_before(steps: Sequence[Step]) -> dict[int, str]:
    """Return the state of the session's transaction before each step."""
    states: dict[str, str] = {}
    found = {}
    for step in steps:
        found[step.number] = states.get(step.session, "I")
        states[step.session] = step.transaction
    return found


def _is_sure(run: RunResult) -> bool:
    """Return whether what was seen of the programs is all that decides what they do."""
    trace = run.trace
    by_clock = run.overtaken or trace.starved or run.unjudged or any(point.yielded for point, _ in run.choices)
    if not run.plain or by_clock or any(event.kind is EventKind.YIELDED for event in trace.events):
        return False
    last = {step.session: step.transaction for step in trace.steps}
    return not any(state != "I" for state in last.values()) and all(
        step.session == step.actor
        and not may_change_isolation(step.sql)
        and not _NEWS.search(step.sql)
        and (not _sets(step.sql) or _HARMLESS.fullmatch(step.sql) is not None)
        for step in trace.steps
    )


def _sets(sql: str) -> bool:
    return any(_SETS.match(text) for text in (sql, wire.without_comments(sql)))


def _by_choice(events: Sequence[Event], steps: Mapping[int, Step]) -> Iterator[list[Event]]:
    """Yield the events from each choice to the next."""
    part: list[Event] = []
    for event in events:
        if event.kind is EventKind.RELEASED and steps[event.step].choice:
            if part and steps[part[0].step].choice:
                yield part
            part = []
        if part or event.kind is EventKind.RELEASED:
            part.append(event)
    if part and steps[part[0].step].choice:
        yield part


def _is_alone(events: Sequence[Event], released: Sequence[Step]) -> bool:
    """Return whether a choice has run to its end, without an error or a wait, and nobody else did anything."""
    main, ended = released[0], {event.step for event in events if event.kind is EventKind.ENDED}
    kinds = {EventKind.RELEASED, EventKind.ENDED, EventKind.FINISHED}
    return (
        all(event.kind in kinds and event.actor == main.actor for event in events)
        and all(step.number in ended and not step.sqlstate for step in released)
        and all(_OWN.fullmatch(step.sql) for step in released[1:])
    )


def _may_define(step: Step) -> bool:
    """Return whether a request may have changed definitions, so that statements mean something else after it."""
    one = step.commands <= 1 and ";" not in step.sql.rstrip("; \n")
    return not one or not (wire.is_end(step.sql) or _ROWS.match(step.sql)) or _INTO.match(step.sql) is not None
