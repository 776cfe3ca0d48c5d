"""Explore a scenario: run many of its schedules, and judge what they prove.

First the actors run one after the other, in every order, to know what is right (see `judge`). Then come all schedules
with 0 preemptions, 1, 2, up to a bound; then, on request, random ones. Without a bound it is `BOUND`, and the search
goes on with one preemption more, for at most `MORE_S`: a failure found there counts, and what was not tried there takes
nothing from what holds within `BOUND`. A shard does not go on. The first failure ends the search (if the scenario
expects a failure, the first of that kind), and is shrunk and replayed. The verdict is one of:

- *violated*: something failed. The token replays it.
- *held*: nothing failed in any schedule within the bound, although it could have: each actor sent SQL, at least one
  schedule preempted an actor, and the wait that the scenario names was seen.
- *inconclusive*: anything else, with the reason.

A statement is one step. No schedule can overlap two statements while both run in the server; latches can. Where several
programs define something and nothing has failed, the lab tries latches of its own (see `overlap`).
"""

from __future__ import annotations

import time
from itertools import islice, starmap
from typing import TYPE_CHECKING

from dbtools.races.confirmation import confirm
from dbtools.races.evidence import lacking
from dbtools.races.judge import Judge
from dbtools.races.overlap import ROWS, Overlaps, was_stopped
from dbtools.races.pruning import idle_waits
from dbtools.races.result import ExplorationResult, Verdict, counted
from dbtools.races.run import name_of
from dbtools.races.schedule import preemptions
from dbtools.races.shards import WHOLE, Deal
from dbtools.races.strategies import BoundedPreemptions, Replay, in_order, pct, pos, random_walk
from dbtools.races.trace import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dbtools.races.execution.lab import Lab
    from dbtools.races.execution.workers import Task
    from dbtools.races.run import RunResult
    from dbtools.races.scenario import Scenario
    from dbtools.races.shards import Shard

BOUND = 2
"""How many preemptions the search has that must be complete, where no bound is named."""
MORE_S = 60.0
"""How long it then goes on by itself, with one more."""
MOST_LATCHED = 40
"""How many schedules with latches of its own the lab tries."""
SERIAL, LATCHED = "one after the other", "with a latch"


class Explorer:
    """Explores the scenario of a lab. With a `judge`, a failure is neither shrunk nor named."""

    def __init__(
        self,
        lab: Lab,
        seed: int,
        note: Callable[[str], None],
        *,
        every: bool = False,
        shard: Shard = WHOLE,
        judge: Judge | None = None,
    ) -> None:
        self._lab = lab
        self._every = every
        self._given = judge is not None
        """The judge knows the serial orders already."""
        self._note = note
        silent = {actor.name for actor in lab.scenario.actors}
        self._result = ExplorationResult(lab.scenario, lab.major, silent=silent, seed=seed, every=every)
        self._result.deal = Deal(shard)
        self.judge = judge or Judge(lab, self._run_in_order)
        self._deadline = float("inf")
        self._first_failure: tuple[Scenario, RunResult] | None = None
        """Of any kind, and the scenario of that run, which may have a latch."""
        self._overlaps = Overlaps(lab.scenario, lab.functions)

    def explore(self, bound: int | None, schedules: int, seconds: float, random: int, depth: int) -> ExplorationResult:
        """Return what was found; the parameters are those of `races.explore.explore`."""
        result, began = self._result, time.monotonic()
        result.bound, result.random, result.depth = BOUND if bound is None else bound, random, depth
        self._deadline = began + seconds
        if self._given or self.judge.run_serial_orders():
            found = self._run_bounded(bound, schedules) or self._run_latched() or self._run_random(random, depth)
            if found is None and self._first_failure is not None:
                self._lab.scenario, found = self._first_failure
            if found is not None:
                confirm(self._lab, self.judge, self._result, found, None if self._given else self._note)
            else:
                self._judge_held()
        elif time.monotonic() > self._deadline:
            result.reason = "The time was up before the programs had run one after the other, in every order."
        else:
            result.reason = self.judge.alone
        if result.verdict is Verdict.INCONCLUSIVE:
            result.last_words = self.judge.last_words
        result.not_compared = self.judge.not_compared
        result.seconds = time.monotonic() - began
        return result

    def _run_bounded(self, bound: int | None, schedules: int) -> RunResult | None:
        result, until = self._result, self._deadline
        search = BoundedPreemptions(result.bound, result.deal)
        goes_on = bound is None and result.deal.shard == WHOLE
        for number in range(schedules):
            before = search.depth
            schedule = search.next()
            result.complete, result.left_out = search.depth - 1, search.left_out
            if search.depth and result.shared is None:
                result.shared = result.counts
            if goes_on and before < search.depth == BOUND and search.ahead < schedules - number:
                search.raise_bound()
            if goes_on and before == BOUND < search.depth:
                until = min(until, time.monotonic() + MORE_S)
            if schedule is None:
                return None
            if time.monotonic() > until:
                result.out_of_time = True
                return None
            following = islice(((Replay, (later,)) for later in search.following()), schedules - number - 1)
            run = self._run(counted(search.depth), (Replay, (schedule,)), following)
            if run.cut:
                result.out_of_time = True
                return None
            if self._is_wanted(run):
                return run
            if self._every:
                search.learn(schedule, run.choices)
            else:
                search.learn(schedule, run.choices, idle_waits(run), self._lab.reaches(run))
        if search.next() is None:
            result.complete, result.left_out = search.bound, search.left_out
        return None

    def _run_latched(self) -> RunResult | None:
        """Overlap the statements that define something; on a failure the lab's scenario is left with the latch."""
        plain, until = self._lab.scenario, min(self._deadline, time.monotonic() + MORE_S)
        is_tried = not self._given and self._result.deal.shard == WHOLE
        schedules = [*self._overlaps.schedules(self._result.bound)] if is_tried else []
        for scenario, schedule in schedules[:MOST_LATCHED]:
            if time.monotonic() > until:
                break
            self._lab.scenario = scenario
            run = self._run(LATCHED, (Replay, (schedule,)), ())
            if was_stopped(scenario, run):
                (self._result.composed if scenario.latches == [ROWS] else self._result.stopped).add(schedule)
            if self._is_wanted(run):
                return run
        self._lab.scenario = plain
        return None

    def _run_random(self, count: int, depth: int) -> RunResult | None:
        numbers = [number for number in range(count) if self._result.deal.shard.has(number)]
        kinds = [(number, kind) for number in numbers for kind in ("random walk", "PCT", "POS")]

        def task(number: int, kind: str) -> Task:
            seed = self._result.seed * 1_000_003 + number
            if kind == "PCT":
                return pct, (seed, depth, len(self._lab.scenario.all_actors), self._result.longest)
            if kind == "POS":
                return pos, (seed, tuple(self._lab.start.tables))
            return random_walk, (seed,)

        for place, (number, kind) in enumerate(kinds, 1):
            if time.monotonic() > self._deadline:
                break
            run = self._run(kind, task(number, kind), starmap(task, islice(kinds, place, None)))
            if self._is_wanted(run):
                return run
        return None

    def _is_wanted(self, run: RunResult) -> bool:
        """Return whether the search ends here: with any failure, or with the one that the scenario expects."""
        if run.failures and self._first_failure is None:
            self._first_failure = self._lab.scenario, run
        expect = self._lab.scenario.expect
        return expect in run.failures if expect else bool(run.failures)

    def _run(self, kind: str, task: Task, following: Iterable[Task]) -> RunResult:
        make, arguments = task
        if self._lab.workers and kind != LATCHED:  # theirs is the scenario without the latch
            run = self._lab.workers.run(task, following, self._lab.patience, self._deadline)
        else:
            run = self._lab.run(make(*arguments), deadline=self._deadline)
        self._count(kind, run)
        self.judge.judge(run)
        result = self._result
        if run.cut:
            return run
        if run.failures:
            result.outcomes[run.failure] += 1
        result.tolerated.update({name_of(failure) for failure in run.trace.tolerated} if not run.trace.starved else ())
        result.starved += bool(run.trace.starved)
        switched = kind != LATCHED and preemptions(run.choices) > 0
        result.switched = result.switched or (switched and not run.trace.starved)
        result.longest = max(result.longest, len(run.choices))
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
        self._overlaps.learn(run)
        result.overlaps, result.compositions = self._overlaps.definitions, self._overlaps.composed
        result.batch = max(result.batch, *(step.commands for step in run.trace.steps), 0)
        result.sqlstates.update({step.sqlstate for step in run.trace.steps if step.sqlstate})
        result.silent -= {step.actor for step in run.trace.steps}
        latches = {latch.actor.name for latch in scenario.latches} if kind == LATCHED else set()
        waits = [event for event in run.trace.events if event.kind is EventKind.BLOCKED and not latches & {*event.on}]
        for lock in {event.lock for event in waits}:
            result.waits[lock] += 1
        if run.unjudged and kind != LATCHED:  # what was not overlapped takes nothing from what holds without
            result.unjudged[run.unjudged] += 1
        if result.total % 25 == 0:
            self._note(f"{scenario.name}: {result.total} schedules ({kind})")

    def _judge_held(self) -> None:
        """Decide whether it held: nothing has failed, so the question is whether something could have."""
        result = self._result
        result.alone = self.judge.alone
        result.reason = lacking(result)
        if not result.reason and result.deal.shard == WHOLE:
            result.verdict = Verdict.HELD
