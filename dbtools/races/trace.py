"""What happened in one run of a schedule: the steps in the order of their release, and the events in between.

The scheduler writes a trace; verdicts, shrinking, tokens and pictures are made from it. It holds no times and no
process or transaction numbers, so two runs of one schedule have equal traces.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum

from dbtools.races.token import shorten

_VALUE = re.compile(
    r"'(?:[^']|'')*'|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|\b[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\b|[0-9a-fA-F]{16,}|[0-9]{9,}"
)


def without_values(sql: str) -> str:
    """Return a statement with "?" for values such as 'x' and 12, and for what libraries make up within a name.

    The savepoints of peewee and Django and the cursors of Django are called by a UUID or by the number of a thread.
    """
    return _VALUE.sub("?", sql)


class EventKind(StrEnum):
    """The kind of an event."""

    RELEASED = "released"
    """The step was released to the server."""
    BLOCKED = "blocked"
    """The step waits in the server, for the sessions `on` and the lock `lock`."""
    WOKEN = "woken"
    """The step no longer waits."""
    ENDED = "ended"
    """The step is over: at ReadyForQuery, or within a pipeline once the statement is answered."""
    YIELDED = "yielded"
    """The actor polls or sleeps, and another one goes on (`step` is 0)."""
    FINISHED = "finished"
    """The actor's program and its sessions have ended (`step` is 0)."""


@dataclass
class Step:
    """One request of one session and what the server answered."""

    number: int
    """1, 2, ... in the order of release."""
    actor: str
    session: str
    """The actor's name; from its second connection on with a number: seed#2."""
    sql: str
    """The text of the request; cut only after 64 KiB."""
    choice: bool = True
    """False where the scheduler was not asked: BEGIN, SET, what a driver sends by itself."""
    tag: str = ""
    """The command tag: INSERT 0 5."""
    sqlstate: str = ""
    subject: str = ""
    """The constraint of the error, else its table, else ""."""
    message: str = ""
    """The error's primary message."""
    detail: str = ""
    """The error's detail. That of a deadlock says which session waits for which, by their names."""
    transaction: str = "I"
    """The session's state after the step: I idle, T in a transaction, E in a failed one."""
    commands: int = 0
    """How many statements the server has completed in it: more than one where `sql` or a driver holds several."""


@dataclass(frozen=True)
class Event:
    """Something the lab saw. Events are in the order of time; those between two choices are grouped by actor."""

    kind: EventKind
    actor: str
    step: int = 0
    """The number of the step; 0 for the actor itself."""
    on: tuple[str, ...] = ()
    """The sessions of the run that a blocked step waits for."""
    lock: str = ""
    """What a blocked step waits for: "transaction", "advisory lock 1196576591", "AccessExclusiveLock on invoices"."""


@dataclass(frozen=True)
class End:
    """How an actor's program ended."""

    actor: str
    code: int | None
    """Its exit status; None if the lab ended it."""
    output: str = ""
    """The end of what it printed."""


@dataclass(frozen=True)
class TableDifference:
    """The rows of a table that are not the same here and after every serial order."""

    table: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """Where a row is ("here", "after ann, bob"), and its values; without values where there is no row."""


@dataclass(frozen=True)
class Failure:
    """One thing that is wrong with a run."""

    kind: str
    """"error" (a step failed), "exit" (an actor failed), "invariant" (a query of the scenario found rows) or
    "serial" (the final state is that of no serial order)."""
    name: str
    """Equal for equal failures, whichever actor they hit: "23505 invoices_pkey", the invariant's name."""
    detail: str = ""
    """What happened, in words."""
    step: int = 0
    """The number of the step that failed; 0 if no step did."""
    actor: str = ""
    """Whose failure it is, if it is that of an actor."""
    differences: tuple[TableDifference, ...] = field(default=(), compare=False)
    """The rows in which the final state differs from those of the serial orders."""


@dataclass
class Trace:
    """One run."""

    actors: tuple[str, ...]
    """In the scenario's order; tokens call them A, B, C, ..."""
    steps: list[Step] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    stalled: str = ""
    """Why the run was given up, if it was: such a run proves nothing."""
    starved: str = ""
    """Who gave up waiting for another that could have gone on, if somebody did: such a run is no race."""
    tolerated: list[Failure] = field(default_factory=list)
    """What failed by design, or as it does one after the other."""

    @property
    def statements(self) -> list[list[str]]:
        """The actor and the statement of each step, with "?" for values such as 'x' and 12.

        Without values, because a program that writes today's date is the same program tomorrow.
        """
        return [[step.actor, without_values(step.sql)] for step in self.steps]

    @property
    def shape(self) -> object:
        """Equal for runs that went step for step alike: what was sent without its values, and what came of it."""
        ends = [(step.session, step.tag, step.sqlstate, step.subject) for step in self.steps]
        return self.statements, ends, self.events

    @property
    def fingerprint(self) -> str:
        """Four hex digits of the statements, for a token."""
        return shorten(json.dumps(self.statements))
