"""The picture of a run as data: one lane per actor, in it one track per session, and one row per event, downwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from dbtools.races.render import sanitize
from dbtools.words import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.races.trace import Step, TableDifference, Trace


class State(StrEnum):
    """The state of a session."""

    IDLE = "idle"
    OPEN = "open"
    """In a transaction."""
    FAILED = "failed"
    """In a transaction that can only be rolled back."""
    WAITING = "waiting"
    """Its step waits for other sessions."""


@dataclass(frozen=True)
class Track:
    """One session in one row."""

    state: State
    begins: bool = False
    """The state begins in this row."""
    ends: bool = False
    """The state ends in this row."""


@dataclass(frozen=True)
class Lane:
    """One actor: its letter in tokens, its name, and its sessions in the order of their first step."""

    letter: str
    actor: str
    sessions: tuple[str, ...]

    @property
    def name(self) -> str:
        """Letter and name, printable: A reset."""
        return sanitize.one_line(f"{self.letter} {self.actor}")

    def label(self, session: str) -> str:
        """Return the short name of one of its sessions: A, A#2."""
        return sanitize.one_line(self.letter + session.removeprefix(self.actor))


class Kind(StrEnum):
    """The kind of a row."""

    STEP = "step"
    """A step is released."""
    WAIT = "wait"
    """A step is found waiting."""
    RESULT = "result"
    """A step that waited has ended."""
    SWITCH = "switch"
    """Another actor goes on, although this one could have."""
    END = "end"
    """The program of an actor has ended."""


@dataclass(frozen=True)
class Row:
    """One event in one lane. All texts are on one line and printable."""

    kind: Kind
    lane: int
    session: int
    """Index among the sessions of the lane."""
    text: str
    tracks: tuple[tuple[Track, ...], ...]
    """Per lane, per session."""
    step: Step | None = None
    result: str = ""
    """What the answer adds to the text: "5 rows"."""
    error: str = ""
    """The error of the step, in the row in which it arrived."""
    failed: bool = False
    """That error is one of the failures of the run, or the actor that ended here failed."""
    waits_for: tuple[tuple[int, int], ...] = ()
    """Lane and session of each session that the step waits for."""

    @property
    def released(self) -> Step | None:
        """The step, if this is the row of its release."""
        return self.step if self.kind is Kind.STEP else None

    @property
    def error_text(self) -> str:
        """The error in full. Its sign tells a failure from other errors. "" without an error."""
        message = sanitize.one_line(self.step.message) if self.step else ""
        return f"{'✗' if self.failed else '!'} {self.error}{': ' if message else ''}{message}" if self.error else ""

    def line_parts(self, lane: Lane, *, switch_sign: str) -> tuple[str, str, str]:
        """Return the three parts of the row's line: session and sign, the text, which may be cut, and the result."""
        session = lane.label(lane.sessions[self.session]).removeprefix(lane.letter)
        before = f"{session} " if session and self.kind is not Kind.END else ""
        if self.kind is Kind.RESULT and self.error:
            return before, self.error_text, ""
        sign = {Kind.END: "■ ", Kind.SWITCH: switch_sign}.get(self.kind, "")
        if self.released and not self.released.choice:
            sign = "· "
        return before + sign, self.text, f" → {self.result}" if self.result else ""


@dataclass(frozen=True)
class Picture:
    """A run, laid out in rows."""

    trace: Trace
    lanes: tuple[Lane, ...]
    rows: tuple[Row, ...]

    @property
    def summary(self) -> str:
        """The size of the run, in a sentence."""
        kinds = Counter(row.kind for row in self.rows)
        counted = partial(number_of, grouped=True)
        actors = f"{counted(len(self.lanes), 'actor')} ({', '.join(lane.name for lane in self.lanes)})"
        preemptions, waits = counted(kinds[Kind.SWITCH], "preemption"), counted(kinds[Kind.WAIT], "wait")
        return f"{counted(len(self.trace.steps), 'step')} of {actors}, {preemptions}, {waits}."

    @property
    def verdict(self) -> str:
        """What is wrong with the run, in a sentence."""
        if self.trace.stalled:
            return sanitize.one_line(f"Stalled, and proves nothing: {self.trace.stalled}")
        if not self.trace.failures:
            return "No failure." if self.trace.steps else "No step was run."
        names = dict.fromkeys(failure.name for failure in self.trace.failures)
        return sanitize.one_line(f"Fails: {', '.join(names)}.")

    def ends(self) -> Iterator[tuple[Lane, str, tuple[str, ...]]]:
        """Yield for each actor that ended: its lane, how it ended, and the last lines of its output."""
        for lane in self.lanes:
            for end in self.trace.ends:
                if end.actor == lane.actor:
                    yield lane, describe_exit(end.code), tuple(sanitize.output(end.output))

    def differences(self) -> Iterator[TableDifference]:
        """Yield the tables whose rows are not those of a serial order."""
        for failure in self.trace.failures:
            yield from failure.differences

    def failures(self) -> Iterator[str]:
        """Yield one line for each failure: its kind, its name, the step, and the detail."""
        for failure in self.trace.failures:
            where = f" (step {failure.step})" if failure.step else ""
            detail = f": {failure.detail}" if failure.detail else ""
            yield sanitize.one_line(f"{failure.kind} {failure.name}{where}{detail}")


def describe_exit(code: int | None) -> str:
    """Return how a program ended: its exit status, or that the lab ended it (None)."""
    return "ended by the lab" if code is None else f"exit {code}"
