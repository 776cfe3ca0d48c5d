"""How long waiting seeders take to go through once the lock is freed, and what one takes while it waits."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.config import LOCK_KEY
from scripts.bench.growth.figures import Chart
from scripts.bench.growth.site import Site, site

if TYPE_CHECKING:
    import psycopg

COUNTS = (1, 2, 5, 10, 20, 50)
TABLES, ROWS = 20, 10
MAX_CONNECTIONS = "120"
"""A seeder takes one session while it waits, and a second one where it had to build."""
FEW = 5
"""So many are measured in every round, and more of them once: each figure is of many runs of the seed anyway."""
SETTLE_S, WATCHED_S = 0.5, 1.0
"""How long the last waiter is given to come to the lock, and how long all are watched there."""
# In slices, a waiter waits but for moments: it is counted as soon as its session has its name.
_WAITING = "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"


def measure_waiters(rounds: int) -> Chart:
    """Return the chart of seeders by dbtools, and of psql's that wait for the lock in one call without end."""
    chart = Chart("waiters", "waiting", ("dbtools seed", "psql -1: lock, dump"))
    with site({"max_connections": MAX_CONNECTIONS}) as project:
        import psycopg

        project.fill(TABLES, ROWS)
        commands = (project.command("seed"), project.replay(f"select pg_advisory_xact_lock({LOCK_KEY})"))
        with psycopg.connect(project.server.url, autocommit=True) as holder:
            for count in COUNTS:
                for _ in range(rounds if count <= FEW else 1):
                    for method, command in zip(chart.methods, commands, strict=True):
                        taken, cpu = _go_through(project, holder, command, count)
                        chart.add(method, count, taken)
                        chart.cpu.setdefault(method, {})[count] = cpu
    return chart


def _go_through(project: Site, holder: psycopg.Connection, command: list[str], count: int) -> tuple[float, float]:
    """Have so many processes wait for the lock, and free it.

    Returns the seconds from then until the last has ended, and the CPU time that one took in a second of its wait.
    """
    holder.execute("select pg_advisory_lock(%s)", (LOCK_KEY,))
    waiting = [
        subprocess.Popen(
            command,
            cwd=project.root,
            env=project.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        while _sessions(holder) < count:
            assert all(process.poll() is None for process in waiting), "a seeder did not wait"
            time.sleep(0.05)
        time.sleep(SETTLE_S)
        before = _cpu(project, waiting)
        time.sleep(WATCHED_S)
        used = _cpu(project, waiting) - before
    finally:
        freed = time.perf_counter()
        holder.execute("select pg_advisory_unlock(%s)", (LOCK_KEY,))
        errors = [process.communicate()[1] for process in waiting]
    taken = time.perf_counter() - freed
    failed = [error for error, process in zip(errors, waiting, strict=True) if process.returncode]
    assert not failed, failed[0]
    return taken, used / WATCHED_S / count


def _sessions(holder: psycopg.Connection) -> int:
    row = holder.execute(_WAITING).fetchone()
    assert row is not None
    return int(row[0])


def _cpu(project: Site, processes: list[subprocess.Popen[str]]) -> float:
    """Return the seconds of CPU that these processes and those of the server have had."""
    server = Path(f"/proc/{project.server.pid}/task/{project.server.pid}/children").read_text("ascii").split()
    return sum(map(_nanoseconds, [*map(int, server), *(process.pid for process in processes)])) / 1e9


def _nanoseconds(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[0])
    except FileNotFoundError:
        return 0  # a process of the server that had ended
