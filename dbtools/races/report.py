"""What an exploration found, in sentences and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dbtools.races import render
from dbtools.races.result import ExplorationResult, Verdict, counted
from dbtools.races.shard_report import part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtools.races.anomaly import Anomaly
    from dbtools.races.explanation import Explanation
    from dbtools.races.merge import Merged
    from dbtools.races.run import RunResult
    from dbtools.races.scenario import Scenario

BLIND = "Statements were not overlapped: what two do to each other inside the server while both run was not tried."
PART = "It is a part: race.merge says what all shards prove."
LATCHED = "Statements were overlapped at the latches only."
BATCH = "A request of up to {} statements was one step: nothing came in between them."
STOPPED = "Statements that a latch of the lab's own stopped in their middle: {}. Others were not overlapped."


def verdict(found: ExplorationResult) -> list[str]:
    """Return the verdict and its evidence, in lines."""
    name = found.label
    if found.verdict is Verdict.VIOLATED and found.failing is not None:
        sign, how = ("✓", "violated, as expected") if found.as_expected else ("✗", "violated")
        lines = [f"{sign} {name}: {how}. {found.failure}, with {counted(found.switches)}."]
        lines += [f"  {failure.detail}" for failure in found.failing.trace.failures]
        tables = [table for failure in found.failing.trace.failures for table in failure.differences]
        lines += [f"    {line}" for line in render.rows_that_differ(tables)]
        others = [f"{outcome} in {count}" for outcome, count in found.outcomes.items() if outcome != found.failure]
        lines += [f"  Other failures on the way: {', '.join(others)}."] if others else []
        if found.unsteady:
            lines.append("  Its replays failed so too, but not step for step: the programs do not always do the same.")
        lines += [f"  {line}" for line in named(found.anomaly)] if found.anomaly else []
        lines.append(f"  Token: {found.token}")
        lines += [f"  To have cures tried: invoke race.explain {found.token}"] if found.anomaly else []
    elif found.verdict is Verdict.HELD or found.is_part:
        within = {counted(switches) for switches in range(found.complete + 1)}
        tried = sum(number for kind, number in found.schedules.items() if kind in within)
        more = found.schedules[counted(found.complete + 1)]
        beyond = f", and {more} of those with {found.complete + 1}; none fails." if more else ", none fails."
        but = ", but not all was compared" if found.not_compared else ""
        held = "nothing fails in it. All of its" if found.is_part else f"held{but}. All"
        lines = [f"✓ {name}: {held} schedules with up to {counted(found.complete)}: {tried}{beyond}"]
        if found.left_out:
            lines.append(f"  Left out: {found.left_out}, and what follows from them: others show how they end.")
        others = [f"{number} {kind}" for kind, number in found.schedules.items() if "switch" not in kind]
        lines += [f"  Besides: {', '.join(others)}; none fails."] if others else []
        lines += [f"  {PART}"] if found.is_part else []
    else:
        lines = [f"? {name}: inconclusive. {found.reason}"]
        lines += [f"  {line}" for line in found.last_words]
    if found.not_compared:
        lines.append(f"  Not compared: {', '.join(found.not_compared)}.")
    if found.tolerated:
        seen = ", ".join(f"{failure} in {count}" for failure, count in found.tolerated.items())
        lines.append(f"  No race, by design or as one after the other: {seen}.")
    if found.starved:
        lines.append(f"  In {found.starved} a program gave up waiting for one that could have gone on: no race.")
    lines += [f"  {BATCH.format(found.batch)}"] if found.batch > 1 else []
    return [*lines, f"  {found.evidence}", f"  {_overlapped(found)}"]


def _overlapped(found: ExplorationResult) -> str:
    """Return which statements were overlapped."""
    kinds = (
        (found.stopped, found.overlaps, "create, alter or drop something"),
        (found.composed, found.compositions, "read and change rows in one"),
    )
    if found.stopped or found.composed:
        return STOPPED.format(" and ".join(f"{len(some)} of the {of} that {what}" for some, of, what in kinds if of))
    return LATCHED if found.scenario.latches else BLIND


def named(anomaly: Anomaly) -> list[str]:
    """Return an anomaly's name and what it depends on, in lines."""
    return [f"Anomaly: {anomaly.name}. {anomaly.why}", *(f"  {line}" for line in anomaly.evidence)]


def to_json(found: ExplorationResult) -> dict[str, Any]:
    """Return everything that was found, for JSON."""
    return {
        "scenario": found.scenario.name,
        "verdict": found.verdict,
        "expected": None if found.is_part else found.as_expected,
        "reason": PART if found.is_part else found.reason,
        "failure": found.failure,
        "token": found.token,
        "unsteady": found.unsteady,
        "anomaly": anomaly_json(found.anomaly) if found.anomaly else None,
        "switches": found.switches if found.failing else None,
        "schedules": dict(found.schedules),
        "left out": found.left_out,
        "overlapped": len(found.stopped | found.composed),
        "batch": found.batch,
        "complete": found.complete,
        "outcomes": dict(found.outcomes),
        "not compared": found.not_compared,
        "tolerated": dict(found.tolerated),
        "starved": found.starved,
        "last words": found.last_words,
        "waits": dict(found.waits),
        "seconds": round(found.seconds, 3),
        "seed": found.seed,
        "trace": asdict(found.failing.trace) if found.failing else None,
        "shard": part(found),
    }


def merged(found: Merged) -> list[str]:
    """Return the verdict of all shards and its evidence, in lines."""
    if found.violated is None:
        first, *rest = verdict(found.result)
        return [first, f"  Merged from {found.of} shards.", *rest]
    one, sign = found.violated.found, "✓" if found.as_expected else "✗"
    how = "violated, as expected" if found.as_expected else "violated"
    where, result = f"in {found.violated.shard}", found.result
    lines = [f"{sign} {result.scenario.name}: {how} {where}. {one['failure']}, with {counted(one['switches'])}."]
    lines += [f"  {failure['detail']}" for failure in one["trace"]["failures"]]
    if anomaly := one["anomaly"]:
        lines += [f"  Anomaly: {anomaly['name']}. {anomaly['why']}", *(f"    {line}" for line in anomaly["evidence"])]
    lines.append(f"  Token: {one['token']}")
    return [*lines, f"  {result.evidence}", f"  {LATCHED if result.scenario.latches else BLIND}"]


def merged_json(found: Merged) -> dict[str, Any]:
    """Return the same for JSON, in the form of an exploration's report."""
    shown = to_json(found.result)
    if found.violated:
        names = ("expected", "failure", "token", "unsteady", "anomaly", "switches", "trace")
        shown |= {name: found.violated.found[name] for name in names}
    return shown | {"shards": found.of}


def explained(found: Explanation) -> list[str]:
    """Return what a failing run is called, and what came of each cure, in lines."""
    assert found.anomaly is not None
    lines = [f"{found.run.failure}: {found.anomaly.name}.", f"  {found.anomaly.why}"]
    lines += [f"    {line}" for line in found.anomaly.evidence]
    width = max(len(trial.cure) for trial in found.trials)
    lines += ["Cures, each tried on the unmodified programs:"]
    for trial in found.trials:
        lines.append(f"  {trial.cure:{width}}  {trial.verdict}")
        lines += [f"  {'':{width}}  {trial.detail}"] if not trial.held else []
    return [*lines, *dict.fromkeys(f"  {trial.detail}" for trial in found.trials if trial.held)]


def explained_json(found: Explanation, scenario: Scenario, text: str) -> dict[str, Any]:
    """Return the same for JSON."""
    return {
        "scenario": scenario.name,
        "token": text,
        "failure": found.run.failure,
        "anomaly": anomaly_json(found.anomaly) if found.anomaly else None,
        "cures": [asdict(trial) for trial in found.trials],
    }


def anomaly_json(anomaly: Anomaly) -> dict[str, Any]:
    """Return an anomaly for JSON."""
    dependencies = [
        {
            "kind": one.kind,
            "relation": one.relation,
            "rows": sorted(one.rows),
            "from": {"actor": one.first.actor, "step": one.first.number},
            "to": {"actor": one.second.actor, "step": one.second.number},
        }
        for one in anomaly.dependencies
    ]
    return {"name": anomaly.name, "why": anomaly.why, "dependencies": dependencies, "evidence": anomaly.evidence}


def replayed(runs: Sequence[RunResult], text: str) -> list[str]:
    """Return how the replays of a token ended, in lines."""
    ends = [run.ended for run in runs]
    same = sum(run.trace.shape == runs[0].trace.shape for run in runs)
    lines = [f"{ends.count(end)} of {len(runs)}: {end}" for end in dict.fromkeys(ends)]
    if len(runs) > 1:
        lines.append(f"{same} of {len(runs)} went step for step as the first.")
    return [f"{text}:", *(f"  {line}" for line in lines)]


def replayed_json(runs: Sequence[RunResult], text: str) -> dict[str, Any]:
    """Return the replays of a token, for JSON."""
    shown = [{"failure": run.failure, "diverged": run.diverged, "trace": asdict(run.trace)} for run in runs]
    return {"token": text, "runs": shown}


def is_expected(scenario: Scenario, run: RunResult) -> bool:
    """Return whether a run ended as the scenario expects."""
    return scenario.expect in run.failures if scenario.expect else not run.failures
