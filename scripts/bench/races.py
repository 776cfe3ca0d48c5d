"""What a schedule of the shipped races costs, and a search with two processes beside one."""

from __future__ import annotations

import statistics
import time

from dbtools.console import table
from scripts.bench.measure import ROOT


def bench_races(rounds: int) -> None:
    """Measure one schedule of the shipped races: its clone, its programs, and the check of the result."""
    from dbtools.config import Project
    from dbtools.races import store
    from dbtools.races.execution.lab import Lab
    from dbtools.races.schedule import continue_current

    project, rows = Project.find(ROOT), []
    for name in ("lost-update", "write-skew", "two-upgrades", "reset-vs-seed.unlocked", "reset-vs-seed"):
        with Lab(store.find(project, name)) as lab:
            lab.run(continue_current)
            taken, steps = [], 0
            for _ in range(rounds * 4):
                started = time.perf_counter()
                steps = len(lab.run(continue_current).trace.steps)
                taken.append(time.perf_counter() - started)
        middle = statistics.median(taken)
        rows.append((name, f"{middle * 1000:.0f} ms", f"{1 / middle:.1f}", str(steps), f"{steps / middle:.0f}"))
    print(table(("race", "a schedule", "schedules a second", "statements", "statements a second"), rows))
    print()
    bench_jobs(rounds)


def bench_jobs(rounds: int) -> None:
    """Measure a whole search of many schedules in one process and in two, in turn."""
    from dbtools.races import Actor, Scenario, explore
    from dbtools.races.scenario import Script

    start = ["create table counter (n int); insert into counter values (0)"]
    program = Script(["update counter set n = n + 1"] * 8)
    many = Scenario("many", [Actor("a", call=program), Actor("b", call=program)], start)
    times: dict[int, list[float]] = {1: [], 2: []}
    schedules = set()
    for _ in range(rounds):
        for jobs, taken in times.items():
            started = time.perf_counter()
            schedules.add(explore(many, jobs=jobs).total)
            taken.append(time.perf_counter() - started)
    (count,) = schedules  # the same number in both
    medians = {jobs: statistics.median(taken) for jobs, taken in times.items()}
    rows = [
        (f"--jobs {jobs}", str(count), f"{middle:.2f} s", f"{count / middle:.1f}", f"{middle / medians[1]:.2f}")
        for jobs, middle in medians.items()
    ]
    print(table(("search", "schedules", "median", "schedules a second", "beside --jobs 1"), rows))
