"""Servers with extensions: those of the distribution's PostgreSQL, and `vector` of the wheel.

They need the distribution's server with contrib: scripts/system_postgres.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dbtools.db.dsn import Dsn
from dbtools.errors import ServerError
from dbtools.races.execution.lab import Lab
from dbtools.races.scenario import Actor, Scenario, Script
from dbtools.races.strategies import Replay
from dbtools.server.binaries import Binaries
from dbtools.server.embedded import EmbeddedServer
from dbtools.server.project import find_server, start_server, stop_server
from dbtools.server.requirements import Requirements
from dbtools.server.run_as import Account
from dbtools.server.sources import sources

ROOT = Path(__file__).resolve().parent.parent.parent
CONTRIB = ("pg_trgm", "citext", "uuid-ossp", "pgcrypto", "hstore", "btree_gist", "unaccent")
MADE = "select extname from pg_extension where extname <> 'plpgsql' order by 1"


@pytest.fixture(scope="module")
def system() -> Binaries:
    """The distribution's programs, with contrib."""
    for binaries in sources():
        if not binaries.wheel and binaries.extensions.issuperset(CONTRIB):
            return binaries
    why = "no PostgreSQL with contrib is installed: scripts/system_postgres"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    stop_server(tmp_path)


def configure(root: Path, server: str, migrate: str = "", seed: str = "") -> None:
    (root / "pyproject.toml").write_text(
        '[tool.dbtools]\nmigrate = { sql = "migrate.sql" }\nseed = { sql = "seed.sql" }\n'
        f"[tool.dbtools.server]\n{server}\n",
        "utf-8",
    )
    (root / "tasks.py").write_text("from dbtools.commands import namespace\n", "utf-8")
    (root / "migrate.sql").write_text(migrate, "utf-8")
    (root / "seed.sql").write_text(seed, "utf-8")


def invoke(root: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *words],
        cwd=root,
        env=environment | {"PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def ask(url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(sql).fetchall()


def test_a_throwaway_server_of_the_distribution_has_them_in_every_database(system: Binaries) -> None:
    with EmbeddedServer.start(Requirements(system.major, CONTRIB, {"work_mem": "7MB"})) as server:
        assert server.version.startswith(f"{system.major}.")
        for url in (server.url, server.create_database("another")):
            assert ask(url, MADE) == [(name,) for name in sorted(CONTRIB)]
        assert ask(server.url, "show work_mem") == [("7MB",)]
        assert ask(server.url, "select current_user, similarity('one', 'one')") == [("app", 1.0)]


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become nobody")
def test_the_account_nobody_runs_the_distributions_programs_where_they_are(system: Binaries) -> None:
    requirements = Requirements(system.major, ("citext",), programs=system.bin)
    with EmbeddedServer.start(requirements, account=Account("nobody")) as server:
        assert ask(server.url, MADE) == [("citext",)]
        assert os.fsencode(system.bin) in Path(f"/proc/{server.pid}/cmdline").read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become nobody")
def test_programs_that_nobody_cannot_reach_are_refused(system: Binaries, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "bin").mkdir(parents=True, mode=0o755)
    (closed / "bin" / "postgres").symlink_to(system.bin / "postgres")
    (closed / "share" / "extension").mkdir(parents=True, mode=0o700)
    (closed / "share" / "extension" / "plpgsql.control").touch()
    closed.chmod(0o700)
    requirements = Requirements(system.major, programs=closed / "bin")
    with pytest.raises(ServerError) as caught:
        EmbeddedServer.start(requirements, account=Account("nobody"))
    assert caught.value.what == f"The account nobody cannot run the PostgreSQL programs in {closed / 'bin'}."
    assert caught.value.hint.startswith("Run this as an ordinary user, or as root: chmod o+x ")


def test_an_extension_that_cannot_be_made_ends_the_start(system: Binaries) -> None:
    folder = system.share / "extension"
    if not (folder / "pg_stat_statements.control").is_file():
        pytest.skip("no pg_stat_statements")
    with EmbeddedServer.start(Requirements(system.major, ("pg_stat_statements",))) as server:
        assert ask(server.url, MADE) == [("pg_stat_statements",)]  # only its use needs the library
    settings = {"shared_preload_libraries": "pg_stat_statements"}
    with EmbeddedServer.start(Requirements(system.major, ("pg_stat_statements",), settings)) as server:
        assert ask(server.url, "select count(*) > 0 from pg_stat_statements") == [(True,)]
    with pytest.raises(ServerError) as caught:
        EmbeddedServer.start(Requirements(system.major, settings={"shared_preload_libraries": "no_such"}))
    assert 'could not access file "no_such"' in caught.value.why


def test_the_lab_runs_on_the_distributions_server(system: Binaries) -> None:
    actors = [Actor(word, call=Script([f"insert into words values ('{word}')"])) for word in ("one", "ONE")]
    scenario = Scenario("words", actors, start=["create table words (word citext primary key)"])
    with Lab(scenario, Requirements(system.major, ("citext",), {"autovacuum": "on"})) as lab:
        run = lab.run(Replay(()))
        assert "23505" in " ".join(run.failures)
        assert ask(lab.url, "show autovacuum") == [("off",)]  # the lab's own settings win


@pytest.mark.parametrize("exists", ["if not exists ", ""], ids=["if not exists", "bare"])
def test_a_project_that_makes_its_extensions(system: Binaries, project: Path, exists: str) -> None:
    configure(
        project,
        f'major = {system.major}\nextensions = ["pg_trgm", "citext"]',
        f"create extension {exists}pg_trgm; create extension {exists}citext;"
        " create table people (name citext);"
        " create index people_trgm on people using gist (lower(name) gist_trgm_ops);",
        "insert into people values ('Ann'), ('BOB');",
    )
    first = invoke(project, "reset")
    assert f"Started PostgreSQL {system.major}." in first.stderr
    told = [line for line in first.stderr.splitlines() if line.startswith("Once more")]
    assert told == [
        f"Once more, without the extension that the steps make themselves: {name}"
        for name in (() if exists else ("pg_trgm", "citext"))
    ]
    content = invoke(project, "digest").stdout
    invoke(project, "reset")
    invoke(project, "reset", "--in-place")
    invoke(project, "reset", "--rebuild")
    assert invoke(project, "digest").stdout == content
    kept = invoke(project, "build", "--keep").stdout.splitlines()[-2].removeprefix("To drop it: drop database ")
    server = find_server(project)
    assert server is not None
    assert ask(server.url, "select name::text from people where name = 'bob'") == [("BOB",)]
    assert ask(Dsn.parse(server.url).with_database(kept.rstrip(";")).url, "select count(*) from people") == [(2,)]
    status = invoke(project, "server.status").stdout
    assert f"\nPrograms: {system.bin}\nExtensions: pg_trgm, citext\n" in status


@pytest.mark.parametrize("exists", ["if not exists ", ""], ids=["if not exists", "bare"])
def test_a_role_without_superuser_rights_gets_vector(project: Path, exists: str) -> None:
    configure(
        project,
        'extensions = ["vector"]',
        f"create extension {exists}vector; create table items (place vector(3));",
        "insert into items values ('[1,2,3]');",
    )
    invoke(project, "reset")
    content = invoke(project, "digest").stdout
    invoke(project, "reset", "--rebuild")
    assert invoke(project, "digest").stdout == content
    server = find_server(project)
    assert server is not None
    assert ask(server.url, "select usesuper, place::text from items, pg_user where usename = current_user") == [
        (False, "[1,2,3]")
    ]


@pytest.mark.parametrize(
    ("name", "said", "own"),
    [
        ("pg_trgm", 'extension "pg_trgm" is not available', "install pg_trgm there"),
        ("vector", 'permission denied to create extension "vector"', 'as a superuser: create extension "vector";'),
    ],
)
def test_a_step_without_its_extension_is_told_how_to_get_it(project: Path, name: str, said: str, own: str) -> None:
    configure(project, "", f"create extension {name};")
    lines = invoke(project, "reset", code=1).stderr.splitlines()
    assert any(said in line for line in lines)
    assert lines[-1] == (
        f'On a server that dbtools starts: [tool.dbtools.server] extensions = ["{name}"]; on one of your own, {own}'
    )


def test_an_extension_that_the_steps_only_use_is_there(system: Binaries, project: Path) -> None:
    table = f'major = {system.major}\nextensions = ["hstore"]'
    configure(project, table, "create table t (h hstore);", "insert into t values ('a=>1');")
    invoke(project, "reset")
    invoke(project, "reset", "--rebuild")


def test_an_extension_of_the_targets_own_role_is_there_for_steps_that_ask_for_it(
    system: Binaries, project: Path
) -> None:
    configure(
        project,
        f"major = {system.major}",
        "do $$ begin if not exists (select from pg_extension where extname = 'citext') then"
        " raise exception 'Please install these first: citext'; end if; end $$; create table people (name citext);",
        "insert into people values ('Ann');",
    )
    with psycopg.connect(start_server(project, Requirements(system.major)).url, autocommit=True) as connection:
        connection.execute("create extension citext")
    told = invoke(project, "reset").stderr.splitlines()
    assert [line for line in told if line.startswith("Once more")] == [
        "Once more, with the extensions that are there: citext"
    ]


@pytest.mark.parametrize("listed", ['"citext"', ""], ids=["listed", "of the target"])
def test_a_build_on_a_throwaway_server_has_them(system: Binaries, project: Path, listed: str) -> None:
    configure(
        project,
        f"major = {system.major}\nextensions = [{listed}]",
        "create extension if not exists citext; create table people (name citext);",
        "insert into people values ('Ann');",
    )
    server = start_server(project, Requirements(system.major))
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        admin.execute("alter role app nocreatedb")
        admin.execute("create extension if not exists citext")
    invoke(project, "reset")
    assert ask(server.url, "select count(*) from people where name = 'ANN'") == [(1,)]


def test_what_is_required_later_is_made_in_the_running_server(system: Binaries, project: Path) -> None:
    requirements = Requirements(system.major, ("citext",))
    server = start_server(project, requirements)
    assert server.extensions == ("citext",)
    more = start_server(project, Requirements(system.major, ("citext", "hstore")))
    assert (more.pid, more.extensions) == (server.pid, ("citext", "hstore"))
    assert ask(server.url, MADE) == [("citext",), ("hstore",)]
    with pytest.raises(ServerError) as caught:
        start_server(project, Requirements(system.major, ("no_such",)))
    assert str(caught.value) == (
        "The project's own server runs without what is required: no_such.\n"
        f"It was started before that was, with the programs in {system.bin}, which do not have it.\n"
        "To end it, its data kept: invoke server.stop; then run this again."
    )
    with pytest.raises(ServerError) as caught:
        start_server(project, Requirements(system.major, programs=next(sources()).bin))
    assert caught.value.what == "The project's own server runs already, with other programs."


def test_another_version_is_another_server_and_the_data_of_the_first_stay(system: Binaries, project: Path) -> None:
    configure(project, "")
    started = invoke(project, "server.start", "--server", str(system.bin))
    assert started.stdout.startswith(f"PostgreSQL {system.major}.")
    # Without a version in the table, the server that runs is the project's.
    assert invoke(project, "server.psql", "--", "-Atc", "create table kept ()").stdout == "CREATE TABLE\n"
    refused = invoke(project, "server.start", "--server", "17", code=1)
    assert refused.stderr.startswith("There is no PostgreSQL 17 to start.\n")
    configure(project, "major = 16")
    refused = invoke(project, "server.start", "--server", str(system.major), code=2)
    assert refused.stderr == (
        f"The project's own server cannot be PostgreSQL {system.major}.\n"
        "[tool.dbtools.server] says major = 16, and every other command goes by that. Nothing was run.\n"
        f"Set it there: major = {system.major}\n"
    )
    started = invoke(project, "server.start")
    kept = project.resolve() / ".dbtools" / f"server-{system.major}" / "data"
    assert (
        f"It is new and empty; what a server of PostgreSQL {system.major} held stays in {kept}"
        " (invoke server.upgrade brings it here)\n"
    ) in started.stderr
    configure(project, f"major = {system.major}")
    assert invoke(project, "server.psql", "--", "-Atc", "select count(*) from kept").stdout == "0\n"
    assert invoke(project, "server.stop").stdout == "Stopped.\n"
    assert find_server(project, Requirements(16)) is None
    assert find_server(project, Requirements(system.major)) is None


def test_the_fixture_gives_databases_with_them(system: Binaries, project: Path) -> None:
    configure(project, f'major = {system.major}\nextensions = ["unaccent"]')
    (project / "test_it.py").write_text(
        "import psycopg\n"
        "def test_it(pg_database):\n"
        "    with psycopg.connect(pg_database) as connection:\n"
        "        assert connection.execute(\"select unaccent('é')\").fetchone() == ('e',)\n",
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "dbtools.testing", "-p", "no:cacheprovider", "."],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
