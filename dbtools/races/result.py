"""What an exploration has tried and found, and what that proves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from dbtools.errors import VerificationFailed
from dbtools.races import token

if TYPE_CHECKING:
    from dbtools.races.execution.lab import Played
    from dbtools.races.scenario import Scenario
    from dbtools.races.strategies import Runs


class Verdict(StrEnum):
    """What an exploration proves."""

    HELD = "held"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"


@dataclass
class Explored:
    """What was tried and what was found."""

    scenario: Scenario
    major: int
    verdict: Verdict = Verdict.INCONCLUSIVE
    reason: str = ""
    """Why it is inconclusive."""
    schedules: Counter[str] = field(default_factory=Counter)
    """How many were run, by kind: "one after the other", "0 switches", "1 switch", "random walk", "PCT"."""
    left_out: int = 0
    """How many were not, as another one shows how they end (see prune.py)."""
    complete: int = -1
    """Every schedule with so many preemptions, and none beyond it, was surely tried; -1: not even those with 0."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """How many failed, by how."""
    waits: Counter[str] = field(default_factory=Counter)
    """In how many schedules a lock was waited for, by what it was."""
    silent: set[str] = field(default_factory=set)
    """The actors that have sent no SQL."""
    switched: bool = False
    """A schedule took the turn from an actor that could have gone on."""
    unstable: set[str] = field(default_factory=set)
    """Tables that one and the same serial order leaves different: they are not compared."""
    unsteady: bool = False
    """A replay failed in the same way, but not step for step: something else than the schedule decides too."""
    repeated: bool = False
    """The programs sent the same statements, but for the values in them, in every replay."""
    played: Played | None = None
    """The failing run, shrunk."""
    runs: Runs = ()
    """Its schedule."""
    shrunk_from: int = 0
    """How many preemptions it had when it was found."""
    seconds: float = 0.0
    seed: int = 0

    @property
    def failure(self) -> str:
        """What failed, in the names of `Played.failure`."""
        return self.played.failure if self.played else ""

    @property
    def token(self) -> str:
        """The token of the failing schedule, or ""."""
        if self.played is None:
            return ""
        statements = self.played.trace.fingerprint if self.repeated else ""
        return encode(self.scenario, self.major, self.runs, statements)

    @property
    def total(self) -> int:
        """How many schedules were run."""
        return sum(self.schedules.values())

    @property
    def as_expected(self) -> bool:
        """Whether the scenario says that it ends so."""
        if self.scenario.expect:
            return self.verdict is Verdict.VIOLATED and self.scenario.expect in self.failure.split(", ")
        return self.verdict is Verdict.HELD

    def require_held(self) -> Explored:
        """Return itself where the scenario held.

        Raises:
            VerificationFailed: It did not. The message holds the token and the picture of the run.
        """
        if self.verdict is Verdict.HELD:
            return self
        from dbtools.races.report import failure_of

        raise VerificationFailed(*failure_of(self))


def encode(scenario: Scenario, major: int, runs: Runs, statements: str = "") -> str:
    """Return the token of a schedule of this scenario on a server of this major version."""
    letters = [(chr(65 + actor), count) for actor, count in runs]
    return token.encode(token.shorten(scenario.name), scenario.fingerprint(major), letters, statements)
