"""A database with the project's content for each test, beside other ways to give each test a clean one."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from dbtools.console import table
from scripts.bench.measure import AS_OF, ROOT, clean_environment, milliseconds, run, seconds

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
    environ = clean_environment()
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
