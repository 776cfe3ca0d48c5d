"""Measure as ratios within one run: machines are noisy, so compare rows of one table, not figures across runs.

    nox -s bench                    all of it but growth
    nox -s bench -- --rounds 9      more measurements; each figure is their median
    nox -s bench -- reset           one or more parts
    nox -s bench -- growth --plot   what grows how, and its pictures and table in docs; --full for ten million rows

start   what the command line takes before it does anything, beside `import invoke`
reset   the whole process of `invoke reset` and `dbtools reset`, beside the floor: `psql -1` replaying a pg_dump of the
        same result
build   the migrations on a scratch database and their snapshot, beside `alembic upgrade head` on an empty database
server  a throwaway server: start to the first query, and stop
lock    a waiter's wake-up after the lock is freed, and its CPU: blocking in slices beside polling
gate    statements through the race lab's proxy, open and with the lab's scheduler, beside a direct connection
races   what a schedule of the shipped races costs, and a search with two processes beside one
tests   a database with the project's content for each test, beside other ways to give each test a clean one
load    the whole process of `invoke load`, beside `psql \\copy` of the same bytes and `pgbench -i`; its peak memory
growth  reset, clone and load as rows, waiting seeders and tables grow, each beside its floor
"""

from __future__ import annotations

import argparse

from scripts.bench.build import bench_build
from scripts.bench.gate import bench_gate
from scripts.bench.growth.part import GROWTH_ROUNDS, SUBJECTS, bench_growth
from scripts.bench.load import bench_load
from scripts.bench.lock import bench_lock
from scripts.bench.races import bench_races
from scripts.bench.reset import bench_reset
from scripts.bench.server import bench_server
from scripts.bench.start import bench_start
from scripts.bench.suite import bench_tests

PARTS = {
    "start": bench_start,
    "reset": bench_reset,
    "build": bench_build,
    "server": bench_server,
    "lock": bench_lock,
    "gate": bench_gate,
    "races": bench_races,
    "tests": bench_tests,
    "load": bench_load,
}
ROUNDS = 5


def main() -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "growth", []], help="default: all but growth")
    help_of_rounds = f"measurements per figure, which is their median (default {ROUNDS}; growth {GROWTH_ROUNDS})"
    parser.add_argument("--rounds", type=int, help=help_of_rounds)
    parser.add_argument("--full", action="store_true", help="growth: to ten million rows, where there is room for them")
    parser.add_argument("--only", action="append", choices=SUBJECTS, help="growth: a part of it; may be repeated")
    chosen = parser.parse_args()
    for name in chosen.parts or PARTS:
        if name == "growth":
            bench_growth(chosen.rounds or GROWTH_ROUNDS, full=chosen.full, only=chosen.only or SUBJECTS)
        else:
            PARTS[name](chosen.rounds or ROUNDS)
        print()


if __name__ == "__main__":
    main()
