"""A waiter's wake-up after the lock is freed, and its CPU: blocking in slices beside polling."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from dbtools.console import table
from scripts.bench.measure import ROOT

WAITER = """
import sys, time, psycopg
from dbtools.chain.lock import SeedLock
from dbtools.chain.target import Waits
with psycopg.connect(sys.stdin.readline().strip(), autocommit=True) as connection:
    lock = SeedLock(connection, 1)
    how = sys.argv[1]
    print("ready", flush=True)
    before = time.process_time()
    if how == "slices":
        lock.acquire(Waits(60.0), lambda holder: None)
    else:
        while not connection.execute("select pg_try_advisory_lock(1)").fetchone()[0]:
            time.sleep(float(how))
    print(time.time(), time.process_time() - before, flush=True)
    lock.release()
"""


def bench_lock(rounds: int) -> None:
    """Measure how long after the release a waiter has the lock, and the CPU time that a second of waiting costs."""
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
