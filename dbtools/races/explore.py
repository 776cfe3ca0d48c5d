"""Explore a scenario, replay a token's run, explain it: each on a throwaway server of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.races import token
from dbtools.races.cures import try_cures
from dbtools.races.execution.lab import Lab
from dbtools.races.explanation import Explanation, observe
from dbtools.races.explorer import BOUND, Explorer
from dbtools.races.schedule import preemptions
from dbtools.races.shards import WHOLE
from dbtools.races.strategies import Replay
from dbtools.server.requirements import NONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.races.result import ExplorationResult
    from dbtools.races.run import RunResult
    from dbtools.races.scenario import Scenario
    from dbtools.races.schedule import Schedule
    from dbtools.races.shards import Shard
    from dbtools.server.requirements import Requirements

SCHEDULES = 1_000
DEPTH = 3


def explore(
    scenario: Scenario,
    *,
    bound: int | None = None,
    schedules: int = SCHEDULES,
    seconds: float = float("inf"),
    random: int = 0,
    depth: int = DEPTH,
    seed: int = 0,
    every: bool = False,
    jobs: int = 1,
    shard: Shard = WHOLE,
    server: Requirements = NONE,
    note: Callable[[str], None] = lambda _: None,
) -> ExplorationResult:
    """Return what was found by trying schedules until one fails, and what that proves.

    Tries all schedules with up to `bound` preemptions, but no more than `schedules` of them, and ends after `seconds`,
    also within one. Without a bound it is 2, and the search goes on with 3 for up to a minute: the result says up to
    how many all were tried. Statements of several programs that define something are overlapped by latches, unless the
    scenario has latches. Then come `random` schedules by random walk, as many by PCT for races of this `depth`, and as
    many by POS, all from `seed`. Schedules that surely end as others do (see `pruning` and `returns`) are run only with
    `every`. They run on a throwaway server that has what `server` requires, the lab's own settings apart.
    `note` is called with lines on the progress.

    With more than one of `jobs`, as many processes run schedules at the same time, each on a copy of that server. The
    result is that of one. Of a `shard`, only its part of the schedules is tried, with neither a third preemption nor
    latches that the scenario does not have; `merge` says what all of them prove.

    Raises:
        ServerError: A server did not start.
        ConfigurationError: The start state could not be made, an actor could not be started, or the server cannot be
            copied for more jobs.
        StepFailed, ChainFailed: The project's own steps could not make the snapshot that it starts from.
        DbtoolsError: One of several processes was ended from outside.
    """
    with Lab(scenario, server, note, jobs=jobs) as lab:
        return Explorer(lab, seed, note, every=every, shard=shard).explore(bound, schedules, seconds, random, depth)


def explain(
    scenario: Scenario,
    text: str,
    *,
    bound: int | None = None,
    schedules: int = SCHEDULES,
    seconds: float = float("inf"),
    server: Requirements = NONE,
    note: Callable[[str], None] = lambda _: None,
) -> Explanation:
    """Return the run of a token of this scenario, its anomaly, and what came of each cure.

    For each cure the scenario is explored within `bound`, `schedules` and `seconds`, as by `explore`. Without a bound
    it is 2, or as many preemptions as the run has, where that is more.

    Raises:
        ConfigurationError: `text` is not a token, the start state could not be made, or an actor could not be started.
        ServerError: The server did not start.
        StepFailed, ChainFailed: The project's own steps could not make the snapshot that it starts from.
    """
    with Lab(scenario, server, note) as lab:
        judge = Explorer(lab, 0, note).judge
        judge.run_serial_orders()
        run, anomaly = observe(lab, judge, _schedule(text))
        explanation = Explanation(run, anomaly)
        most = max(BOUND, preemptions(run.choices)) if bound is None else bound

        def try_again() -> ExplorationResult:
            explorer = Explorer(lab, 0, note, judge=judge.under(lab.scenario))
            return explorer.explore(most, schedules, seconds, 0, DEPTH)

        for trial in try_cures(lab, run, anomaly, try_again) if anomaly else ():
            note(f"{scenario.name}, {trial.cure}: {trial.verdict}")
            explanation.trials.append(trial)
    return explanation


def _schedule(text: str) -> Schedule:
    return tuple((token.index(actor), count) for actor, count in token.decode(text).runs)


def replay(
    scenario: Scenario,
    text: str,
    *,
    times: int = 1,
    server: Requirements = NONE,
    note: Callable[[str], None] = lambda _: None,
) -> list[RunResult]:
    """Run the schedule of a token of this scenario `times` times, and return the runs, with their failures.

    `note` is told what is built for it.

    Raises:
        ConfigurationError: `text` is not a token, the start state could not be made, or an actor could not be started.
        ServerError: The server did not start.
        StepFailed, ChainFailed: The project's own steps could not make the snapshot that it starts from.
    """
    schedule = _schedule(text)
    with Lab(scenario, server, note) as lab:
        explorer = Explorer(lab, 0, lambda _: None)
        explorer.judge.run_first_order()
        runs = [lab.run(Replay(schedule)) for _ in range(times)]
        for run in runs:
            explorer.judge.tolerate(run)
        if not all(run.failures or run.unjudged for run in runs):
            explorer.judge.run_serial_orders()  # only runs that have not failed are compared with them
        return [explorer.judge.judge(run) for run in runs]
