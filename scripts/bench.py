#!/usr/bin/env python3
"""Measure as ratios within one run: machines are noisy, so compare rows of one table, not figures across runs.

    nox -s bench                    all of it
    nox -s bench -- --rounds 9      more measurements; each figure is their median
    nox -s bench -- reset           one or more parts

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
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from operator import truediv
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dbtools.console import table  # noqa: E402 - found through the line above

if TYPE_CHECKING:
    from collections.abc import Callable

AS_OF = "2026-11-23"


def seconds(action: Callable[[], object]) -> float:
    """Return how many seconds `action` took."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def run(command: list[str], environ: dict[str, str]) -> None:
    """Run a command to its end; if it fails, exit with its errors."""
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")


def bench_start(rounds: int) -> None:
    """Measure commands that do little, alternating with the import of Invoke alone."""
    from dbtools.db.wait import YOUNG_S
    from dbtools.server.embedded import EmbeddedServer

    commands = {
        "import invoke": ["-c", "import invoke"],
        "invoke --list": ["-m", "invoke", "--list"],
        "dbtools --list": ["-m", "dbtools", "--list"],
        "dbtools wait-for-db": ["-m", "dbtools", "wait-for-db"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    with EmbeddedServer.start() as server:
        environ = os.environ | {"DATABASE_URL": server.url}
        time.sleep(YOUNG_S)  # a server that has just started is asked twice, with a pause
        for _ in range(2 * rounds):
            for name, command in commands.items():
                times[name].append(seconds(partial(run, [sys.executable, *command], environ)))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    rows = [
        (name, f"{median * 1000:.0f} ms", f"{median / medians['import invoke']:.2f}")
        for name, median in medians.items()
    ]
    print(table(("command", "median", "beside import invoke"), rows))


def bench_reset(rounds: int) -> None:
    """Measure a reset beside psql replaying a dump of its result, in turn on one server."""
    from dbtools.db.dsn import Dsn
    from dbtools.server.embedded import EmbeddedServer
    from dbtools.server.sources import find_binaries

    programs = find_binaries().bin
    rows = []
    with EmbeddedServer.start() as server:
        for profile in ("dev", "uat"):
            environ = {name: text for name, text in os.environ.items() if not name.startswith(("SEED_", "PG"))}
            environ |= {"DATABASE_URL": server.url}
            reset = [sys.executable, "-m", "invoke", "reset", "--profile", profile, "--as-of", AS_OF]
            run(reset, environ)
            dsn = Dsn.parse(server.url)
            address = dsn.without_password().url
            environ |= {"PGPASSWORD": dsn.password}
            dump = server.directory / "data" / f"bench-{profile}.sql"  # removed with the server, also after kill -9
            run([str(programs / "pg_dump"), "--clean", "--if-exists", "-f", str(dump), address], environ)
            replay = [str(programs / "psql"), "-1", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(dump), address]
            times: dict[str, list[float]] = {"invoke": [], "dbtools": [], "new day": [], "floor": []}
            dbtools = [sys.executable, "-m", "dbtools", *reset[3:]]
            for number in range(1, rounds + 1):
                times["invoke"].append(seconds(partial(run, reset, environ)))
                times["floor"].append(seconds(partial(run, replay, environ)))
                times["dbtools"].append(seconds(partial(run, dbtools, environ)))
                another = [*reset[:-1], str(dt.date.fromisoformat(AS_OF) + dt.timedelta(number))]
                times["new day"].append(seconds(partial(run, another, environ)))
                run(reset, environ)
            medians = {name: statistics.median(taken) for name, taken in times.items()}
            figures = [f"{median:.3f} s" for median in medians.values()]
            ratios = [f"{medians[name] / medians['floor']:.1f}" for name in ("invoke", "dbtools")]
            rows.append((profile, *figures, *ratios))
    whole = ("invoke reset", "dbtools reset", "invoke, a new day", "psql -1 of a dump")
    print(table(("profile", *whole, "invoke / floor", "dbtools / floor"), rows))


def bench_build(rounds: int) -> None:
    """Measure a build beside the project's own command, alternating on one server."""
    from dbtools.server.embedded import EmbeddedServer

    times: dict[str, list[float]] = {"build": [], "by hand": []}
    with EmbeddedServer.start() as server:
        environ = {name: text for name, text in os.environ.items() if not name.startswith(("SEED_", "PG"))}
        for number in range(rounds):
            empty = environ | {"DATABASE_URL": server.create_database(f"by_hand_{number}")}
            times["by hand"].append(seconds(partial(run, [sys.executable, "-m", "alembic", "upgrade", "head"], empty)))
            build = [sys.executable, "-m", "invoke", "build", "--rebuild"]
            times["build"].append(seconds(partial(run, build, environ | {"DATABASE_URL": server.url})))
    whole, floor = (statistics.median(times[name]) for name in ("build", "by hand"))
    row = (f"{whole:.3f} s", f"{floor:.3f} s", f"{whole / floor:.1f}")
    print(table(("invoke build --rebuild", "alembic upgrade head", "ratio"), [row]))


def bench_server(rounds: int) -> None:
    """Measure a throwaway server with a warm cache: from start to the first query, and its stop."""
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
        (name, f"{statistics.median(taken) * 1000:.0f} ms", f"{min(taken) * 1000:.0f} ms")
        for name, taken in times.items()
    ]
    print(table(("throwaway server", "median", "best"), rows))


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


STATEMENTS = 1_000


def statements(url: str) -> None:
    """Send STATEMENTS small statements, one after the other."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(STATEMENTS):
            connection.execute("select 2", prepare=False)


def through_open_proxy(url: str) -> float:
    """Return how many seconds the statements take in another process, through a proxy that holds nothing back."""
    import asyncio

    from dbtools.db.dsn import Dsn
    from dbtools.races.execution.actor_process import Program
    from dbtools.races.execution.proxy import Proxy
    from dbtools.races.execution.session import Phase, Session
    from dbtools.races.scenario import Actor
    from dbtools.server.cluster import local_url

    dsn = Dsn.parse(url)

    def let_through(session: Session) -> None:
        if session.phase is Phase.CONNECTING:
            session.admit()
        elif session.phase is Phase.HELD:
            session.release()

    async def measure() -> float:
        proxy = Proxy("bench", dsn.host, int(dsn.port), let_through)
        await proxy.open()
        started = time.perf_counter()
        address = local_url(dsn.user, dsn.password, proxy.port, dsn.dbname)
        program = Program(Actor("bench", call=statements), address, ROOT)
        while not program.is_over():
            await asyncio.sleep(0.001)
        taken = time.perf_counter() - started
        program.end()
        await proxy.close()
        return taken

    return asyncio.run(measure())


def bench_gate(rounds: int) -> None:
    """Measure statements per second: direct, through an open proxy, and one by one as the lab schedules them."""
    from dbtools.races import Actor, Scenario
    from dbtools.races.execution.actor_process import Program
    from dbtools.races.execution.lab import Lab
    from dbtools.races.schedule import continue_current

    def direct(url: str) -> float:
        started = time.perf_counter()
        program = Program(Actor("bench", call=statements), url, ROOT)
        while not program.is_over():
            time.sleep(0.001)
        taken = time.perf_counter() - started
        program.end()
        return taken

    times: dict[str, list[float]] = {"direct": [], "open proxy": [], "scheduled": []}
    with Lab(Scenario("bench", [Actor("bench", call=statements)])) as lab:
        for _ in range(rounds):
            times["direct"].append(direct(lab.url))
            times["open proxy"].append(through_open_proxy(lab.url))
            times["scheduled"].append(seconds(partial(lab.run, continue_current)))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    rows = [(name, f"{STATEMENTS / taken:.0f}", f"{taken / medians['direct']:.1f}") for name, taken in medians.items()]
    print(table(("statements", "a second", "time beside direct"), rows))


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


MANY_TESTS = 200
SUITE = """
import os, psycopg, pytest

ADD = "insert into business_settings (business_name) values ('mine')"

@pytest.fixture(scope="session")
def shared(database_factory):
    return database_factory(profile="dev", as_of="{as_of}")

@pytest.fixture(scope="session")
def superuser(shared, postgres_server):
    address = postgres_server.admin_url.rpartition("/")[0]
    with psycopg.connect(address + "/" + shared.rpartition("/")[2], autocommit=True) as connection:
        connection.execute("set session_replication_role to replica")  # tables in any order
        yield connection

@pytest.fixture(scope="session")
def rows(superuser):
    found = {{}}
    for (name,) in superuser.execute("select oid::regclass::text from pg_class where relkind = 'r' and"
                                     " relnamespace = 'public'::regnamespace").fetchall():
        with superuser.cursor().copy("copy " + name + " to stdout") as copy:
            found[name] = b"".join(copy)
    return found

@pytest.fixture(scope="session")
def session(shared):
    with psycopg.connect(shared) as connection:
        yield connection

def use(connection):
    connection.execute(ADD)
    assert connection.execute("select count(*) from clients").fetchone()[0] > 0

def connect_and_use(url):
    with psycopg.connect(url) as connection:
        use(connection)

def with_seeded_database(seeded_database):
    connect_and_use(seeded_database)

def by_hand(shared, postgres_server, number):
    with psycopg.connect(postgres_server.url, autocommit=True) as maker:
        maker.execute(f"create database hand_{{number}} template {{shared.rpartition('/')[2]}} strategy file_copy")
        connect_and_use(postgres_server.url.rpartition("/")[0] + f"/hand_{{number}}")
        maker.execute(f"drop database hand_{{number}}")

def truncated_and_loaded(shared, superuser, rows):
    connect_and_use(shared)
    superuser.execute("truncate " + ", ".join(rows) + " cascade")
    for name, data in rows.items():
        with superuser.cursor().copy("copy " + name + " from stdin") as copy:
            copy.write(data)

def rolled_back(session):
    use(session)
    session.rollback()

def no_database():
    pass
"""
WAYS = {
    "seeded_database": "with_seeded_database(seeded_database)",
    "CREATE DATABASE … TEMPLATE, DROP": "by_hand(shared, postgres_server, number)",
    "TRUNCATE of all tables, COPY": "truncated_and_loaded(shared, superuser, rows)",
    "a transaction rolled back": "rolled_back(session)",
    "no database": "no_database()",
}
"""Test functions, and the fixtures that they are given."""


def bench_tests(rounds: int) -> None:
    """Measure what each of many tests that write costs, and how long a test waits for its database."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("SEED_", "PG"))}
    environ |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, call in WAYS.items():
                whole, one = (time_suite(Path(folder), call, count, environ) for count in (MANY_TESTS, 1))
                times[name].append((whole - one) / (MANY_TESTS - 1) * 1000)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    rows = [
        (name, f"{median:.1f} ms", f"{median / medians['CREATE DATABASE … TEMPLATE, DROP']:.2f}")
        for name, median in medians.items()
    ]
    print(table((f"each of {MANY_TESTS} tests that write", "whole test", "beside by hand"), rows))
    print()
    bench_waits()


def time_suite(folder: Path, call: str, count: int, environ: dict[str, str]) -> float:
    """Return how many seconds pytest takes for `count` tests that make this call."""
    fixtures = call.partition("(")[2].removesuffix(")")
    wanted = ", ".join(dict.fromkeys(["number", *filter(None, fixtures.split(", "))]))
    mark = f"@pytest.mark.dbtools(profile='dev', as_of='{AS_OF}')\n@pytest.mark.parametrize('number', range({count}))"
    (folder / "test_bench.py").write_text(
        SUITE.format(as_of=AS_OF) + f"\n{mark}\ndef test_it({wanted}):\n    {call}\n", "utf-8"
    )
    pytest = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(ROOT), "-p", "no:cacheprovider"]
    return seconds(partial(run, [*pytest, "-p", "dbtools.testing", str(folder / "test_bench.py")], environ))


def bench_waits() -> None:
    """Measure how long a test waits for its database, when tests take no time, and some."""
    import psycopg

    from dbtools.clones.run import Run
    from dbtools.clones.wanted import Wanted

    rows = []
    wanted = Wanted(profile="dev", as_of=AS_OF)
    run_of_tests = Run()
    try:
        client = run_of_tests.client("embedded", ROOT, lasts=False)
        template = client.take(wanted)
        with psycopg.connect(client.server["url"], autocommit=True) as maker:
            taken = []
            for number in range(MANY_TESTS // 4):
                text = f"create database hand_{number} template {template.name} strategy file_copy"
                taken.append(seconds(partial(maker.execute, text)))
                maker.execute(f"drop database hand_{number}")
        rows.append(("CREATE DATABASE … TEMPLATE by hand", *milliseconds(taken)))
        for pause in (0.0, 0.05, 0.1):
            taken = []
            for _ in range(MANY_TESTS // 4):
                started = time.perf_counter()
                database = client.take(wanted)
                taken.append(time.perf_counter() - started)
                time.sleep(pause)  # the test
                client.give_back(database)
            rows.append((f"taken, tests of {pause * 1000:.0f} ms", *milliseconds(taken)))
    finally:
        run_of_tests.close()
    print(table(("wait for a database", "median", "best", "worst"), rows))


def milliseconds(taken: list[float]) -> list[str]:
    """Return the median, the best and the worst of some seconds."""
    return [f"{value * 1000:.1f} ms" for value in (statistics.median(taken), min(taken), max(taken))]


LOAD_SCALE = 5
PGBENCH_SCALE = 3  # 100,000 rows each, about as many as those of the load


def bench_load(rounds: int) -> None:
    """Measure rows a second, in turn on one server, each into empty tables; and memory at two sizes."""
    from dbtools.db.dsn import Dsn
    from dbtools.server.embedded import EmbeddedServer
    from dbtools.server.sources import find_binaries
    from groombook.application import application

    programs = find_binaries().bin
    environ = {name: text for name, text in os.environ.items() if not name.startswith(("SEED_", "PG"))}
    content = application.load(LOAD_SCALE, 42, dt.date.fromisoformat(AS_OF))
    load = [sys.executable, "-m", "invoke", "load", "--as-of", AS_OF, "--scale"]
    peaks: dict[int, list[float]] = {LOAD_SCALE: [], 4 * LOAD_SCALE: []}
    times: dict[str, list[float]] = {"psql \\copy": [], "load": [], "load --workers 2": [], "pgbench -i": []}
    with EmbeddedServer.start() as server:
        dsn = Dsn.parse(server.url)
        environ |= {"DATABASE_URL": server.url, "PGPASSWORD": dsn.password}
        psql = [str(programs / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn.without_password().url]
        folder = server.directory / "data"  # removed with the server, also after kill -9
        commands, rows = [], 0
        for number in range(content.blocks):
            for text in content.block(number):
                file = folder / f"bench-{text.table}"
                with file.open("ab") as lines:
                    lines.write(text.data)
                rows += text.count
                commands.append(f"\\copy {text.table} ({', '.join(text.columns)}) from '{file}'")
        copy = [*psql, *(word for line in dict.fromkeys(commands) for word in ("-c", line))]
        empty = [sys.executable, "-m", "invoke", "reset"]
        pgbench = [str(programs / "pgbench"), "-i", "-q", "-s", str(PGBENCH_SCALE), dsn.without_password().url]
        for _ in range(rounds):
            run(empty, environ | {"SEED_KNOWN_USERS_ONLY": "true"})
            taken, peak = measure([*load, str(LOAD_SCALE)], environ)
            times["load"].append(rows / taken)
            peaks[LOAD_SCALE].append(peak)
            # The rows that all blocks refer to stay, as they do for psql.
            clear = "truncate clients, pets, appointments, invoices cascade"
            run([*psql, "-c", clear], environ)
            times["psql \\copy"].append(rows / seconds(partial(run, copy, environ)))
            run([*psql, "-c", clear], environ)
            taken, _ = measure([*load, str(LOAD_SCALE), "--workers", "2"], environ)
            times["load --workers 2"].append(rows / taken)
            made = seconds(partial(run, pgbench, environ))
            times["pgbench -i"].append(100_000 * PGBENCH_SCALE / made)
        run([*psql, "-c", clear], environ)
        peaks[4 * LOAD_SCALE].append(measure([*load, str(4 * LOAD_SCALE)], environ)[1])
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    ratios = {name: statistics.median(map(truediv, times[name], times["psql \\copy"])) for name in times}
    found = [(name, f"{median:.0f}", f"{ratios[name]:.2f}") for name, median in medians.items()]
    print(table((f"{rows} rows", "rows a second", "beside \\copy, pairwise"), found))
    print()
    sizes = [(str(scale), f"{statistics.median(peak):.0f} MiB") for scale, peak in peaks.items()]
    print(table(("scale of a load", "peak memory"), sizes))


def measure(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Run a command to its end; return the seconds that it took, and the MiB of memory that it had at most."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit {process.returncode}")
    return taken, usage.ru_maxrss / 1024


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


def main() -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=5, help="measurements per figure, which is their median")
    chosen = parser.parse_args()
    for name in chosen.parts or PARTS:
        PARTS[name](chosen.rounds)
        print()


if __name__ == "__main__":
    main()
