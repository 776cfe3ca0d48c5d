"""Puts the reports of an exploration's shards together into one verdict.

What every shard has run, because all need it to know which schedules there are, is counted once. *Violated* it is if a
shard's is; *held* only if every shard tried its part, all saw the same parts, and each thing that has to be seen was
seen in one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.errors import ConfigurationError
from dbtools.races.evidence import lacking
from dbtools.races.result import ExplorationResult, Verdict
from dbtools.races.shards import WHOLE, Deal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dbtools.races.shard_report import Report


@dataclass(frozen=True)
class Merged:
    """What all shards prove."""

    result: ExplorationResult
    """Without the failing run."""
    of: int
    """How many shards there are."""
    violated: Report | None = None
    """The shard whose failure it is: the expected one if there is one; with the fewest switches; the first."""

    @property
    def as_expected(self) -> bool:
        """Whether it ended as the scenario expects."""
        return bool(self.violated.found["expected"]) if self.violated else self.result.as_expected

    @property
    def exit_code(self) -> int:
        """That of `race.explore`, had it found the same."""
        return 0 if self.as_expected else self.result.exit_code


def merge(reports: Sequence[Report]) -> Merged:
    """Return what the shards prove together.

    Raises:
        ConfigurationError: They are not of one exploration, one is there twice, or one is missing.
    """
    reports = sorted(reports, key=lambda report: report.shard)
    _require_one_exploration(reports)
    first, of = reports[0], reports[0].shard.of
    result = first.result
    result.deal = Deal(WHOLE, first.result.deal.count, first.result.deal.checksum)
    for report in reports[1:]:
        _add(result, report)
    found = [report for report in reports if report.found["verdict"] == Verdict.VIOLATED]
    if found:
        result.verdict = Verdict.VIOLATED
        lowest = min(found, key=lambda report: (not report.found["expected"], report.found["switches"], report.shard))
        return Merged(result, of, lowest)
    result.reason = _hindrance(reports) or lacking(result)
    if not result.reason:
        result.verdict = Verdict.HELD
        result.last_words = []
    return Merged(result, of)


def _add(result: ExplorationResult, report: Report) -> None:
    """Add what a shard has seen, but for what all have."""
    more, shared = report.result, report.shared
    counts = more.counts
    for name, counter in counts.items():
        counter.subtract(shared[name])
    for name in ("schedules", "outcomes", "waits", "tolerated", "unjudged"):
        getattr(result, name).update(+counts[name])
    result.starved += counts["starved"][""]
    result.left_out += counts["left out"][""]
    result.complete = min(result.complete, more.complete)
    result.silent &= more.silent
    result.switched = result.switched or more.switched
    result.longest = max(result.longest, more.longest)
    result.batch = max(result.batch, more.batch)
    result.not_compared = list(dict.fromkeys([*result.not_compared, *more.not_compared]))
    result.last_words = result.last_words or more.last_words
    result.seconds += more.seconds


def _hindrance(reports: Sequence[Report]) -> str:
    """Return what keeps the shards from proving anything, whatever was seen; "" if nothing does."""
    reasons: dict[str, list[str]] = {}
    for report in reports:
        if not report.proves:
            reasons.setdefault(str(report.found["reason"]), []).append(str(report.shard.number))
    if reasons:
        return " ".join(f"In shard {', '.join(numbers)}: {reason}" for reason, numbers in reasons.items())
    deals = {report.shard.number: report.result.deal for report in reports}
    for number, deal in deals.items():
        if (deal.count, deal.checksum) != (deals[1].count, deals[1].checksum):
            return (
                f"Shard {number} did not divide the same schedules as shard 1: {deal.count} and {deals[1].count} places"
                " for a first switch. The programs do not always do the same, so some schedules may be in no shard."
            )
    return ""


def _require_one_exploration(reports: Sequence[Report]) -> None:
    first = reports[0]
    for report in reports:
        for name, value in report.same.items():
            if value != first.same[name]:
                what = "number of shards" if name == "of" else name
                raise ConfigurationError(
                    "The reports are not of one exploration.",
                    f"They differ in the {what}: {first.same[name]} in {first.path}, {value} in {report.path}.",
                    "Explore every shard with the same scenario, version of PostgreSQL and options.",
                )
    paths: dict[int, Path] = {}
    for report in reports:
        if (number := report.shard.number) in paths:
            raise ConfigurationError(
                f"The report of {report.shard} is there twice.",
                f"It is in {paths[number]} and in {report.path}.",
                "Name the report of each shard once.",
            )
        paths[number] = report.path
    if missing := [number for number in range(1, first.shard.of + 1) if number not in paths]:
        some = ", ".join(map(str, missing[:10])) + (", …" if missing[10:] else "")
        raise ConfigurationError(
            f"Of {first.shard.of} shards, {len(missing)} {'is' if len(missing) == 1 else 'are'} missing.",
            f"There is no report of shard {some}.",
            f"Explore what is missing, with the same options: --shard {missing[0]}/{first.shard.of}",
        )
