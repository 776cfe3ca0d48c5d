#!/usr/bin/env python3
"""Find every race that the project ships, replay it from its token, and show that its cure holds.

    nox -s races                        in CI: one switch, 10 replays of each race
    nox -s races -- --full              two switches, 100 replays
    nox -s races -- lost-update         some scenarios only
    nox -s races -- --json races.json   write the figures as JSON too

Prints a row a scenario; exit code 6 when one does not end as it says.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dbtools.config import Project  # noqa: E402 - found through the line above
from dbtools.console import table  # noqa: E402
from dbtools.errors import VerificationFailed  # noqa: E402
from dbtools.races import store  # noqa: E402
from dbtools.races.explore import explore, replay  # noqa: E402

HEADINGS = ("scenario", "verdict", "failure", "schedules", "waits in", "replays equal", "token")


def play(project: Project, name: str, bound: int, replays: int) -> dict[str, object]:
    """Explore a scenario, replay what is found, and return the figures."""
    scenario = store.find(project, name)
    found = explore(scenario, bound=bound)
    runs = replay(scenario, found.token, times=replays) if found.token else []
    equal = sum(
        one.failure == found.failure and found.failing is not None and one.trace.steps == found.failing.trace.steps
        for one in runs
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
    wanted = [one for one in names if not options.scenario or one.partition(".")[0] in options.scenario]
    started, figures = time.monotonic(), []
    for name in wanted:
        figures.append(play(project, name, bound=2 if options.full else 1, replays=100 if options.full else 10))
        print(f"{name}: {figures[-1]['verdict']} {figures[-1]['reason']}".strip(), file=sys.stderr, flush=True)
    rows = [
        [str(one[key]) for key in HEADINGS[:5]]
        + [f"{one['equal']} of {one['replays']}" if one["replays"] else "-", str(one["token"])]
        for one in figures
    ]
    print(table(HEADINGS, rows))
    bad = [str(one["scenario"]) for one in figures if not one["good"]]
    print(f"\n{len(figures) - len(bad)} of {len(figures)} as they should, in {time.monotonic() - started:.0f} s.")
    if bad:
        print(f"✗ {', '.join(bad)}", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    return VerificationFailed.exit_code if bad else 0


if __name__ == "__main__":
    sys.exit(main())
