"""The report of one shard of an exploration: what `race.explore --json` prints, and `race.merge` reads again."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbtools.errors import ConfigurationError
from dbtools.races.result import Counts, ExplorationResult, Verdict
from dbtools.races.scenario import Actor, Latch, Scenario
from dbtools.races.shards import Deal, Shard

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


def _no_report(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(f"{path} holds no report that can be merged.", why, _AGAIN)
