#!/usr/bin/env python3
"""Measure, as ratios within one run: machines are noisy, so compare rows of one table, not digits across runs.

    nox -s bench                    all of it
    nox -s bench -- --rounds 9      more rounds; each figure is a median
    nox -s bench -- reset           one part: reset, server or lock

reset   whole process of `invoke reset`, beside the floor: `psql -1` replaying a pg_dump of the same result
server  a throwaway server: start to the first query, and stop
lock    a waiter's wake-up after the lock is freed, and its CPU: blocking in slices beside polling
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dbtools.console import table  # noqa: E402 - found through the line above

if TYPE_CHECKING:
    from collections.abc import Callable

AS_OF = "2026-11-23"


def seconds(action: Callable[[], object]) -> float:
    """Return how long `action` took."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def run(command: list[str], environ: dict[str, str]) -> None:
    """Run a command to its end; fail with what it said."""
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")


def bench_reset(rounds: int) -> None:
    """Whole process of a reset beside psql replaying a dump of its result, alternating on one server."""
    from dbtools.server.binaries import find_binaries
    from dbtools.server.embedded import EmbeddedServer

    programs = find_binaries(16).bin
    rows = []
    with EmbeddedServer.start() as server:
        for profile in ("dev", "uat"):
            environ = {name: text for name, text in os.environ.items() if not name.startswith(("SEED_", "PG"))}
            environ |= {"DATABASE_URL": server.url}
            reset = [sys.executable, "-m", "invoke", "reset", "--profile", profile, "--as-of", AS_OF]
            run(reset, environ)
            password = server.url.partition("://")[2].partition("@")[0].partition(":")[2]
            address = server.url.replace(f":{password}@", "@")
            environ |= {"PGPASSWORD": password}
            dump = Path(server.directory) / f"{profile}.sql"
            run([str(programs / "pg_dump"), "--clean", "--if-exists", "-f", str(dump), address], environ)
            replay = [str(programs / "psql"), "-1", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(dump), address]
            times: dict[str, list[float]] = {"reset": [], "floor": []}
            for _ in range(rounds):
                times["reset"].append(seconds(partial(run, reset, environ)))
                times["floor"].append(seconds(partial(run, replay, environ)))
            whole, floor = (statistics.median(times[name]) for name in ("reset", "floor"))
            rows.append((profile, f"{whole:.3f} s", f"{floor:.3f} s", f"{whole / floor:.1f}"))
    print(table(("profile", "invoke reset", "psql -1 of a dump", "ratio"), rows))


def bench_server(rounds: int) -> None:
    """Start of a throwaway server to its first query, and stop, with a warm cache."""
    import psycopg

    from dbtools.server.embedded import EmbeddedServer

    times: dict[str, list[float]] = {"start to first query": [], "stop": []}
    EmbeddedServer.start().stop()
    for _ in range(rounds):
        started = time.perf_counter()
        server = EmbeddedServer.start()
        with psycopg.connect(server.url) as connection:
            connection.execute("select 1")
        times["start to first query"].append(time.perf_counter() - started)
        times["stop"].append(seconds(server.stop))
    rows = [
        (name, f"{statistics.median(one) * 1000:.0f} ms", f"{min(one) * 1000:.0f} ms") for name, one in times.items()
    ]
    print(table(("throwaway server", "median", "best"), rows))


WAITER = """
import sys, time, psycopg
from dbtools.lock import SeedLock
with psycopg.connect(sys.stdin.readline().strip(), autocommit=True) as connection:
    lock = SeedLock(connection, 1)
    how = sys.argv[1]
    print("ready", flush=True)
    before = time.process_time()
    if how == "slices":
        lock.acquire(60, lambda holder: None)
    else:
        while not connection.execute("select pg_try_advisory_lock(1)").fetchone()[0]:
            time.sleep(float(how))
    print(time.time(), time.process_time() - before, flush=True)
    lock.release()
"""


def bench_lock(rounds: int) -> None:
    """How long after the release a waiter has the lock, and what a second of waiting costs it in CPU."""
    import psycopg

    from dbtools.server.embedded import EmbeddedServer

    rows, hold = [], 1.1
    with EmbeddedServer.start() as server, psycopg.connect(server.url, autocommit=True) as holder:
        for name, how in (
            ("blocking in slices of 250 ms", "slices"),
            ("try each 10 ms", "0.01"),
            ("try each 250 ms", "0.25"),
        ):
            delays, costs = [], []
            for _ in range(rounds):
                holder.execute("select pg_advisory_lock(1)")
                waiter = subprocess.Popen(
                    [sys.executable, "-c", WAITER, how],
                    cwd=ROOT,
                    text=True,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
                assert waiter.stdin is not None
                assert waiter.stdout is not None
                waiter.stdin.write(f"{server.url}\n")
                waiter.stdin.flush()
                waiter.stdout.readline()
                time.sleep(hold)
                released = time.time()
                holder.execute("select pg_advisory_unlock(1)")
                at, cost = waiter.communicate()[0].split()
                delays.append(float(at) - released)
                costs.append(float(cost) / hold)
            rows.append(
                (name, f"{statistics.median(delays) * 1000:.1f} ms", f"{statistics.median(costs) * 1000:.1f} ms")
            )
    print(table(("waiting for the lock", "wake-up", "CPU per second"), rows))


PARTS = {"reset": bench_reset, "server": bench_server, "lock": bench_lock}


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each figure, of which the median counts")
    chosen = parser.parse_args()
    for name in chosen.parts or PARTS:
        PARTS[name](chosen.rounds)
        print()


if __name__ == "__main__":
    main()
