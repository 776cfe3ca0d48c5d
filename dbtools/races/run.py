"""One run of a schedule: what happened, and what it left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbtools.races.schedule import Choices
    from dbtools.races.trace import Failure, Trace


@dataclass(frozen=True)
class RunResult:
    """One run and what it left behind."""

    trace: Trace
    choices: Choices
    content: dict[str, str]
    """The digest of every table that is left."""
    diverged: str = ""
    """Where the programs did not follow the schedule, and the run was ended."""
    plain: bool = False
    """No setting of the database, a role or a connection makes the isolation level another than READ COMMITTED."""

    @property
    def failures(self) -> frozenset[str]:
        """The names of what went wrong: equal for equal failures, and what a scenario's `expect` calls them."""
        return frozenset(name_of(failure) for failure in self.trace.failures)

    @property
    def failure(self) -> str:
        """The same for people; "" where nothing went wrong."""
        return ", ".join(sorted(self.failures))

    @property
    def ended(self) -> str:
        """How it ended, for people: what failed, why it could not be judged, or "no failure"."""
        return self.failure or self.diverged or self.trace.stalled or "no failure"


def name_of(failure: Failure) -> str:
    """Return what a scenario's `expect` calls a failure."""
    return f"invariant {failure.name}" if failure.kind == "invariant" else failure.name
