#!/usr/bin/env python3
"""Find races that were reported of public packages, replay them, and show that dbtools' lock ends them.

    nox -s races -- --published                 every project of scripts/published
    nox -s races -- --published -k knex         those with this in their name
    nox -s races -- --published --write-page    also write what was found to docs/published-races.md, with pictures

A project has the package's real program, in the version that its lock file pins. The first time, it is installed from
the package index or with npm, into .dbtools/published; a copy of the project beside it is where its programs run. Every
scenario is explored within the default limits of race.explore. The exit code is 6 if a result is not the expected one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dbtools.console import table  # noqa: E402 - found through the line above
from dbtools.errors import VerificationFailed  # noqa: E402
from dbtools.races import render  # noqa: E402
from dbtools.races.explore import explore, replay  # noqa: E402
from dbtools.races.explorer import BOUND  # noqa: E402
from dbtools.races.scenario_file import read, variants  # noqa: E402
from scripts.example_environments import provide  # noqa: E402
from scripts.published_page import FACTS, SHELF, Facts, load, picture, projects, version, write  # noqa: E402

HOME = ROOT / ".dbtools" / "published"
LOCKED = "locked"
"""The variant of every scenario in which the same program runs under dbtools' lock."""
REPLAYS = 10
BOUNDS = {"refusing": 1}
"""How many switches are tried in a variant, where that is not the default: without waits there are many schedules."""
HEADINGS = ("package", "version", "failure", "schedules", "replays equal", "under the lock", "token")


def prepare(name: str) -> Path:
    """Return the folder with a fresh copy of a project, and the packages that it pins.

    Raises:
        SystemExit: They could not be installed.
    """
    environments = HOME / "environments"
    problem = provide(SHELF / name, environments)
    home = HOME / name
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(SHELF / name, home)
    for packages in (".venv", "node_modules"):
        if (environments / name / packages).exists():
            (home / packages).symlink_to(environments / name / packages)
    if not problem and not (home / ".venv").exists() and not (home / "node_modules").exists():
        problem = "there is no npm here."
    if problem:
        raise SystemExit(f"{name} cannot be tried: {problem}")
    return home


def examine(name: str) -> tuple[Facts, str, list[str]]:
    """Return what was found in a project, the picture of its race, and what is not as expected."""
    home, wrong = prepare(name), list[str]()
    race = read(home / f"{name}.toml", "", home)
    found = explore(race, note=note)
    if not found.as_expected or found.failing is None:
        return {}, "", [f"{name}: {found.verdict}, not {race.expect}: {found.reason or found.failure}"]
    runs = replay(race, found.token, times=REPLAYS)
    equal = sum(run.failure == found.failure and run.trace.shape == found.failing.trace.shape for run in runs)
    wrong += [f"{name}: {equal} of {REPLAYS} replays went as the first run"] if equal < REPLAYS else []
    facts: Facts = {
        "version": version(name),
        "failure": found.failure,
        "switches": found.switches,
        "schedules": found.total,
        "replays": f"{equal} of {REPLAYS}",
        "token": found.token,
    }
    for variant in variants(home / f"{name}.toml"):
        scenario = read(home / f"{name}.toml", variant, home)
        cured = explore(scenario, bound=BOUNDS.get(variant, BOUND), note=note)
        wrong += [] if cured.as_expected else [f"{scenario.name}: {cured.verdict}: {cured.reason or cured.failure}"]
        facts[variant] = {
            "verdict": cured.verdict,
            "schedules": cured.total,
            "waits": cured.waits[scenario.waits] if scenario.waits else 0,
            "refused": sum(cured.tolerated.values()),
        }
    return facts, render.svg(found.failing.trace, title=race.title, token=found.token), wrong


def note(line: str) -> None:
    """Show how far it is."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="nox -s races -- --published", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-k", metavar="NAME", default="", help="only projects with this in their name")
    parser.add_argument("--write-page", action="store_true", help="write what was found to the page")
    options = parser.parse_args()
    names = [name for name in projects() if options.k in name]
    if not names:
        parser.error(f"no project has that in its name; there are: {', '.join(projects())}")
    rows, wrong = list[list[str]](), list[str]()
    for name in names:
        note(f"{name} ...")
        facts, image, problems = examine(name)
        for problem in problems:
            note(f"✗ {problem}")
        wrong += problems
        if facts:
            cure = facts[LOCKED]
            under = f"{cure['verdict']}, waits in {cure['waits']} of {cure['schedules']}"
            middle = [facts["failure"], facts["schedules"], facts["replays"]]
            rows.append([name, facts["version"], *map(str, middle), under, facts["token"]])
        if options.write_page and not problems:
            FACTS.write_text(json.dumps(load() | {name: facts}, indent=2, sort_keys=True) + "\n", "utf-8")
            # A program may name files in what it prints.
            picture(name).write_text(image.replace(str(ROOT), "…") + "\n", "utf-8")
            write()
    print(table(HEADINGS, rows))
    print(f"\n{len(names) - len({problem.partition(':')[0] for problem in wrong})} of {len(names)} as expected.")
    return VerificationFailed.exit_code if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
