"""Drive public packages, as the registries have them, beside their own commands, and print a table.

    nox -s adopt                        every set-up; the first time, its packages are installed
    nox -s adopt -- -k knex -k prefect  some of them
    nox -s adopt -- --json adopt.json   also write all figures to a file
    nox -s adopt-short                  the few that plain nox drives, measured once

A set-up is a project in `projects/`, with settings of its own, which name a database that has to stay empty. Times are
medians of what this run measured. Exits with 1 if a check of a set-up failed, and says which; the others are driven all
the same. Without npm, projects in Node are skipped; where CI is set, or they were asked for by name, that is a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.console import table
from scripts.adopt.drive import drive
from scripts.adopt.environments import missing
from scripts.adopt.result import HEAD, Result
from scripts.adopt.setups import all_setups

if TYPE_CHECKING:
    from scripts.adopt.setups import Setup

ROUNDS, SHORT_ROUNDS = 3, 1


def main() -> int:
    """Drive the chosen set-ups one after the other, and return the exit code."""
    parser = argparse.ArgumentParser(prog="nox -s adopt --", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="drive few set-ups, and measure once")
    parser.add_argument("-k", action="append", default=[], metavar="NAME", help="only set-ups with this in their name")
    parser.add_argument("--rounds", type=int, help=f"measurements per time (default: {ROUNDS}; short: {SHORT_ROUNDS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    chosen = parser.parse_args()
    setups = [setup for setup in all_setups() if _is_chosen(setup, chosen)]
    if not setups:
        parser.error(f"no set-up has that in its name; there are: {', '.join(setup.name for setup in all_setups())}")
    rounds = chosen.rounds or (SHORT_ROUNDS if chosen.short else ROUNDS)
    signal.signal(signal.SIGTERM, _interrupt)
    results, skipped = list[Result](), 0
    with tempfile.TemporaryDirectory(prefix="dbtools-adopt-") as folder:
        for setup in setups:
            if lacks := missing(setup):
                skipped += 1
                print(f"{setup.name}: {lacks} is not installed, skipped", file=sys.stderr, flush=True)
                continue
            print(f"{setup.name} ...", file=sys.stderr, flush=True)
            result = drive(setup, Path(folder) / setup.name, rounds)
            for check, text in result.failures.items():
                print(f"{setup.name}: {check}: {text}", file=sys.stderr, flush=True)
            results.append(result)
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    if results:
        print(table(HEAD, [result.row for result in results]))
        print(f"\n{machine}; each time is the median of {rounds}")
    if chosen.json:
        found = {"machine": machine, "rounds": rounds, "packages": [result.to_json() for result in results]}
        chosen.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    wrong = any(result.failures for result in results) or not results
    return 1 if wrong or (skipped and (os.environ.get("CI") or chosen.k)) else 0


def _is_chosen(setup: Setup, chosen: argparse.Namespace) -> bool:
    if chosen.k:
        return any(word in setup.name for word in chosen.k)
    return setup.short or not chosen.short


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # servers, sessions and folders have been removed on the way here
