"""Prove a lock by schedules: without it the race is found, with it none is, and different keys bring it back.

The last one is what tells a lock that works from one that nobody notices. The programs are those of the project's
scenario `reset-vs-seed`, in its variants `unlocked`, `session-lock` and `different-keys`: statements that commit one by
one, so that nothing but the lock stands between them.
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
PARTS = {"unlocked": "without the lock", "session-lock": "with the lock", "different-keys": "with different keys"}
REPLAYS = 3


@dataclass(frozen=True)
class Proof:
    """What the three explorations found."""

    parts: tuple[tuple[str, ExplorationResult, int], ...] = ()
    """What it was, what was found, and how many replays of the failure were equal."""
    skipped: str = ""
    """Why nothing was tried."""

    @property
    def complaints(self) -> list[str]:
        """What speaks against the proof; empty where it holds or was not tried."""
        found = []
        for what, one, equal in self.parts:
            if not one.as_expected:
                wanted = one.scenario.expect or "held"
                found.append(f"schedules {what}: {one.failure or one.reason or one.verdict}, expected {wanted}")
            elif one.token and equal < REPLAYS:
                found.append(f"schedules {what}: {equal} of {REPLAYS} replays were equal")
        return found

    def lines(self) -> list[str]:
        """What was found, for people."""
        if self.skipped:
            return [f"Schedules: not tried. {self.skipped}"]
        said = [f"Schedules {what}:\n" + "\n".join(report.verdict(one)) for what, one, _ in self.parts]
        sign = "✗ By schedules the lock is NOT proven." if self.complaints else "✓ By schedules the lock is proven."
        return [*said, sign]

    def to_json(self) -> dict[str, Any]:
        """Everything, for a machine."""
        parts = {what: report.to_json(one) | {"equal replays": equal} for what, one, equal in self.parts}
        return {"skipped": self.skipped, "parts": parts}


def prove(project: Project, note: Callable[[str], None]) -> Proof:
    """Explore the three variants with one switch, on a throwaway server; the target database is not touched."""
    path = project.races / f"{SCENARIO}.toml"
    if not path.is_file():
        return Proof(skipped=f"There is no {path}.")
    parts = []
    for variant, what in PARTS.items():
        scenario = store.find(project, SCENARIO, variant)
        try:
            found = explore(scenario, bound=1, note=note)
        except ServerError as error:
            return Proof(skipped=f"{error.what} {error.reason}")
        runs = replay(scenario, found.token, times=REPLAYS) if found.token else []
        equal = sum(found.failing is not None and one.trace.steps == found.failing.trace.steps for one in runs)
        parts.append((what, found, equal))
        note(f"schedules {what}: {found.failure or found.verdict}")
    return Proof(tuple(parts))
