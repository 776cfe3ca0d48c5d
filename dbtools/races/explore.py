"""Explore a scenario: run many of its schedules, and judge what they prove.

First the actors run one after the other, in every order. What these serial orders leave behind counts as right, unless
the scenario says `serial = false`. Then come all schedules with 0 preemptions, 1, 2, up to a bound; then, on request,
random ones. The first failure ends the search (if the scenario expects a failure, the first of that kind), and is
shrunk and replayed. The verdict is one of:

- *violated*: something failed. The token replays it.
- *held*: nothing failed in any schedule within the bound, although it could have: each actor sent SQL, at least one
  schedule preempted an actor, and the wait that the scenario names was seen.
- *inconclusive*: anything else, with the reason.

A statement is one step. No schedule can overlap two statements while both run in the server; latches can.
"""

from __future__ import annotations

import time
from collections import Counter
from itertools import permutations
from typing import TYPE_CHECKING

from dbtools.races import token
from dbtools.races.execution.lab import Lab
from dbtools.races.pruning import idle_waits
from dbtools.races.result import ExplorationResult, Verdict, counted
from dbtools.races.schedule import preemptions, schedule_of, written
from dbtools.races.shrink import shrink
from dbtools.races.strategies import BoundedPreemptions, Replay, in_order, pct, random_walk
from dbtools.races.trace import EventKind, Failure
from dbtools.server.requirements import NONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.races.run import RunResult
    from dbtools.races.scenario import Scenario
    from dbtools.races.schedule import Schedule, Strategy
    from dbtools.server.requirements import Requirements

BOUND = 2
SCHEDULES = 1_000
DEPTH = 3
MAX_ORDERS = 24
"""With more serial orders than this, none is run: five actors have 120."""
SERIAL = "one after the other"
REPLAYS = 2
"""How often a failure must come again before it is reported."""


def explore(
    scenario: Scenario,
    *,
    bound: int = BOUND,
    schedules: int = SCHEDULES,
    seconds: float = float("inf"),
    random: int = 0,
    depth: int = DEPTH,
    seed: int = 0,
    every: bool = False,
    server: Requirements = NONE,
    note: Callable[[str], None] = lambda _: None,
) -> ExplorationResult:
    """Return what was found by trying schedules until one fails, and what that proves.

    Tries all schedules with up to `bound` preemptions, but no more than `schedules` of them, and begins none after
    `seconds`. Then come `random` schedules by random walk, and as many by PCT for races of this `depth`, all from
    `seed`. Schedules that differ from others only in when a wait for an advisory lock begins are run only with `every`.
    They run on a throwaway server that has what `server` requires, the lab's own settings apart. `note` is called with
    lines on the progress.

    Raises:
        ServerError: The server did not start.
        ConfigurationError: The start state could not be made, or an actor could not be started.
    """
    with Lab(scenario, server) as lab:
        return _Explorer(lab, seed, note, every=every).explore(bound, schedules, seconds, random, depth)


class _Explorer:
    def __init__(self, lab: Lab, seed: int, note: Callable[[str], None], *, every: bool = False) -> None:
        self._lab = lab
        self._every = every
        self._note = note
        silent = {actor.name for actor in lab.scenario.actors}
        self._result = ExplorationResult(lab.scenario, lab.major, silent=silent, seed=seed)
        self._serial: list[dict[str, str]] = []
        """The content that each serial order left behind."""
        self._unjudged: Counter[str] = Counter()
        """Why runs could not be judged."""
        self._deadline = float("inf")
        self._longest = 1
        self._first_failure: RunResult | None = None
        """Of any kind."""

    def explore(self, bound: int, schedules: int, seconds: float, random: int, depth: int) -> ExplorationResult:
        result, began = self._result, time.monotonic()
        self._deadline = began + seconds
        found = (
            self.run_serial_orders()
            or self._run_bounded(bound, schedules)
            or self._run_random(random, depth)
            or self._first_failure
        )
        if found is not None:
            self._confirm(found)
        else:
            self._judge_held(bound)
        result.seconds = time.monotonic() - began
        return result

    def run_serial_orders(self) -> RunResult | None:
        """Run every serial order twice, to know what is right; return a run with the failure that ends the search."""
        actors = list(range(len(self._lab.scenario.actors)))
        orders = list(permutations(actors))
        if len(orders) > MAX_ORDERS or not self._lab.scenario.serial:
            return None
        contents: list[dict[str, str]] = []
        for order in orders:
            both = [self._run(SERIAL, in_order(order), latches=False) for _ in range(2)]
            if (wanted := next(filter(self._is_wanted, both), None)) is not None:
                return wanted
            if any(run.failures or run.diverged or run.trace.stalled for run in both):
                continue
            first, second = both[0].content, both[1].content
            self._result.unstable |= {
                name for name in first.keys() | second.keys() if first.get(name) != second.get(name)
            }
            contents.append(first)
        self._serial = contents
        return None

    def _run_bounded(self, bound: int, schedules: int) -> RunResult | None:
        search, result = BoundedPreemptions(bound), self._result
        for _ in range(schedules):
            schedule = search.next()
            result.complete, result.left_out = search.depth - 1, search.left_out
            if schedule is None or time.monotonic() > self._deadline:
                return None
            run = self._run(counted(search.depth), Replay(schedule))
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

    def _run(self, kind: str, strategy: Strategy, *, latches: bool = True) -> RunResult:
        result, scenario = self._result, self._lab.scenario
        run = self.judge(self._lab.run(strategy, None if latches else scenario.actors))
        result.schedules[kind] += 1
        if run.failures:
            result.outcomes[run.failure] += 1
        result.silent -= {step.actor for step in run.trace.steps}
        result.switched = result.switched or preemptions(run.choices) > 0
        for lock in {event.lock for event in run.trace.events if event.kind is EventKind.BLOCKED}:
            result.waits[lock] += 1
        if run.diverged or run.trace.stalled:
            self._unjudged[run.diverged or run.trace.stalled] += 1
        self._longest = max(self._longest, len(run.choices))
        if result.total % 25 == 0:
            self._note(f"{scenario.name}: {result.total} schedules ({kind})")
        return run

    def judge(self, run: RunResult) -> RunResult:
        """Return the run, with a failure added if its content differs from every serial order's."""
        if not self._serial or run.failures or run.diverged or run.trace.stalled:
            return run
        names = {name for content in (run.content, *self._serial) for name in content} - self._result.unstable
        found, *allowed = [{name: content.get(name) for name in names} for content in (run.content, *self._serial)]
        if found not in allowed:
            different = sorted(name for name in names if all(found[name] != content[name] for content in allowed))
            where = f"in {', '.join(different)}" if different else "in how its tables fit together"
            run.trace.failures.append(
                Failure("serial", "no serial order", f"The content differs from every serial order's {where}.")
            )
        return run

    def _confirm(self, found: RunResult) -> None:
        """Shrink the failing run and replay it; it counts only if it fails again."""
        result = self._result
        schedule = schedule_of(found.choices)
        latched = len(found.trace.actors) == len(self._lab.scenario.all_actors)

        def run_again(schedule: Schedule) -> RunResult:
            actors = None if latched else self._lab.scenario.actors
            return self.judge(self._lab.run(Replay(schedule), actors))

        self._note(f"{self._lab.scenario.name}: {found.failure} found after {result.total} schedules; shrinking")
        result.schedule, result.failing = shrink(found, run_again)
        result.repeated = True
        for number in range(1, REPLAYS + 1):
            again = run_again(result.schedule)
            result.unsteady = result.unsteady or again.trace.steps != result.failing.trace.steps
            result.repeated = result.repeated and again.trace.statements == result.failing.trace.statements
            if again.failures != found.failures:
                result.reason = (
                    f"{found.failure} was found, but replay {number} of its schedule {written(schedule)} gave"
                    f" {again.ended}: something besides the schedule decides."
                )
                return
        result.verdict = Verdict.VIOLATED

    def _judge_held(self, bound: int) -> None:
        """Decide whether it held: nothing has failed, so the question is whether something could have."""
        result, waits = self._result, self._lab.scenario.waits
        unjudged = [
            f"{count} of {result.total} schedules could not be judged: {why}" for why, count in self._unjudged.items()
        ]
        if unjudged:
            result.reason = unjudged[0]
        elif result.silent:
            result.reason = f"{', '.join(sorted(result.silent))} sent no SQL."
        elif result.complete < min(1, bound):
            result.reason = f"Not even all schedules with 1 switch were tried: {result.total} are too few."
        elif not result.switched:
            result.reason = "No schedule preempted an actor: there is nothing to interleave."
        elif waits and not any(waits in lock for lock in result.waits):
            result.reason = f"No schedule waited for {waits}, so the lock was not tested."
        else:
            result.verdict = Verdict.HELD


def replay(scenario: Scenario, text: str, *, times: int = 1, server: Requirements = NONE) -> list[RunResult]:
    """Run the schedule of a token of this scenario `times` times, and return the runs, with their failures.

    Raises:
        ConfigurationError: `text` is not a token, the start state could not be made, or an actor could not be started.
        ServerError: The server did not start.
    """
    schedule: Schedule = tuple((token.index(actor), count) for actor, count in token.decode(text).runs)
    with Lab(scenario, server) as lab:
        runs = [lab.run(Replay(schedule)) for _ in range(times)]
        explorer = _Explorer(lab, 0, lambda _: None)
        if not all(run.failures or run.diverged or run.trace.stalled for run in runs):
            explorer.run_serial_orders()  # only runs that have not failed are compared with them
        return [explorer.judge(run) for run in runs]
