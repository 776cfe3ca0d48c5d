"""Puts the reports of an exploration's shards together into one verdict.

A report is what `race.explore --json` prints. What every shard has run, because all need it to know which schedules
there are, is counted once. *Violated* it is if a shard's is; *held* only if every shard tried its part, all saw the
same parts, and each thing that has to be seen was seen in one of them.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbtools.errors import ConfigurationError
from dbtools.races.evidence import lacking
from dbtools.races.result import Counts, ExplorationResult, Verdict
from dbtools.races.scenario import Actor, Latch, Scenario
from dbtools.races.shards import WHOLE, Deal, Shard

if TYPE_CHECKING:
    from collections.abc import Sequence

SAME = ("scenario", "definition", "major", "bound", "every", "seed", "random", "depth", "of")
"""What must be equal in all reports."""
_AGAIN = "Write it again: invoke race.explore SCENARIO --shard 1/8 --json > FILE"


@dataclass(frozen=True)
class Report:
    """What one shard has found."""

    path: Path
    shard: Shard
    found: dict[str, Any]
    """The report."""
    result: ExplorationResult
    """The same, without the failing run."""
    proves: bool
    """Whether nothing failed, and the shard was tried as far as it has to be."""
    shared: Counts
    """What every shard counts."""

    @property
    def same(self) -> dict[str, object]:
        """What must be equal in all reports."""
        every = {**self.found, **self.found["shard"]}
        return {name: every[name] for name in SAME}


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


def part(found: ExplorationResult) -> dict[str, Any]:
    """Return what a report needs to be merged, for JSON."""
    scenario, shard = found.scenario, found.deal.shard
    counts = found.counts if found.shared is None else found.shared
    return {
        "number": shard.number,
        "of": shard.of,
        "definition": scenario.fingerprint(found.major),
        "major": found.major,
        "bound": found.bound,
        "every": found.every,
        "random": found.random,
        "depth": found.depth,
        "proves": found.is_part or found.verdict is Verdict.HELD,
        "dealt": found.deal.count,
        "checksum": found.deal.checksum,
        "actors": [actor.name for actor in scenario.actors],
        "latches": [latch.name for latch in scenario.latches],
        "file": str(scenario.file or ""),
        "expect": scenario.expect,
        "wanted wait": scenario.waits,
        "silent": sorted(found.silent),
        "switched": found.switched,
        "longest": found.longest,
        "unjudged": dict(found.unjudged),
        "shared": {name: dict(counter) for name, counter in counts.items()},
    }


def read(path: Path) -> Report:
    """Return a report.

    Raises:
        ConfigurationError: The file cannot be read, or holds none that can be merged.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"The report {path} cannot be read.",
            f"{error.strerror}.",
            "Name the files that race.explore --json wrote, one for each shard.",
        ) from None
    except ValueError as error:
        raise _no_report(path, f"It is not JSON: {error}.") from None
    if isinstance(found, dict) and isinstance(found.get("error"), dict):
        raise _no_report(
            path, f"That shard failed: {' '.join(str(found['error'].get(key)) for key in ('what', 'why'))}"
        )
    try:
        return _parse(path, found)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _no_report(path, "It is of another task, or of another version of dbtools.") from None


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


def _parse(path: Path, found: dict[str, Any]) -> Report:
    shard = found["shard"]
    scenario = Scenario(
        found["scenario"],
        [Actor(str(name)) for name in shard["actors"]],
        latches=[Latch(str(name)) for name in shard["latches"]],
        waits=shard["wanted wait"],
        expect=shard["expect"],
        file=Path(shard["file"]) if shard["file"] else None,
    )
    result = ExplorationResult(
        scenario,
        int(shard["major"]),
        schedules=Counter(found["schedules"]),
        left_out=int(found["left out"]),
        complete=int(found["complete"]),
        outcomes=Counter(found["outcomes"]),
        waits=Counter(found["waits"]),
        silent=set(shard["silent"]),
        switched=bool(shard["switched"]),
        not_compared=list(found["not compared"]),
        last_words=list(found["last words"]),
        starved=int(found["starved"]),
        tolerated=Counter(found["tolerated"]),
        seconds=float(found["seconds"]),
        seed=found["seed"],
        bound=int(shard["bound"]),
        every=shard["every"],
        random=shard["random"],
        depth=shard["depth"],
        batch=int(found["batch"]),
        unjudged=Counter(shard["unjudged"]),
        longest=int(shard["longest"]),
        deal=Deal(Shard(int(shard["number"]), int(shard["of"])), int(shard["dealt"]), int(shard["checksum"])),
    )
    shared = {name: Counter(shard["shared"][name]) for name in result.counts}
    report = Report(path, result.deal.shard, found, result, bool(shard["proves"]), shared)
    Verdict(found["verdict"])
    _ = (
        report.same,
        found["reason"],
        found["failure"],
        found["expected"],
        found["switches"],
        found["token"],
        found["overlapped"],
    )
    return report


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


def _no_report(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(f"{path} holds no report that can be merged.", why, _AGAIN)
