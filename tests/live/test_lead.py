"""Whatever the settings of a program name, it connects to the database that it is led to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dbtools.db.dsn import Dsn
from dbtools.server import Server
from tests.support.led import read_record, run_led

SETTINGS = """
import asyncio, os
from urllib.parse import urlsplit
URL = os.environ["TRAP"]
place = urlsplit(URL)
KEYWORDS = dict(host=place.hostname, port=place.port, user=place.username, password=place.password)
NAME = place.path[1:]
SQL = "create table made (id int)"
def engine(driver):
    from sqlalchemy import create_engine
    return create_engine(URL.replace("postgresql", "postgresql+" + driver))
def run(engine):
    from sqlalchemy import text
    with engine.begin() as connection:
        connection.execute(text(SQL))
def run_async(driver):
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine
    async def go():
        engine = create_async_engine(URL.replace("postgresql", "postgresql+" + driver))
        async with engine.begin() as connection:
            await connection.execute(text(SQL))
        await engine.dispose()
    asyncio.run(go())
"""
PROGRAMS = {
    "psycopg": "import psycopg\nwith psycopg.connect(URL, sslmode='disable') as c: c.execute(SQL)",
    "psycopg, keywords": "import psycopg\nwith psycopg.connect(dbname=NAME, **KEYWORDS) as c: c.execute(SQL)",
    "psycopg, class": "from psycopg import Connection\nwith Connection.connect(URL) as c: c.execute(SQL)",
    "psycopg, subclass": """
import psycopg
class Mine(psycopg.Connection): pass
with Mine.connect(URL) as c: c.execute(SQL)""",
    "psycopg, async": """
import psycopg
async def go():
    async with await psycopg.AsyncConnection.connect(URL) as connection:
        await connection.execute(SQL)
asyncio.run(go())""",
    "psycopg, unknown host": "import psycopg\nwith psycopg.connect('host=db.invalid dbname=prod') as c: c.execute(SQL)",
    "psycopg, async, unknown host": """
import psycopg
async def go():
    async with await psycopg.AsyncConnection.connect("postgresql://db.invalid/prod") as connection:
        await connection.execute(SQL)
asyncio.run(go())""",
    "psycopg, hostaddr": "import psycopg\nwith psycopg.connect(URL, hostaddr='127.0.0.2') as c: c.execute(SQL)",
    "psycopg_pool": """
from psycopg_pool import ConnectionPool
with ConnectionPool(URL, min_size=1) as pool, pool.connection() as connection:
    connection.execute(SQL)""",
    "psycopg2": "import psycopg2\nc = psycopg2.connect(URL); c.cursor().execute(SQL); c.commit()",
    "psycopg2, keywords": """
import psycopg2
c = psycopg2.connect(database=NAME, **KEYWORDS); c.cursor().execute(SQL); c.commit()""",
    "psycopg2, factory": """
import psycopg2.extras
c = psycopg2.connect(URL, connection_factory=psycopg2.extras.DictConnection); c.cursor().execute(SQL); c.commit()""",
    "psycopg2, class": """
import psycopg2.extensions
c = psycopg2.extensions.connection(URL); c.cursor().execute(SQL); c.commit()""",
    "psycopg2, subclass": """
import psycopg2.extras
c = psycopg2.extras.RealDictConnection(URL); c.cursor().execute(SQL); c.commit()""",
    "psycopg2, async": """
import psycopg2, select
from psycopg2.extensions import POLL_OK
c = psycopg2.connect(URL, async_=True)
def wait():
    while c.poll() != POLL_OK: select.select([c.fileno()], [c.fileno()], [], 1)
wait(); k = c.cursor(); k.execute(SQL); wait()""",
    "asyncpg": """
import asyncpg
async def go():
    connection = await asyncpg.connect(URL + "?sslmode=disable&application_name=app", timeout=30)
    await connection.execute(SQL)
    await connection.close()
asyncio.run(go())""",
    "asyncpg, keywords": """
import asyncpg
async def go():
    connection = await asyncpg.connect(database=NAME, ssl=False, **KEYWORDS)
    await connection.execute(SQL)
    await connection.close()
asyncio.run(go())""",
    "asyncpg, pool": """
import asyncpg
async def go():
    async with asyncpg.create_pool(URL, min_size=1) as pool:
        await pool.execute(SQL)
asyncio.run(go())""",
    "pg8000": "import pg8000\nc = pg8000.connect(database=NAME, **KEYWORDS); c.cursor().execute(SQL); c.commit()",
    "pg8000.dbapi": """
import pg8000.dbapi
c = pg8000.dbapi.connect(database=NAME, **KEYWORDS); c.cursor().execute(SQL); c.commit()""",
    "pg8000.native": """
from pg8000.native import Connection
Connection(KEYWORDS.pop('user'), database=NAME, **KEYWORDS).run(SQL)""",
    "SQLAlchemy, psycopg": "run(engine('psycopg'))",
    "SQLAlchemy, psycopg2": "run(engine('psycopg2'))",
    "SQLAlchemy, pg8000": "run(engine('pg8000'))",
    "SQLAlchemy, psycopg, async": "run_async('psycopg')",
    "SQLAlchemy, asyncpg": "run_async('asyncpg')",
    "SQLAlchemy, creator": """
import psycopg, sqlalchemy
run(sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(URL)))""",
    "SQLAlchemy, its own do_connect": """
import sqlalchemy
e = engine("psycopg")
@sqlalchemy.event.listens_for(e, "do_connect")
def token(dialect, record, arguments, parameters): parameters["password"] = "a token"
run(e)""",
    "a thread": "import threading\nt = threading.Thread(target=lambda: run(engine('psycopg'))); t.start(); t.join()",
    "a process": """
import subprocess, sys
subprocess.run([sys.executable, "-c", "from settings import *; run(engine('psycopg2'))"], check=True)""",
    "a process without our variables": """
import subprocess, sys
program = "from settings import *; run(engine('psycopg2'))"
subprocess.run([sys.executable, "-c", program], check=True, env={"TRAP": URL, "PYTHONPATH": "."})""",
    "a shell": """
import os, sys
os.environ["PYTHONPATH"] = "."
assert os.system(sys.executable + ' -c "from settings import *; run(engine(\\'psycopg\\'))"') == 0""",
}
UNLED_FAILS = {"psycopg, unknown host", "psycopg, async, unknown host", "psycopg, hostaddr"}
"""Settings with which nothing can be reached but by being led."""


@pytest.fixture
def trap(pg_server: Server) -> Iterator[str]:
    """The database that the settings name."""
    yield pg_server.create_database("trap")
    pg_server.drop_database("trap")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "settings.py").write_text(SETTINGS)
    return folder


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "select relname from pg_class where relkind = 'r' and relnamespace > 16383 or relname = 'made'"
        )
        return [name for (name,) in names]


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=list(PROGRAMS))
def test_every_driver_is_led(project: Path, pg_database: str, trap: str, program: str) -> None:
    record = project / "record"
    done = run_led(
        ["-c", "from settings import *\n" + program],
        project,
        url=pg_database,
        record=record,
        environment={"TRAP": trap},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tables(pg_database), tables(trap)) == (["made"], [])
    assert read_record(record)["led"]
    for url in (pg_database, trap):
        assert Dsn.parse(url).password not in record.read_text()


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name not in UNLED_FAILS])
def test_without_leading_the_trap_gets_the_table(project: Path, pg_database: str, trap: str, name: str) -> None:
    done = run_led(
        ["-c", "from settings import *\n" + PROGRAMS[name].replace('"a token"', "place.password")],
        project,
        environment={"TRAP": trap},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tables(pg_database), tables(trap)) == ([], ["made"])


ASK = (
    "select current_database(), current_setting('application_name'), current_setting('search_path'),"
    " current_setting('work_mem')"
)
SESSIONS = {
    "psycopg": f"""
import psycopg
o = "-c search_path=own -cwork_mem=1MB endpoint=prod"
print(*psycopg.connect(URL, application_name="app", options=o).execute({ASK!r}).fetchone())""",
    "psycopg2": f"""
import psycopg2
c = psycopg2.connect(URL + "?application_name=app&options=--search_path%3Down%20-c%20work_mem%3D1MB").cursor()
c.execute({ASK!r}); print(*c.fetchone())""",
    "asyncpg": f"""
import asyncpg
async def go():
    c = await asyncpg.connect(URL + "?search_path=own&application_name=app", server_settings={{"work_mem": "1MB"}})
    print(*await c.fetchrow({ASK!r}))
asyncio.run(go())""",
    "pg8000": f"""
import pg8000.native
s = {{"options": "-c search_path=own -c work_mem=1MB"}}
c = pg8000.native.Connection(KEYWORDS.pop("user"), database=NAME, application_name="app", startup_params=s, **KEYWORDS)
print(*c.run({ASK!r})[0])""",
}


@pytest.mark.parametrize("program", SESSIONS.values(), ids=list(SESSIONS))
def test_settings_of_the_session_stay(project: Path, pg_database: str, trap: str, program: str) -> None:
    done = run_led(["-c", "from settings import *\n" + program], project, url=pg_database, environment={"TRAP": trap})
    assert (done.stdout, done.stderr) == (f"{Dsn.parse(pg_database).dbname} app own 1MB\n", "")


FENCE = 4711
HELD = f"select count(*) from pg_locks where locktype = 'advisory' and objid = {FENCE} and pid = pg_backend_pid()"
FENCED = {
    "psycopg": f"""
import psycopg
c = psycopg.connect(URL); print(c.info.transaction_status.name, c.autocommit, c.execute({HELD!r}).fetchone()[0])
c = psycopg.connect(URL, autocommit=True); print("IDLE", not c.autocommit, c.execute({HELD!r}).fetchone()[0])""",
    "psycopg, async": f"""
import psycopg
async def go(**given):
    c = await psycopg.AsyncConnection.connect(URL, **given)
    state = c.info.transaction_status.name
    print(state, c.autocommit, (await (await c.execute({HELD!r})).fetchone())[0])
asyncio.run(go()); asyncio.run(go())""",
    "psycopg2": f"""
import psycopg2
for _ in range(2):
    c = psycopg2.connect(URL); state, k = c.get_transaction_status(), c.cursor()
    k.execute({HELD!r}); print({{0: "IDLE"}}[state], c.autocommit, k.fetchone()[0])""",
    "asyncpg": f"""
import asyncpg
async def go():
    async with asyncpg.create_pool(URL, min_size=1, max_size=1) as pool:
        for _ in range(2):  # the pool resets the connection in between
            async with pool.acquire() as c: print("IDLE", c.is_in_transaction(), await c.fetchval({HELD!r}))
asyncio.run(go())""",
    "pg8000": f"""
import pg8000.dbapi, pg8000.native
c = pg8000.dbapi.connect(database=NAME, **KEYWORDS); state, k = c._transaction_status, c.cursor()
k.execute({HELD!r}); print({{b"I": "IDLE"}}[state], c.autocommit, k.fetchone()[0])
c = pg8000.native.Connection(KEYWORDS.pop("user"), database=NAME, **KEYWORDS)
print({{b"I": "IDLE"}}[c._transaction_status], False, c.run({HELD!r})[0][0])""",
}


@pytest.mark.parametrize("program", FENCED.values(), ids=list(FENCED))
def test_every_led_connection_holds_the_fence_and_is_idle(
    project: Path, pg_database: str, trap: str, program: str
) -> None:
    done = run_led(
        ["-W", "ignore", "-c", "from settings import *\n" + program],
        project,
        url=pg_database,
        fence=FENCE,
        environment={"TRAP": trap},
    )
    assert (done.stdout, done.stderr) == ("IDLE False 1\nIDLE False 1\n", "")


def test_an_asynchronous_connection_of_psycopg2_cannot_be_fenced(project: Path, pg_database: str, trap: str) -> None:
    done = run_led(
        ["-c", "from settings import *\n" + PROGRAMS["psycopg2, async"]],
        project,
        url=pg_database,
        fence=FENCE,
        environment={"TRAP": trap},
    )
    assert done.returncode == 1
    assert done.stderr.endswith("Refused: dbtools cannot fence an asynchronous connection of psycopg2\n")
    assert tables(trap) == []


def test_what_the_environment_names_leads_nowhere_else(project: Path, pg_database: str, trap: str) -> None:
    (project / "services").write_text("[other]\nhostaddr=127.0.0.2\nhost=db.invalid\nport=1\ndbname=trap\n")
    elsewhere = {
        "PGHOSTADDR": "127.0.0.2",
        "PGPORT": "1",
        "PGDATABASE": "trap",
        "PGSERVICE": "other",
        "PGHOST": "db.invalid",
    }
    run = "from settings import *\nimport os\nos.environ.update({})\n{}"
    for name in ("psycopg", "psycopg2", "asyncpg", "pg8000"):
        program = run.format(elsewhere | {"PGSERVICEFILE": "services", "PGSSLMODE": "verify-full"}, PROGRAMS[name])
        done = run_led(["-c", program], project, url=pg_database, environment={"TRAP": trap})
        assert (done.returncode, done.stderr) == (0, ""), name
        assert tables(pg_database) == ["made"]
        with psycopg.connect(pg_database) as connection:
            connection.execute("drop table made")


def test_other_databases_are_let_through(project: Path, pg_database: str) -> None:
    program = (
        "import sqlalchemy; print(sqlalchemy.create_engine('sqlite://').connect().scalar(sqlalchemy.text('select 1')))"
    )
    assert run_led(["-c", program], project, url=pg_database).stdout == "1\n"


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        ("psycopg2cffi", "dbtools cannot lead psycopg2cffi to its database, so it cannot be used in a step"),
        *(
            (driver, f"dbtools cannot lead {driver} 9 to its database: it opens connections in an unknown way")
            for driver in ("psycopg", "psycopg2", "asyncpg", "pg8000")
        ),
    ],
)
def test_a_driver_that_cannot_be_led_is_not_let_through(
    project: Path, pg_database: str, driver: str, message: str
) -> None:
    (project / f"{driver}.py").write_text("__version__ = '9'\ndef connect(*a): print('connected')")
    done = run_led(["-c", f"import {driver}; {driver}.connect()"], project, url=pg_database)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(f": {message}\n")


def test_an_engine_whose_driver_cannot_be_led_is_refused(project: Path, pg_database: str) -> None:
    program = """
import sqlalchemy
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
class Dialect(PGDialect_psycopg): driver = "other"
registry.impls["postgresql.other"] = lambda: Dialect
sqlalchemy.create_engine("postgresql+other://db.invalid/prod").connect()"""
    done = run_led(["-c", program], project, url=pg_database)
    assert done.stderr.splitlines()[-1].endswith(
        "Refused: dbtools cannot lead the driver other of this engine to its database"
    )


def test_an_error_of_ours_ends_the_program_before_it_starts(project: Path, pg_database: str) -> None:
    done = run_led(["-c", "print('went on')"], project, url=pg_database, environment={"DBTOOLS_LEAD_FENCE": "x"})
    assert (done.returncode, done.stdout) == (70, "")
    assert (
        done.stderr == "dbtools: this program cannot be led: ValueError: invalid literal for int() with base 10: 'x'\n"
    )


def test_a_led_connection_by_a_socket_folder(project: Path, pg_database: str, pg_admin: str, trap: str) -> None:
    with psycopg.connect(pg_admin) as connection:
        folders = connection.execute("show unix_socket_directories").fetchone()
    folder = folders[0].partition(",")[0].strip() if folders else ""
    dsn = Dsn.parse(pg_database)
    if not folder or not Path(folder, f".s.PGSQL.{dsn.port}").exists():
        pytest.skip("the server has no socket here")
    url = f"postgresql://{dsn.user}:{dsn.password}@/{dsn.dbname}?host={folder}&port={dsn.port}"
    for name in ("psycopg", "psycopg2", "asyncpg", "pg8000"):
        done = run_led(
            ["-c", "from settings import *\n" + PROGRAMS[name]], project, url=url, environment={"TRAP": trap}
        )
        assert (done.returncode, done.stderr) == (0, ""), name
        with psycopg.connect(pg_database) as connection:
            connection.execute("drop table made")
    assert tables(trap) == []
