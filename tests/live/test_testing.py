"""The pytest plugin, in suites of other projects: what tests get, what they leave, and what they are told."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dbtools.server import Server
from dbtools.server.postmaster import is_free
from tests.support.suites import Suite, outcomes
from tests.support.waiting import until

WRITES = """
import os, pathlib, signal, psycopg, pytest
from shop import count

@pytest.mark.parametrize("n", range(30))
def test_writes(seeded_database, n):
    with pathlib.Path(os.environ["SEEN"]).open("a") as file:
        file.write(seeded_database + chr(10))
    assert count(seeded_database) == 5
    with psycopg.connect(seeded_database, autocommit=True) as connection:
        connection.execute("insert into items (name) values ('mine')")
        if n == 12 and "KILL" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        assert n not in (7, 27), "on purpose"
"""


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


@pytest.fixture
def lasting(pg_server: Server) -> Iterator[str]:
    """The URL of a server that outlives a suite's run: that of this test, as DBTOOLS_TEST_URL would name it."""
    yield pg_server.url
    with psycopg.connect(pg_server.url, autocommit=True) as connection:
        for name, comment in databases(connection):
            if '"shop"' in comment:
                connection.execute(f"drop database {name}")


def databases(connection: psycopg.Connection) -> list[tuple[str, str]]:
    return connection.execute(
        "select datname, coalesce(shobj_description(oid, 'pg_database'), '') from pg_database order by 1"
    ).fetchall()


def of_shop(url: str, kind: str) -> list[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        return [name for name, comment in databases(connection) if '"shop"' in comment and f'"{kind}"' in comment]


def test_four_workers_share_a_server_and_a_build_and_one_of_them_is_killed(suite: Suite, tmp_path: Path) -> None:
    suite.write("test_writes.py", WRITES)
    seen = tmp_path / "seen"
    done = suite.run("-n", "4", SEEN=str(seen), KILL="yes")
    assert outcomes(done) == {"failed": 3, "passed": 27}, done.stdout
    assert "crashed while running 'test_writes.py::test_writes[12]'" in done.stdout
    urls = seen.read_text("utf-8").split()
    assert len(urls) == len(set(urls)) == 30  # a database of its own for each
    (port,) = {int(url.rpartition(":")[2].partition("/")[0]) for url in urls}
    assert suite.count_builds() == 1
    assert "PostgreSQL 16" in done.stdout
    assert re.search(r"dbtools_test_\w+ goes at the end of the run. To keep it: pytest --keep-databases", done.stdout)
    assert is_free(port)  # nobody has to end it
    password = urls[0].partition(":")[2].partition(":")[2].partition("@")[0]
    assert password not in done.stdout


def test_on_a_lasting_server_templates_stay_and_databases_of_failed_tests(
    suite: Suite, lasting: str, tmp_path: Path
) -> None:
    suite.write("test_writes.py", WRITES)
    environ = {"SEEN": str(tmp_path / "seen"), "DBTOOLS_TEST_URL": lasting}
    done = suite.run("-n", "2", KILL="yes", **environ)
    assert outcomes(done) == {"failed": 3, "passed": 27}, done.stdout
    kept = re.findall(
        r"Kept, as are the last 5 of the project: postgresql://app:\*\*\*@127.0.0.1:\d+/(\w+)", done.stdout
    )
    assert sorted(of_shop(lasting, "kept")) == sorted(kept)
    assert len(kept) == 2
    (template,) = of_shop(lasting, "template")
    with psycopg.connect(lasting) as connection:
        owned = {name.split("_")[2] for name in kept}
        names = [name for name, _ in databases(connection) if re.match(r"dbtools_test_", name)]
    assert {name for name in names if name.split("_")[2] in owned} == set(kept)
    assert suite.run("-k", "writes[3]", **environ).returncode == 0
    assert suite.count_builds() == 1
    assert of_shop(lasting, "template") == [template]


@pytest.mark.parametrize("server", ["a superuser's", "of another version"])
def test_what_goes_with_the_run_is_not_said_to_be_kept(suite: Suite, pg_admin: str, server: str) -> None:
    suite.write("test_one.py", "def test_one(seeded_database):\n    assert not seeded_database\n")
    done = suite.run(DBTOOLS_TEST_URL=pg_admin) if server == "a superuser's" else suite.run("--pg-server", "16")
    assert outcomes(done) == {"failed": 1}, done.stdout
    (name,) = re.findall(r"(dbtools_test_\w+) goes at the end of the run\.\n", done.stdout)
    assert "Kept" not in done.stdout
    with psycopg.connect(pg_admin) as connection:
        assert name not in [name for name, _ in databases(connection)]


def test_a_marker_says_what_the_database_holds(suite: Suite) -> None:
    done = suite.invoke("snapshot.save", "nine.dbsnap", SEED_PROFILE="9")
    assert done.returncode == 0, done.stderr
    suite.invoke("server.stop")
    suite.write(
        "test_content.py",
        """
        import os, psycopg, pytest
        from shop import count

        pytestmark = pytest.mark.dbtools(profile="7")

        def test_of_the_module(seeded_database):
            assert count(seeded_database) == 7

        @pytest.mark.dbtools(profile="8", as_of="2026-11-23", seed=3)
        def test_of_the_test(seeded_database):
            assert count(seeded_database) == 8

        @pytest.mark.dbtools(schema_only=True)
        def test_schema(seeded_database):
            assert count(seeded_database) == 0

        def test_factory(database_factory):
            assert count(database_factory(snapshot="nine.dbsnap")) == 9
            assert database_factory() != database_factory()

        def test_empty(empty_database, pg_database, pg_server, postgres_server, pg_admin):
            assert pg_server is postgres_server
            for url in (empty_database, pg_database, pg_admin):
                with psycopg.connect(url) as connection:
                    assert connection.execute("select to_regclass('items')").fetchone() == (None,)

        def test_variables(database_url, seeded_database):
            assert os.environ["DATABASE_URL"] == database_url
            assert database_url.startswith("postgresql+asyncpg://")
            assert database_url.rpartition("/")[2] == seeded_database.rpartition("/")[2] == os.environ["SHOP_DB"]
            with psycopg.connect("") as connection:
                assert connection.info.dbname == os.environ["SHOP_DB"]

        def test_afterwards():
            assert os.environ["DATABASE_URL"] == "postgresql+asyncpg://nobody@nowhere/none"
            assert "SHOP_DB" not in os.environ

        def test_other_tools_find_the_databases_that_they_expect(postgres_server):
            address = postgres_server.url.rpartition("/")[0]
            with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
                connection.execute("create database other template template0")
        """,
    )
    toml = suite.root / "pyproject.toml"
    toml.write_text(
        toml.read_text("utf-8").replace("[tool.pytest", 'env = { SHOP_DB = "{dbname}" }\n[tool.pytest'), "utf-8"
    )
    done = suite.run(DATABASE_URL="postgresql+asyncpg://nobody@nowhere/none")
    assert outcomes(done) == {"passed": 8}, done.stdout


def test_what_is_wrong_is_said_in_three_lines_and_tried_once(suite: Suite) -> None:
    suite.write("seed.py", SEED_FAILS)
    suite.write(
        "test_errors.py",
        """
        import pytest

        def test_one(seeded_database): ...
        def test_two(database_url): ...

        @pytest.mark.dbtools("uat")
        def test_positional(seeded_database): ...

        @pytest.mark.dbtools(profil="uat")
        def test_unknown(seeded_database): ...

        @pytest.mark.dbtools(snapshot="a.dbsnap", seed=3)
        def test_both(seeded_database): ...

        @pytest.mark.dbtools(snapshot="a.dbsnap")
        def test_no_file(seeded_database): ...

        @pytest.mark.dbtools(as_of="tomorrow")
        def test_no_day(seeded_database): ...
        """,
    )
    done = suite.run()
    assert outcomes(done) == {"errors": 7}, done.stdout
    assert "Traceback" not in done.stdout
    assert "dbtools/" not in done.stdout.replace("dbtools/testing", "")
    assert done.stdout.count("no rows today") == 2
    assert suite.count_builds() == 1
    for line in (
        "The marker dbtools takes keywords only, and was given 'uat'.",
        "The marker dbtools knows no 'profil'. It knows: profile, as_of, seed, schema_only, snapshot.",
        "snapshot is the whole content: nothing else can be said beside it.",
        f"{suite.root / 'a.dbsnap'} is not a snapshot that can be read.",
        "as_of is not a date: 'tomorrow'.",
    ):
        assert line in done.stdout, line


SEED_FAILS = """
import os
with open(os.environ["BUILDS"], "a") as file:
    file.write("built ")
raise SystemExit("no rows today")
"""


def test_a_role_that_may_not_create_databases_is_told_what_to_grant(
    suite: Suite, pg_database: str, pg_admin: str
) -> None:
    suite.write("test_one.py", "def test_one(empty_database): ...\n")
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        role = "plain_" + re.sub(r"\W", "", pg_database.rpartition("/")[2])
        admin.execute(f"create role {role} login password 'x'")
        try:
            address = pg_database.rpartition("@")[2]
            done = suite.run(DBTOOLS_TEST_URL=f"postgresql://{role}:x@{address}")
        finally:
            admin.execute(f"drop role {role}")
    assert f"Role {role} may not create databases on 127.0.0.1:" in done.stdout
    assert f'As a superuser: alter role "{role}" createdb;' in done.stdout
    assert outcomes(done) == {"error": 1}


def test_nothing_is_started_or_imported_before_a_fixture_asks(suite: Suite) -> None:
    suite.write(
        "test_plain.py",
        """
        import sys

        def test_plain():
            plugin = {"dbtools.testing", "dbtools.testing.hooks", "dbtools.testing.lending"}
            assert {name for name in sys.modules if name.startswith("dbtools")} == {"dbtools", *plugin}
            assert not {"psycopg", "multiprocessing.connection"} & sys.modules.keys()
        """,
    )
    done = suite.run()
    assert outcomes(done) == {"passed": 1}, done.stdout
    assert "@pytest.mark.dbtools(profile=..., as_of=..., seed=..., schema_only=True," in suite.run("--markers").stdout


def test_a_server_that_the_tests_bring_along_is_used(suite: Suite, lasting: str) -> None:
    suite.write(
        "conftest.py",
        """
        import os, pytest
        from dbtools.server.external import ExternalServer

        @pytest.fixture(scope="session")
        def postgres_server():
            with ExternalServer(os.environ["MINE"]) as server:
                yield server
        """,
    )
    suite.write(
        "test_mine.py",
        """
        import os
        from shop import count

        def test_mine(seeded_database, pg_database):
            assert count(seeded_database) == 5
            places = {url.rpartition("/")[0] for url in (seeded_database, pg_database, os.environ["MINE"])}
            assert len(places) == 1
        """,
    )
    done = suite.run(MINE=lasting)
    assert outcomes(done) == {"passed": 1}, done.stdout


def test_keep_databases_takes_the_projects_own_server(suite: Suite) -> None:
    suite.write("test_one.py", "def test_one(seeded_database): raise SystemError\n")
    done = suite.run("--keep-databases")
    try:
        found = re.search(r"also invoke (sandbox.psql \w+)", done.stdout)
        assert found, done.stdout
        shown = suite.invoke(*found[1].split(), "--", "-Atc", "select count(*) from items")
        assert shown.stdout == "5\n", shown.stderr
    finally:
        suite.invoke("server.stop")


def test_the_end_of_the_keeper_is_said(suite: Suite) -> None:
    suite.write(
        "test_keeper.py",
        """
        import os, signal
        from dbtools.testing.lending import RUN

        def test_kill(empty_database, pytestconfig):
            (keeper,) = pytestconfig.stash[RUN]._started
            keeper.send_signal(signal.SIGKILL)
            keeper.wait()

        def test_next(empty_database): ...
        """,
    )
    done = suite.run()
    assert outcomes(done) == {"passed": 1, "errors": 2}, done.stdout
    assert "The process that keeps the tests' databases has ended.\nThe end of what it said: nothing." in done.stdout
    assert "Traceback" not in done.stdout


def test_another_word_for_the_server_is_refused(suite: Suite) -> None:
    suite.write("test_one.py", "def test_one(empty_database): ...\n")
    done = suite.run("-o", "dbtools_server=cloud")
    assert "dbtools_server cannot be 'cloud'. Wanted one of: embedded, container, project." in done.stdout


def test_the_keeper_ends_when_a_run_is_killed(suite: Suite, tmp_path: Path) -> None:
    suite.write(
        "test_end.py",
        """
        import os, pathlib, signal

        def test_end(empty_database):
            pathlib.Path(os.environ["SEEN"]).write_text(empty_database)
            os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    seen = tmp_path / "seen"
    assert suite.run(SEEN=str(seen)).returncode == -9
    port = int(seen.read_text("utf-8").rpartition(":")[2].partition("/")[0])
    until(lambda: is_free(port), f"the server on {port} still runs, of {os.getpid()}")
