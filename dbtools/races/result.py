"""What an exploration has tried and found, and what that proves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from dbtools.errors import VerificationFailed
from dbtools.races import render, token
from dbtools.races.schedule import preemptions
from dbtools.races.shards import WHOLE, Deal
from dbtools.words import number_of

if TYPE_CHECKING:
    from dbtools.races.anomaly import Anomaly
    from dbtools.races.run import RunResult
    from dbtools.races.scenario import Scenario
    from dbtools.races.schedule import Schedule


Counts: TypeAlias = "dict[str, Counter[str]]"


class Verdict(StrEnum):
    """What an exploration proves."""

    HELD = "held"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"


@dataclass
class ExplorationResult:
    """What was tried and what was found."""

    scenario: Scenario
    major: int
    verdict: Verdict = Verdict.INCONCLUSIVE
    reason: str = ""
    """Why it is inconclusive."""
    schedules: Counter[str] = field(default_factory=Counter)
    """How many schedules were run, by kind: "one after the other", "0 switches", "1 switch", "random walk", "PCT",
    "POS"."""
    left_out: int = 0
    """How many schedules were not run, because another one shows how they end (see `pruning`, `returns`)."""
    out_of_time: bool = False
    """Whether the search within the bound ended by the clock."""
    complete: int = -1
    """Largest number of preemptions for which every schedule was tried; -1 if not even 0 was completed."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """How many schedules failed, by `RunResult.failure`."""
    waits: Counter[str] = field(default_factory=Counter)
    """In how many schedules an actor waited for a lock, by the lock's name."""
    silent: set[str] = field(default_factory=set)
    """The actors that have sent no SQL."""
    switched: bool = False
    """Whether a schedule has preempted an actor."""
    overlaps: int = 0
    """How many statements of several programs create, alter or drop something."""
    stopped: set[Schedule] = field(default_factory=set)
    """The schedules in which such a statement was stopped in its middle, by a latch of the lab's own."""
    compositions: int = 0
    """How many statements read and change rows in one."""
    composed: set[Schedule] = field(default_factory=set)
    """The schedules in which such a statement was stopped before its first change, by a latch of the lab's own."""
    batch: int = 0
    """The largest number of statements that were one step."""
    not_compared: list[str] = field(default_factory=list)
    """What of the contents was not compared: columns that two runs of one order leave different, and the like."""
    last_words: list[str] = field(default_factory=list)
    """How the programs ended one after the other, and the last lines of what they printed."""
    starved: int = 0
    """In how many schedules a program gave up waiting while another one could have gone on."""
    tolerated: Counter[str] = field(default_factory=Counter)
    """What failed by design, or as it does one after the other, and in how many schedules."""
    sqlstates: Counter[str] = field(default_factory=Counter)
    """In how many schedules a statement failed with this SQLSTATE, whatever the program made of that."""
    unsteady: bool = False
    """Whether a replay failed in the same way, but not step for step: something besides the schedule decides."""
    repeated: bool = False
    """Whether the programs sent the same statements, apart from values, in every replay."""
    failing: RunResult | None = None
    """The failing run, shrunk."""
    schedule: Schedule = ()
    """Its schedule."""
    anomaly: Anomaly | None = None
    """What it is called."""
    seconds: float = 0.0
    seed: int = 0
    bound: int = 0
    """The largest number of preemptions that was asked for."""
    every: bool = False
    """Whether nothing was to be left out."""
    random: int = 0
    """How many schedules by random walk were asked for, and as many by PCT and by POS."""
    depth: int = 0
    """The depth that PCT looks for."""
    alone: str = ""
    """What fails also one after the other, in a sentence."""
    unjudged: Counter[str] = field(default_factory=Counter)
    """Why schedules could not be judged, and how many."""
    longest: int = 1
    """The most choices that a run had."""
    deal: Deal = field(default_factory=Deal)
    """The shard that this is of, and what was dealt."""
    shared: Counts | None = None
    """What every shard counts, before the first switch; None if it was not reached."""

    @property
    def interleaved(self) -> bool:
        """Whether something came in between the statements of a program, or into the middle of one."""
        return self.switched or bool(self.stopped or self.composed)

    @property
    def counts(self) -> Counts:
        """Copies of what is counted so far, by the names that `report.to_json` has for it."""
        return {
            "schedules": Counter(self.schedules),
            "outcomes": Counter(self.outcomes),
            "waits": Counter(self.waits),
            "tolerated": Counter(self.tolerated),
            "unjudged": Counter(self.unjudged),
            "starved": Counter({"": self.starved}),
            "left out": Counter({"": self.left_out}),
        }

    @property
    def label(self) -> str:
        """The scenario's name, and which shard this is."""
        shard = self.deal.shard
        return f"{self.scenario.name}{f', {shard}' if shard != WHOLE else ''}"

    @property
    def is_part(self) -> bool:
        """Whether this is a shard that was tried as far as it has to be, and in which nothing failed."""
        return self.deal.shard != WHOLE and self.verdict is Verdict.INCONCLUSIVE and not self.reason

    @property
    def failures(self) -> frozenset[str]:
        """What failed, as in `RunResult.failures`."""
        return self.failing.failures if self.failing else frozenset()

    @property
    def failure(self) -> str:
        """The same for people; "" where nothing did."""
        return self.failing.failure if self.failing else ""

    @property
    def switches(self) -> int:
        """How many preemptions the failing run has."""
        return preemptions(self.failing.choices) if self.failing else 0

    @property
    def token(self) -> str:
        """The token of the failing schedule, or ""."""
        if self.failing is None:
            return ""
        statements = self.failing.trace.fingerprint if self.repeated else ""
        return encode(self.scenario, self.major, self.schedule, statements)

    @property
    def total(self) -> int:
        """How many schedules were run."""
        return sum(self.schedules.values())

    @property
    def as_expected(self) -> bool:
        """Whether it ended as the scenario expects."""
        if self.scenario.expect:
            return self.verdict is Verdict.VIOLATED and self.scenario.expect in self.failures
        return self.verdict is Verdict.HELD

    @property
    def exit_code(self) -> int:
        """The exit code of a task that has found this."""
        if self.as_expected or self.is_part:
            return 0
        return 1 if self.verdict is Verdict.INCONCLUSIVE else VerificationFailed.exit_code

    @property
    def evidence(self) -> str:
        """What was tried, in one line."""
        waits = ", ".join(f"{lock or 'something unnamed'} in {count}" for lock, count in self.waits.most_common(3))
        waits = f"waits seen: {waits} of {self.total}" if waits else "no wait for a lock was seen"
        return f"{number_of(self.total, 'schedule')} in {self.seconds:.1f} s; {waits}."

    @property
    def error(self) -> VerificationFailed:
        """The error for an exploration that did not end as expected."""
        name = self.scenario.name
        if self.verdict is Verdict.VIOLATED and self.failing is not None:
            return VerificationFailed(
                f"The race {name} is there: {self.failure}, with {counted(self.switches)}.",
                render.text(self.failing.trace, token=self.token),
                f"To see it again: invoke race.replay {self.token}",
            )
        if self.verdict is Verdict.HELD:
            return VerificationFailed(
                f"The race {name} was not found; expected {self.scenario.expect}.",
                self.evidence,
                "Look for it with more switches (--bound), or with random schedules (--random 200).",
            )
        return VerificationFailed(
            f"The exploration of the race {name} was inconclusive.",
            self.reason,
            "See what the programs do: invoke race.show SCENARIO draws a run of one after the other.",
        )

    def require_held(self) -> ExplorationResult:
        """Return this result if the scenario held.

        Raises:
            VerificationFailed: It did not. The message holds the token, and the run as a picture.
        """
        if self.verdict is Verdict.HELD:
            return self
        raise self.error


def counted(switches: int) -> str:
    """Return a number of switches in words: "1 switch"."""
    return number_of(switches, "switch", "switches")


def encode(scenario: Scenario, major: int, schedule: Schedule, statements: str = "") -> str:
    """Return the token of a schedule of this scenario on a server of this major version."""
    runs = [(token.letter(actor), count) for actor, count in schedule]
    return token.encode(token.shorten(scenario.name), scenario.fingerprint(major), runs, statements)
