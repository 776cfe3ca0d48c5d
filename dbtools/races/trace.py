"""What happened in one run of a schedule: the steps in the order of their release, and every event as it was seen.

The scheduler writes a trace, and all that reports on a run (verdicts, shrinking, tokens, pictures) reads it. It holds
no clock readings: two runs of one schedule have equal traces.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum

from dbtools.races.token import shorten

_VALUE = re.compile(r"'(?:[^']|'')*'|\b[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\b")


class EventKind(StrEnum):
    """What an event is."""

    RELEASED = "released"
    """The step was let through to the server."""
    BLOCKED = "blocked"
    """The server has the step wait for others: `on` and `lock` say for whom and for what."""
    WOKEN = "woken"
    """The step waits no longer; it runs on."""
    ENDED = "ended"
    """ReadyForQuery: the step is over."""
    FINISHED = "finished"
    """The actor's program is over (`step` is 0)."""


@dataclass
class Step:
    """One request of one session and what the server answered."""

    number: int
    """1, 2, ... in the order of release."""
    actor: str
    session: str
    """The actor's name; from its second connection on with a number: seed#2."""
    sql: str
    """The text of the request, whole."""
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
    """Its detail, with the run's sessions in the place of process numbers: who waits for whom in a deadlock."""
    transaction: str = "I"
    """The session's state after the step: I idle, T in a transaction, E in a failed one."""


@dataclass(frozen=True)
class Event:
    """Something the lab saw. The order of events is the order of time."""

    kind: EventKind
    actor: str
    step: int = 0
    """The number of the step; 0 for the actor itself."""
    on: tuple[str, ...] = ()
    """Whom a blocked step waits for: sessions of the run, or "pid 4711 (psql)" for somebody else."""
    lock: str = ""
    """What it waits for, in words: "transaction", "advisory lock 1196576591", "AccessExclusiveLock on invoices"."""


@dataclass(frozen=True)
class End:
    """How an actor's program ended."""

    actor: str
    code: int | None
    """Its exit status; None where it was ended by the lab."""
    output: str = ""
    """The end of what it printed."""


@dataclass(frozen=True)
class Failure:
    """One thing that is wrong with a run."""

    kind: str
    """"error" (a step failed), "exit" (an actor failed), "invariant" (a query of the scenario found rows) or
    "serial" (the final state is that of no serial order)."""
    name: str
    """Equal for equal failures, whoever they hit: "23505 invoices_pkey", the invariant's name."""
    detail: str = ""
    """In a person's words."""
    step: int = 0
    """The step that failed, where it is one."""


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
    """Why the run could not go on, where it could not: such a run proves nothing."""

    @property
    def statements(self) -> list[list[str]]:
        """Who sent what, in the order of release, without its values: 'x' and 12 are a "?" both.

        A program that writes today's date is the same program tomorrow.
        """
        return [[one.actor, _VALUE.sub("?", one.sql)] for one in self.steps]

    @property
    def fingerprint(self) -> str:
        """Four hex digits from the statements, for a token."""
        return shorten(json.dumps(self.statements))
