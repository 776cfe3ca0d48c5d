"""Alembic and a function of the project, run as steps: any env.py as it is, what is called gets what it asks for."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import alembic
import psycopg
import pytest

from dbtools.server import Server
from tests.support.led import LEAD, run_led

ROOT = Path(__file__).resolve().parent.parent.parent
INI = """
[alembic]
script_location = migrations
sqlalchemy.url = {url}
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = WARNING
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = plain
[formatter_plain]
format = %(message)s
"""
OFFLINE_OR = """
from logging.config import fileConfig
from alembic import context
config = context.config
assert config.config_file_name is not None and config.cmd_opts is not None and not context.is_offline_mode()
fileConfig(config.config_file_name)
def run(connection, **more):
    context.configure(connection=connection, target_metadata=None, **more)
    with context.begin_transaction():
        context.run_migrations()
"""
SECTION = """
from sqlalchemy import engine_from_config, pool
section = config.get_section(config.config_ini_section)
engine = engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
with engine.connect() as connection:
    run(connection{more})
"""
ENVIRONMENTS = {
    "engine_from_config": SECTION.format(more=""),
    "its own version table": SECTION.format(more=", version_table='versions', transaction_per_migration=True"),
    "attributes hold an engine or nothing": """
from sqlalchemy import create_engine
engine = config.attributes.get("connection", None)
if engine is None:
    engine = create_engine(config.get_main_option("sqlalchemy.url"))
with engine.connect() as connection:
    run(connection)
""",
    "settings from .env": """
from app.settings import url
from sqlalchemy import create_engine
config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
with create_engine(config.get_main_option("sqlalchemy.url")).begin() as connection:
    run(connection)
""",
    "asyncpg": """
import asyncio
from sqlalchemy.ext.asyncio import async_engine_from_config
async def go():
    url = config.get_main_option("sqlalchemy.url").replace("psycopg", "asyncpg")
    engine = async_engine_from_config({**config.get_section("alembic"), "sqlalchemy.url": url}, prefix="sqlalchemy.")
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()
asyncio.run(go())
""",
}
SETTINGS = """
from pathlib import Path
lines = Path(".env").read_text().splitlines()
url = dict(line.split("=", 1) for line in lines)["POSTGRES_URL_OVERRIDE"]
"""


def revision(name: str, after: str | None, body: str) -> str:
    return f"from alembic import op\nrevision, down_revision = {name!r}, {after!r}\ndef upgrade():\n    {body}\n"


def create(table: str) -> str:
    return f'op.execute("create table {table} (id int)")'


@pytest.fixture
def trap(pg_server: Server) -> Iterator[str]:
    """The database that the settings name."""
    yield pg_server.create_database("trap")
    pg_server.drop_database("trap")


@pytest.fixture
def project(tmp_path: Path, trap: str) -> Path:
    """A project with two revisions whose settings name the trap; it has no env.py yet."""
    folder = tmp_path / "project"
    url = trap.replace("postgresql", "postgresql+psycopg")
    files = {
        "alembic.ini": INI.format(url=url.replace("%", "%%")),
        ".env": f"POSTGRES_URL_OVERRIDE={url}\n",
        "app/settings.py": SETTINGS,
        "migrations/versions/one.py": revision("one", None, create("one")),
        "migrations/versions/two.py": revision("two", "one", create("two")),
    }
    for name, text in files.items():
        write(folder / name, text)
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
        )
        return {name for (name,) in names}


def upgrade(project: Path, url: str, *config: str) -> dict[str, Any]:
    report = project / "report.json"
    done = run_led([str(LEAD / "run_alembic.py"), str(report), *config], project, url=url)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(report.read_text())
    return found


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=list(ENVIRONMENTS))
def test_any_env_py_runs_as_it_is(project: Path, pg_database: str, trap: str, environment: str) -> None:
    write(project / "migrations/env.py", OFFLINE_OR + environment)
    assert upgrade(project, pg_database) == {
        "heads": ["two"],
        "revisions": ["two", "one"],
        "version": alembic.__version__,
    }
    assert tables(pg_database) - {"alembic_version", "versions"} == {"one", "two"}
    assert tables(trap) == set()


def test_two_heads_in_two_folders_are_both_gone_to(project: Path, pg_database: str) -> None:
    write(project / "migrations/env.py", OFFLINE_OR + SECTION.format(more=""))
    write(project / "more/three.py", revision("three", None, create("three")))
    ini = (project / "alembic.ini").read_text()
    write(
        project / "db/other.ini",
        ini.replace(
            "= migrations", "= migrations\nversion_locations = migrations/versions more\npath_separator = space"
        ),
    )
    found = upgrade(project, pg_database, "db/other.ini")
    assert (set(found["heads"]), set(found["revisions"])) == ({"two", "three"}, {"one", "two", "three"})
    assert tables(pg_database) == {"alembic_version", "one", "two", "three"}


def test_each_revision_is_executed_once(project: Path, pg_database: str) -> None:
    write(project / "migrations/env.py", OFFLINE_OR + SECTION.format(more=""))
    write(
        project / "migrations/versions/two.py",
        "open('loaded', 'a').write('x')\n" + revision("two", "one", create("two")),
    )
    upgrade(project, pg_database)
    assert (project / "loaded").read_text() == "x"


def test_the_migrations_of_this_repository(pg_database: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = run_led(
        [str(LEAD / "run_alembic.py"), str(report)],
        ROOT,
        url=pg_database,
        environment={"DATABASE_URL": "postgresql://nobody@db.invalid/prod"},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert len(found["revisions"]) == len(list((ROOT / "migrations/versions").glob("*.py")))
    assert "clients" in tables(pg_database)


@pytest.mark.parametrize(
    ("file", "line", "end"),
    [
        (
            "migrations/versions/two.py",
            'op.execute("alter table nope add x int")',
            'psycopg.errors.UndefinedTable: relation "nope" does not exist\n'
            '  at migrations/versions/two.py:4: op.execute("alter table nope add x int")\n',
        ),
        (
            "migrations/versions/two.py",
            "assert False",
            "AssertionError\n  at migrations/versions/two.py:4: assert False\n",
        ),
        ("migrations/versions/two.py", "{}['url']", "KeyError: 'url'\n  at migrations/versions/two.py:4: {}['url']\n"),
        (
            "migrations/versions/two.py",
            "x = (",
            "SyntaxError: '(' was never closed\n  at migrations/versions/two.py:4: x = (\n",
        ),
        (
            "migrations/env.py",
            "import nowhere",
            "ModuleNotFoundError: No module named 'nowhere'\n  at migrations/env.py:11: import nowhere\n",
        ),
    ],
)
def test_an_error_ends_in_its_type_message_and_place(
    project: Path, pg_database: str, file: str, line: str, end: str
) -> None:
    write(project / "migrations/env.py", OFFLINE_OR + (line if "env" in file else SECTION.format(more="")))
    if "env" not in file:
        write(project / file, revision("two", "one", line))
    done = run_led([str(LEAD / "run_alembic.py"), "report.json"], project, url=pg_database)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.endswith("\n\n" + end)
    assert not (project / "report.json").exists()


def test_a_complaint_of_alembic_is_the_last_line(tmp_path: Path, pg_database: str) -> None:
    done = run_led([str(LEAD / "run_alembic.py"), "report.json"], tmp_path, url=pg_database)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("alembic.util.exc.CommandError: No 'script_location' key found")


CALLS = """
from sqlalchemy import text
INSERT = "insert into made values (1)"
def url(url, *, dsn, size=1):
    import psycopg
    assert url == dsn
    with psycopg.connect(url) as connection: connection.execute(INSERT)
def conn(conn): conn.execute(INSERT)
def connection(connection, conn):
    assert connection is conn
    connection.execute(INSERT)
def engine(engine):
    with engine.begin() as connection: connection.execute(text(INSERT))
def nothing():
    import os, psycopg
    with psycopg.connect(os.environ["APP_DATABASE"]) as connection: connection.execute(INSERT)
class Seeds:
    @staticmethod
    def run(conn): conn.execute(INSERT)
async def async_conn(conn): await conn.execute(INSERT)
async def async_engine(engine):
    async with engine.begin() as connection: await connection.execute(text(INSERT))
def failing(conn):
    conn.execute(INSERT)
    raise LookupError("no such breed")
async def async_group():
    raise ExceptionGroup("unhandled errors in a TaskGroup", [LookupError("no such breed")])
def wants_more(conn, size): ...
"""


@pytest.fixture
def seeds(tmp_path: Path, pg_database: str) -> Path:
    write(tmp_path / "app/seeds.py", textwrap.dedent(CALLS))
    with psycopg.connect(pg_database) as connection:
        connection.execute("create table made (id int)")
    return tmp_path


def rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        return len(connection.execute("select from made").fetchall())


@pytest.mark.parametrize(
    "name", ["url", "conn", "connection", "engine", "nothing", "Seeds.run", "async_conn", "async_engine"]
)
def test_a_function_gets_what_its_parameters_name(seeds: Path, pg_database: str, name: str) -> None:
    words = [str(LEAD / "run_call.py"), f"app.seeds:{name}"]
    done = run_led(words, seeds, url=pg_database, environment={"APP_DATABASE": "postgresql://db.invalid/prod"})
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(pg_database) == 1


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("failing", 'LookupError: no such breed\n  at app/seeds.py:25: raise LookupError("no such breed")\n'),
        ("async_group", "LookupError: no such breed\n  at app/seeds.py:27: raise ExceptionGroup"),
        ("nowhere", "AttributeError: module 'app.seeds' has no attribute 'nowhere'\n"),
        (
            "wants_more",
            "TypeError: app.seeds:wants_more wants a parameter 'size'; a call step can give it connection (or conn), "
            "url (or dsn) and engine\n",
        ),
    ],
)
def test_a_function_that_fails_leaves_nothing_and_says_why(seeds: Path, pg_database: str, name: str, end: str) -> None:
    done = run_led([str(LEAD / "run_call.py"), f"app.seeds:{name}"], seeds, url=pg_database)
    assert done.returncode == 1
    assert f"\n\n{end}" in done.stderr
    assert rows(pg_database) == 0
