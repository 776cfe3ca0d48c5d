"""Explains a failing schedule: runs it again under observation, and names its anomaly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbtools.races.naming import name_anomaly
from dbtools.races.overlap import composes
from dbtools.races.strategies import Replay, in_order

if TYPE_CHECKING:
    from dbtools.races.anomaly import Anomaly
    from dbtools.races.cures import Trial
    from dbtools.races.execution.lab import Lab
    from dbtools.races.judge import Judge
    from dbtools.races.run import RunResult
    from dbtools.races.schedule import Schedule
    from dbtools.races.trace import Step


@dataclass(frozen=True)
class Explanation:
    """What a failing run is called, and what helps."""

    run: RunResult
    anomaly: Anomaly | None
    """None where the run did not fail."""
    trials: list[Trial] = field(default_factory=list)
    """The cures that were tried."""


def observe(lab: Lab, judge: Judge, schedule: Schedule) -> tuple[RunResult, Anomaly | None]:
    """Return an observed run of a schedule, judged, and its anomaly; None where nothing failed."""
    run = lab.run(Replay(schedule), observed=True)
    judge.tolerate(run)
    judge.judge(run)
    return run, name_anomaly(run, _Answers(lab, run).matter) if run.failures else None


class _Answers:
    """What the statements of a run would have been answered, had the programs come one after the other."""

    def __init__(self, lab: Lab, run: RunResult) -> None:
        self._lab = lab
        self._run = run
        self._serial: dict[tuple[str, ...], list[tuple[str, int]]] = {}

    def matter(self, step: Step, other: str) -> bool:
        """Return whether a statement is answered otherwise where the actor `other` comes before its own.

        An answer that neither order has matters as well; and so does a statement that changes rows by what it reads,
        because its answer does not tell what that was. Where the two orders cannot be compared, because the program has
        sent something else by then, it counts as if it did.
        """
        if not step.choice or composes(step.sql):
            return True
        position = sum(one.choice and one.actor == step.actor for one in self._run.trace.steps[: step.number - 1])
        first, second = (
            self._answers(order, step.actor)[position : position + 1]
            for order in ((step.actor, other), (other, step.actor))
        )
        assert self._run.footprint is not None
        here = (step.sql, self._run.footprint.answers.get(step.number, 0))
        return not (first and second and first[0] == second[0] == here)

    def _answers(self, order: tuple[str, str], actor: str) -> list[tuple[str, int]]:
        """Return the statements of an actor and their answers in a serial order of two."""
        if (*order, actor) not in self._serial:
            by_name = {one.name: one for one in self._lab.scenario.actors}
            actors = [by_name[name] for name in order if name in by_name]
            run = self._lab.run(in_order(range(len(actors))), actors, serial=True, observed=True)
            assert run.footprint is not None
            for one in order:
                self._serial[*order, one] = [
                    (step.sql, run.footprint.answers.get(step.number, 0))
                    for step in run.trace.steps
                    if step.choice and step.actor == one
                ]
        return self._serial[*order, actor]
