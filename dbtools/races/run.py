"""The result of one run of a schedule: what happened, and what it left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbtools.races.content import Content
    from dbtools.races.footprint import Footprint
    from dbtools.races.schedule import Choices
    from dbtools.races.trace import Failure, Trace


@dataclass(frozen=True)
class RunResult:
    """One run and what it left behind."""

    trace: Trace
    choices: Choices
    content: Content
    """What is left in all tables."""
    diverged: str = ""
    """Where the programs departed from the schedule, if they did; the run was ended there."""
    plain: bool = False
    """Whether the level is READ COMMITTED, and no setting of the database, a role or a connection changes that or what
    names mean."""

    cut: bool = False
    """The time was up before it had ended."""
    overtaken: bool = False
    """Somebody went on while another one slept, with no request under way."""
    slept: float = 0.0
    """The longest that a program has slept by itself, in seconds."""
    footprint: Footprint | None = None
    """What it read and wrote, if it was observed."""

    @property
    def failures(self) -> frozenset[str]:
        """The names of the failures, as a scenario's `expect` spells them; equal failures have equal names."""
        return frozenset(name_of(failure) for failure in self.trace.failures)

    @property
    def failure(self) -> str:
        """The same in one line; "" if nothing went wrong."""
        return ", ".join(sorted(self.failures))

    @property
    def ended(self) -> str:
        """How it ended, in words: what failed, why it could not be judged, or "no failure"."""
        return self.failure or self.unjudged or self.trace.starved or "no failure"

    @property
    def unjudged(self) -> str:
        """Why it cannot be judged; "" if it can."""
        return self.diverged or self.trace.stalled


def name_of(failure: Failure) -> str:
    """Return what a scenario's `expect` calls a failure."""
    return f"invariant {failure.name}" if failure.kind == "invariant" else failure.name
