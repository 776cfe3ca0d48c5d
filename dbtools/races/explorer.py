"""Explore a scenario: run many of its schedules, and judge what they prove.

First the actors run one after the other, in every order, to know what is right (see `judge`). Then come all schedules
with 0 preemptions, 1, 2, up to a bound; then, on request, random ones. The first failure ends the search (if the
scenario expects a failure, the first of that kind), and is shrunk and replayed. The verdict is one of:

- *violated*: something failed. The token replays it.
- *held*: nothing failed in any schedule within the bound, although it could have: each actor sent SQL, at least one
  schedule preempted an actor, and the wait that the scenario names was seen.
- *inconclusive*: anything else, with the reason.

A statement is one step. No schedule can overlap two statements while both run in the server; latches can.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from dbtools.races.explanation import observe
from dbtools.races.judge import Judge
from dbtools.races.pruning import idle_waits
from dbtools.races.result import ExplorationResult, Verdict, counted
from dbtools.races.run import name_of
from dbtools.races.schedule import preemptions, schedule_of, written
from dbtools.races.shrink import shrink
from dbtools.races.strategies import BoundedPreemptions, Replay, in_order, pct, random_walk
from dbtools.races.trace import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbtools.races.execution.lab import Lab
    from dbtools.races.run import RunResult
    from dbtools.races.schedule import Schedule, Strategy

SERIAL = "one after the other"
REPLAYS = 2
"""How often a failure must come again before it is reported."""


class Explorer:
    """Explores the scenario of a lab. With a `judge`, a failure is neither shrunk nor named."""

    def __init__(
        self, lab: Lab, seed: int, note: Callable[[str], None], *, every: bool = False, judge: Judge | None = None
    ) -> None:
        self._lab = lab
        self._every = every
        self._given = judge is not None
        """The judge knows the serial orders already."""
        self._note = note
        silent = {actor.name for actor in lab.scenario.actors}
        self._result = ExplorationResult(lab.scenario, lab.major, silent=silent, seed=seed)
        self.judge = judge or Judge(lab, self._run_in_order)
        self._unjudged: Counter[str] = Counter()
        """Why runs could not be judged."""
        self._deadline = float("inf")
        self._longest = 1
        self._first_failure: RunResult | None = None
        """Of any kind."""

    def explore(self, bound: int, schedules: int, seconds: float, random: int, depth: int) -> ExplorationResult:
        """Return what was found; the parameters are those of `races.explore.explore`."""
        result, began = self._result, time.monotonic()
        self._deadline = began + seconds
        if self._given or self.judge.run_serial_orders():
            found = self._run_bounded(bound, schedules) or self._run_random(random, depth) or self._first_failure
            if found is not None:
                self._confirm(found)
            else:
                self._judge_held(bound)
        elif time.monotonic() > self._deadline:
            result.reason = "The time was up before the programs had run one after the other, in every order."
        else:
            result.reason = self.judge.alone
        if result.verdict is Verdict.INCONCLUSIVE:
            result.last_words = self.judge.last_words
        result.not_compared = self.judge.not_compared
        result.seconds = time.monotonic() - began
        return result

    def _run_bounded(self, bound: int, schedules: int) -> RunResult | None:
        search, result = BoundedPreemptions(bound), self._result
        for _ in range(schedules):
            schedule = search.next()
            result.complete, result.left_out = search.depth - 1, search.left_out
            if schedule is None or time.monotonic() > self._deadline:
                return None
            run = self._run(counted(search.depth), Replay(schedule))
            if run.cut:
                return None
            if self._is_wanted(run):
                return run
            search.learn(schedule, run.choices, [] if self._every else idle_waits(run))
        if search.next() is None:
            result.complete, result.left_out = bound, search.left_out
        return None

    def _run_random(self, count: int, depth: int) -> RunResult | None:
        actors = len(self._lab.scenario.all_actors)
        for number in range(count):
            if time.monotonic() > self._deadline:
                break
            seed = self._result.seed * 1_000_003 + number
            strategies = {"random walk": random_walk(seed), "PCT": pct(seed, depth, actors, self._longest)}
            for kind, strategy in strategies.items():
                run = self._run(kind, strategy)
                if self._is_wanted(run):
                    return run
        return None

    def _is_wanted(self, run: RunResult) -> bool:
        """Return whether the search ends here: with any failure, or with the one that the scenario expects."""
        if run.failures and self._first_failure is None:
            self._first_failure = run
        expect = self._lab.scenario.expect
        return expect in run.failures if expect else bool(run.failures)

    def _run(self, kind: str, strategy: Strategy) -> RunResult:
        run = self._lab.run(strategy, deadline=self._deadline)
        self._count(kind, run)
        self.judge.judge(run)
        result = self._result
        if run.cut:
            return run
        if run.failures:
            result.outcomes[run.failure] += 1
        result.tolerated.update({name_of(failure) for failure in run.trace.tolerated} if not run.trace.starved else ())
        result.starved += bool(run.trace.starved)
        result.switched = result.switched or (preemptions(run.choices) > 0 and not run.trace.starved)
        self._longest = max(self._longest, len(run.choices))
        return run

    def _run_in_order(self, order: Sequence[int]) -> RunResult:
        """Run actors one after the other."""
        actors = [self._lab.scenario.actors[number] for number in order]
        run = self._lab.run(in_order(range(len(order))), actors, deadline=self._deadline, serial=True)
        self._count(SERIAL, run)
        return run

    def _count(self, kind: str, run: RunResult) -> None:
        self.judge.tolerate(run)
        result, scenario = self._result, self._lab.scenario
        if run.cut:
            return
        result.schedules[kind] += 1
        result.sqlstates.update({step.sqlstate for step in run.trace.steps if step.sqlstate})
        result.silent -= {step.actor for step in run.trace.steps}
        for lock in {event.lock for event in run.trace.events if event.kind is EventKind.BLOCKED}:
            result.waits[lock] += 1
        if run.unjudged:
            self._unjudged[run.unjudged] += 1
        if result.total % 25 == 0:
            self._note(f"{scenario.name}: {result.total} schedules ({kind})")

    def _confirm(self, found: RunResult) -> None:
        """Shrink the failing run and replay it; it counts only if it fails again."""
        result = self._result
        schedule = schedule_of(found.choices)

        def run_again(schedule: Schedule) -> RunResult:
            run = self._lab.run(Replay(schedule))
            self.judge.tolerate(run)
            return self.judge.judge(run)

        result.schedule, result.failing = schedule, found
        if not self._given:
            self._note(f"{self._lab.scenario.name}: {found.failure} found after {result.total} schedules; shrinking")
            result.schedule, result.failing = shrink(found, run_again)
        result.repeated = True
        for number in range(1, REPLAYS + 1):
            again = run_again(result.schedule)
            result.unsteady = result.unsteady or again.trace.shape != result.failing.trace.shape
            result.repeated = result.repeated and again.trace.statements == result.failing.trace.statements
            if again.failures != found.failures:
                result.reason = (
                    f"{found.failure} was found, but replay {number} of its schedule {written(schedule)} gave"
                    f" {again.ended}: something besides the schedule decides."
                )
                return
        result.verdict = Verdict.VIOLATED
        if not self._given:
            _, result.anomaly = observe(self._lab, self.judge, result.schedule)

    def _judge_held(self, bound: int) -> None:
        """Decide whether it held: nothing has failed, so the question is whether something could have."""
        result, waits, actors = self._result, self._lab.scenario.waits, self._lab.scenario.actors
        unjudged = [
            f"{count} of {result.total} schedules could not be judged: {why}" for why, count in self._unjudged.items()
        ]
        if self.judge.alone:
            result.reason = self.judge.alone
        elif unjudged:
            result.reason = unjudged[0]
        elif result.silent:
            result.reason = f"{', '.join(sorted(result.silent))} sent no SQL."
        elif result.complete < min(1, bound):
            result.reason = f"Not even all schedules with 1 switch were tried: {result.total} are too few."
        elif not result.switched and result.starved:
            result.reason = (
                "In every schedule that preempted an actor, a program gave up waiting for one that could have gone on:"
                " give it more time."
            )
        elif not result.switched:
            result.reason = "No schedule preempted an actor: there is nothing to interleave."
            if self._longest <= len(actors):
                latches = "[latches.NAME]" if self._lab.scenario.file else "latches=[Latch(...)]"
                result.reason += f" A latch stops a statement in its middle: {latches}."
        elif waits and not any(waits in lock for lock in result.waits):
            result.reason = f"No schedule waited for {waits}, so the lock was not tested."
        else:
            result.verdict = Verdict.HELD
