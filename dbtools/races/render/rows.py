"""What a picture of a run holds: one lane per actor, one rail in it per session, time downwards, one row per event.

picture_layout makes it of a trace, and picture_fold shortens it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dbtools.races.render import sanitize as words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.races.trace import Step, Trace


class State(StrEnum):
    """What a session is in."""

    IDLE = "idle"
    OPEN = "open"
    """In a transaction."""
    FAILED = "failed"
    """In a transaction that can only be rolled back."""
    WAITING = "waiting"
    """Its step waits for others."""


@dataclass(frozen=True)
class Rail:
    """One session in one row."""

    state: State
    begins: bool = False
    """The state begins here."""
    ends: bool = False


@dataclass(frozen=True)
class Lane:
    """One actor: the letter that tokens call it by, its name, its sessions in the order of their first step."""

    letter: str
    actor: str
    sessions: tuple[str, ...]

    @property
    def name(self) -> str:
        """Letter and name, printable: A reset."""
        return words.one_line(f"{self.letter} {self.actor}")

    def label(self, session: str) -> str:
        """Return the short name of one of its sessions: A, A#2."""
        return words.one_line(self.letter + session.removeprefix(self.actor))


class Kind(StrEnum):
    """What a row is."""

    STEP = "step"
    WAIT = "wait"
    RESULT = "result"
    """How a step that waited went on."""
    SWITCH = "switch"
    """The turn was taken from an actor that could have gone on."""
    END = "end"
    """An actor's program is over."""


@dataclass(frozen=True)
class Row:
    """One event in one lane. All texts are on one line and printable."""

    kind: Kind
    lane: int
    session: int
    """Index among the sessions of the lane."""
    text: str
    rails: tuple[tuple[Rail, ...], ...]
    """Per lane, per session."""
    step: Step | None = None
    result: str = ""
    """What the answer adds to the text: "5 rows"."""
    error: str = ""
    """The step's error, in the row where it came."""
    failed: bool = False
    """That error is one of the failures of the run, or the actor of this end failed."""
    towards: tuple[tuple[int, int], ...] = ()
    """Lane and session of those that are waited for."""

    @property
    def complaint(self) -> str:
        """The error in full, with a sign that tells a failure from an error that was none; "" without an error."""
        message = words.one_line(self.step.message) if self.step else ""
        return f"{'✗' if self.failed else '!'} {self.error}{': ' if message else ''}{message}" if self.error else ""

    def said(self, lane: Lane, *, switch: str) -> tuple[str, str, str]:
        """Return what its line says: session and sign, the text, which may be cut, and the result."""
        session = lane.label(lane.sessions[self.session]).removeprefix(lane.letter)
        before = f"{session} " if session and self.kind is not Kind.END else ""
        if self.kind is Kind.RESULT and self.error:
            return before, self.complaint, ""
        sign = {Kind.END: "■ ", Kind.SWITCH: switch}.get(self.kind, "")
        if self.kind is Kind.STEP and self.step and not self.step.choice:
            sign = "· "
        return before + sign, self.text, f" → {self.result}" if self.result else ""


@dataclass(frozen=True)
class Picture:
    """A run, laid out."""

    trace: Trace
    lanes: tuple[Lane, ...]
    rows: tuple[Row, ...]

    @property
    def summary(self) -> str:
        """What the picture shows, in a sentence."""
        kinds = Counter(row.kind for row in self.rows)
        parts = [
            _many(len(self.trace.steps), "step"),
            f"of {_many(len(self.lanes), 'actor')} ({', '.join(lane.name for lane in self.lanes)})",
            f"{_many(kinds[Kind.SWITCH], 'preemption')}, {_many(kinds[Kind.WAIT], 'wait')}.",
        ]
        return f"{parts[0]} {parts[1]}, {parts[2]}"

    @property
    def verdict(self) -> str:
        """What is wrong with the run, in a sentence."""
        if self.trace.stalled:
            return words.one_line(f"Stalled, and proves nothing: {self.trace.stalled}")
        if not self.trace.failures:
            return "No failure." if self.trace.steps else "No step was run."
        return words.one_line(f"Fails: {', '.join(dict.fromkeys(f.name for f in self.trace.failures))}.")

    def ends(self) -> Iterator[tuple[Lane, str, tuple[str, ...]]]:
        """Yield per actor that ended: its lane, how it ended, and what it printed last."""
        for lane in self.lanes:
            for end in self.trace.ends:
                if end.actor == lane.actor:
                    output = words.printable(end.output).strip("\n").replace("\t", "    ").splitlines()
                    yield lane, ended(end.code), tuple(output)

    def failures(self) -> Iterator[str]:
        """Yield what is wrong, each in a line: what kind, its name, the step, and the detail."""
        for failure in self.trace.failures:
            where = f" (step {failure.step})" if failure.step else ""
            detail = f": {failure.detail}" if failure.detail else ""
            yield words.one_line(f"{failure.kind} {failure.name}{where}{detail}")


def ended(code: int | None) -> str:
    """Return how a program ended, in words."""
    return "ended by the lab" if code is None else f"exit {code}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
