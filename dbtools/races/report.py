"""What an exploration found, in sentences and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dbtools.races import render as picture
from dbtools.races.explore import BLIND, LATCHED
from dbtools.races.result import Explored, Verdict
from dbtools.races.strategies import preemptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtools.races.execution.lab import Played
    from dbtools.races.scenario import Scenario


def switches(count: int) -> str:
    """Return the number in words: "1 switch"."""
    return f"{count} switch{'' if count == 1 else 'es'}"


def verdict(found: Explored) -> list[str]:
    """Return the verdict and its evidence, a sentence a line."""
    name = found.scenario.name
    if found.verdict is Verdict.VIOLATED and found.played is not None:
        count = preemptions(found.played.choices)
        sign, how = ("✓", "violated, as expected") if found.as_expected else ("✗", "violated")
        lines = [f"{sign} {name}: {how}. {found.failure}, with {switches(count)}."]
        lines += [f"  {one.detail}" for one in found.played.trace.failures]
        others = [f"{one} in {count}" for one, count in found.outcomes.items() if one != found.failure]
        lines += [f"  Other failures on the way: {', '.join(others)}."] if others else []
        if found.unsteady:
            lines.append("  Its replays failed so too, but not step for step: the programs do not always do the same.")
        lines.append(f"  Token: {found.token}")
    elif found.verdict is Verdict.HELD:
        tried = sum(number for kind, number in found.schedules.items() if "switch" in kind)
        lines = [f"✓ {name}: held. All schedules with up to {switches(found.complete)}: {tried}, none fails."]
        if found.left_out:
            lines.append(f"  Left out: {found.left_out}, and what follows from them; they only begin a wait later.")
        others = [f"{number} {kind}" for kind, number in found.schedules.items() if "switch" not in kind]
        more = sum(number for kind, number in found.schedules.items() if kind.startswith(f"{found.complete + 1} "))
        lines += [f"  Of those with one more, {more} were tried."] if more else []
        lines += [f"  Besides: {', '.join(others)}; none fails."] if others else []
    else:
        lines = [f"? {name}: inconclusive. {found.reason}"]
    return [*lines, f"  {evidence(found)}", f"  {LATCHED if found.scenario.latches else BLIND}"]


def evidence(found: Explored) -> str:
    """Return what was tried, in one line."""
    waits = ", ".join(f"{lock or 'something unnamed'} in {count}" for lock, count in found.waits.most_common(3))
    waits = f"waits seen: {waits} of {found.total}" if waits else "nobody waited for a lock"
    unstable = f" Not compared, as one order leaves it different: {', '.join(sorted(found.unstable))}."
    return f"{found.total} schedules in {found.seconds:.1f} s; {waits}.{unstable if found.unstable else ''}"


def to_json(found: Explored) -> dict[str, Any]:
    """Return everything for a machine."""
    return {
        "scenario": found.scenario.name,
        "verdict": found.verdict,
        "expected": found.as_expected,
        "reason": found.reason,
        "failure": found.failure,
        "token": found.token,
        "unsteady": found.unsteady,
        "switches": preemptions(found.played.choices) if found.played else None,
        "schedules": dict(found.schedules),
        "left out": found.left_out,
        "complete": found.complete,
        "outcomes": dict(found.outcomes),
        "waits": dict(found.waits),
        "seconds": round(found.seconds, 3),
        "seed": found.seed,
        "trace": asdict(found.played.trace) if found.played else None,
    }


def failure_of(found: Explored) -> tuple[str, str, str]:
    """Return what, why and what to do next, of an exploration that did not end well."""
    name = found.scenario.name
    if found.verdict is Verdict.VIOLATED and found.played is not None:
        count = preemptions(found.played.choices)
        return (
            f"The race {name} is there: {found.failure}, with {switches(count)}.",
            picture.text(found.played.trace, token=found.token),
            f"To see it again: invoke race.replay {found.token}",
        )
    if found.verdict is Verdict.HELD:
        return (
            f"The race {name} was not found; expected {found.scenario.expect}.",
            evidence(found),
            "Look for it with more switches (--bound), or with random schedules (--random 200).",
        )
    return (
        f"Nothing can be said of the race {name}.",
        found.reason,
        "See what the programs do: invoke race.show SCENARIO draws their run one after the other.",
    )


def replayed(runs: Sequence[Played], text: str) -> list[str]:
    """Return what came of the replays of a token."""
    ends = [one.failure or one.diverged or one.trace.stalled or "no failure" for one in runs]
    same = sum(one.trace.steps == runs[0].trace.steps and one.trace.events == runs[0].trace.events for one in runs)
    lines = [f"{ends.count(one)} of {len(runs)}: {one}" for one in dict.fromkeys(ends)]
    if len(runs) > 1:
        lines.append(f"{same} of {len(runs)} went step for step as the first.")
    return [f"{text}:", *(f"  {line}" for line in lines)]


def replayed_json(runs: Sequence[Played], text: str) -> dict[str, Any]:
    """Return the same for a machine."""
    shown = [{"failure": one.failure, "diverged": one.diverged, "trace": asdict(one.trace)} for one in runs]
    return {"token": text, "runs": shown}


def is_expected(scenario: Scenario, played: Played) -> bool:
    """Return whether a run ended as the scenario says."""
    return scenario.expect in played.failure.split(", ") if scenario.expect else not played.failure
