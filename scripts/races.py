#!/usr/bin/env python3
"""Find every race that the project ships, replay it from its token, and show that its cure holds.

    nox -s races                        in CI: one switch, 10 replays of each race
    nox -s races -- --full              two switches, 100 replays
    nox -s races -- lost-update         only this scenario, with its variants
    nox -s races -- --json races.json   also write the figures as JSON

Prints a row for each scenario. The exit code is 6 if the result of one is not the expected one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dbtools.config import Project  # noqa: E402 - found through the line above
from dbtools.console import table  # noqa: E402
from dbtools.errors import VerificationFailed  # noqa: E402
from dbtools.races import store  # noqa: E402
from dbtools.races.explore import explore, replay  # noqa: E402

PROCESSES = 2
"""How many scenarios are explored at once, each on a server of its own."""
HEADINGS = ("scenario", "verdict", "failure", "schedules", "waits in", "replays equal", "token")


def check(project: Project, name: str, bound: int, replays: int) -> dict[str, object]:
    """Explore a scenario, replay the race that is found, and return the figures."""
    scenario = store.find(project, name)
    found = explore(scenario, bound=bound)
    runs = replay(scenario, found.token, times=replays) if found.token else []
    equal = sum(
        run.failure == found.failure and found.failing is not None and run.trace.steps == found.failing.trace.steps
        for run in runs
    )
    return {
        "scenario": scenario.name,
        "verdict": found.verdict,
        "failure": found.failure,
        "schedules": found.total,
        "waits in": max(found.waits.values(), default=0),
        "replays": len(runs),
        "equal": equal,
        "token": found.token,
        "good": found.as_expected and equal == len(runs),
        "reason": found.reason or ", ".join(found.outcomes) if not found.as_expected else "",
    }


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="*", help="scenarios, with all their variants (default: all)")
    parser.add_argument("--full", action="store_true", help="two switches and 100 replays")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    project = Project.find(ROOT)
    names = [name for name, _, _ in store.names(project)]
    wanted = [name for name in names if not options.scenario or name.partition(".")[0] in options.scenario]
    started = time.monotonic()
    figures: list[dict[str, object]] = []
    one = partial(check, project, bound=2 if options.full else 1, replays=100 if options.full else 10)
    with ProcessPoolExecutor(PROCESSES) as pool:
        for found in pool.map(one, wanted):
            figures.append(found)
            print(f"{found['scenario']}: {found['verdict']} {found['reason']}".strip(), file=sys.stderr, flush=True)
    rows = [
        [str(found[key]) for key in HEADINGS[:5]]
        + [f"{found['equal']} of {found['replays']}" if found["replays"] else "-", str(found["token"])]
        for found in figures
    ]
    print(table(HEADINGS, rows))
    bad = [str(found["scenario"]) for found in figures if not found["good"]]
    print(f"\n{len(figures) - len(bad)} of {len(figures)} passed, in {time.monotonic() - started:.0f} s.")
    if bad:
        print(f"✗ {', '.join(bad)}", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    return VerificationFailed.exit_code if bad else 0


if __name__ == "__main__":
    sys.exit(main())
