"""Prove a lock by schedules: the lab finds the race without it, none with it, and the race again with different keys.

The last part distinguishes a lock that works from one that has no effect. The programs are those of the project's
scenario `reset-vs-seed`, in its variants `unlocked`, `session-lock` and `different-keys`: their statements commit one
by one, so that only the lock keeps them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtools.errors import ServerError
from dbtools.races import report, store
from dbtools.races.explore import explore, replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.config import Project
    from dbtools.races.result import ExplorationResult

SCENARIO = "reset-vs-seed"
VARIANTS = {"unlocked": "without the lock", "session-lock": "with the lock", "different-keys": "with different keys"}
REPLAYS = 3


@dataclass(frozen=True)
class Proof:
    """What the three explorations found."""

    parts: tuple[tuple[str, ExplorationResult, int], ...] = ()
    """For each variant: its description, its result, and how many replays of the failure equalled it."""
    skipped: str = ""
    """Why nothing was explored; "" if it was."""

    @property
    def complaints(self) -> list[str]:
        """What contradicts the proof; empty if it holds or was skipped."""
        found = []
        for what, result, equal in self.parts:
            if not result.as_expected:
                wanted = result.scenario.expect or "held"
                found.append(
                    f"schedules {what}: {result.failure or result.reason or result.verdict}, expected {wanted}"
                )
            elif result.token and equal < REPLAYS:
                found.append(f"schedules {what}: {equal} of {REPLAYS} replays were equal")
        return found

    def lines(self) -> list[str]:
        """Return the results for people."""
        if self.skipped:
            return [f"Schedules: not tried. {self.skipped}"]
        results = [f"Schedules {what}:\n" + "\n".join(report.verdict(result)) for what, result, _ in self.parts]
        verdict = "✗ By schedules the lock is NOT proven." if self.complaints else "✓ By schedules the lock is proven."
        return [*results, verdict]

    def to_json(self) -> dict[str, Any]:
        """Return everything for a machine."""
        parts = {what: report.to_json(result) | {"equal replays": equal} for what, result, equal in self.parts}
        return {"skipped": self.skipped, "parts": parts}


def prove(project: Project, note: Callable[[str], None]) -> Proof:
    """Explore the three variants with one switch, on a throwaway server. Does not touch the target database."""
    path = project.races / f"{SCENARIO}.toml"
    if not path.is_file():
        return Proof(skipped=f"There is no {path}.")
    parts = []
    for variant, what in VARIANTS.items():
        scenario = store.find(project, SCENARIO, variant)
        try:
            found = explore(scenario, bound=1, server=project.server, note=note)
        except ServerError as error:
            return Proof(skipped=f"{error.what} {error.reason}")
        runs = replay(scenario, found.token, times=REPLAYS, server=project.server) if found.token else []
        equal = sum(found.failing is not None and run.trace.steps == found.failing.trace.steps for run in runs)
        parts.append((what, found, equal))
        note(f"schedules {what}: {found.failure or found.verdict}")
    return Proof(tuple(parts))
