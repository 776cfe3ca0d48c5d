"""Confirm a failure: shrink the run that has failed, replay what is left, and name the anomaly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.races.explanation import observe
from dbtools.races.result import Verdict
from dbtools.races.schedule import schedule_of, written
from dbtools.races.shrink import shrink
from dbtools.races.strategies import Replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.races.execution.lab import Lab
    from dbtools.races.judge import Judge
    from dbtools.races.result import ExplorationResult
    from dbtools.races.run import RunResult
    from dbtools.races.schedule import Schedule

REPLAYS = 2
"""How often a failure must come again before it is reported."""


def confirm(
    lab: Lab, judge: Judge, result: ExplorationResult, found: RunResult, note: Callable[[str], None] | None
) -> None:
    """Write the failing run into the result, as violated if it fails again; else with the reason.

    Without a `note` it is neither shrunk nor named.
    """
    result.scenario, result.schedule, result.failing = lab.scenario, schedule_of(found.choices), found

    def run_again(schedule: Schedule) -> RunResult:
        run = lab.run(Replay(schedule))
        judge.tolerate(run)
        return judge.judge(run)

    if note is not None:
        note(f"{lab.scenario.name}: {found.failure} found after {result.total} schedules; shrinking")
        result.schedule, result.failing = shrink(found, run_again)
    result.repeated = True
    for number in range(1, REPLAYS + 1):
        again = run_again(result.schedule)
        result.unsteady = result.unsteady or again.trace.shape != result.failing.trace.shape
        result.repeated = result.repeated and again.trace.statements == result.failing.trace.statements
        if again.failures != found.failures:
            result.reason = (
                f"{found.failure} was found, but replay {number} of its schedule {written(result.schedule)} gave"
                f" {again.ended}: something besides the schedule decides."
            )
            return
    result.verdict = Verdict.VIOLATED
    if note is not None:
        _, result.anomaly = observe(lab, judge, result.schedule)
