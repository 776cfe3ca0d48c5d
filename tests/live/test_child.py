"""Steps as child processes on a real database: each kind, each failure, and that nothing of a step is left."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dbtools.build import environment
from dbtools.build.child import StepResult, run_step
from dbtools.config import Project
from dbtools.config.steps import Kind, Step
from dbtools.db.dsn import Dsn
from dbtools.errors import StepFailed
from dbtools.server import Server

ROOT = Path(__file__).resolve().parent.parent.parent


class Lab:
    """A project in a folder of its own, and its steps on the test's database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.root, self.url = folder / "project", url
        self.root.mkdir()
        self.workspace = folder / "workspace"
        self.workspace.mkdir()
        self.project = Project(self.root)
        self.lines: list[str] = []

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
        return path

    def run(self, *words: str, kind: Kind = "command", cwd: Path | None = None, **options: Any) -> StepResult:
        step = Step(kind, words, cwd or self.root, **options)
        return run_step(
            step,
            Dsn.parse(self.url),
            self.project,
            workspace=self.workspace,
            output=self.lines.append,
            label="seed 1 of 1",
        )

    def python(self, text: str, **options: Any) -> StepResult:
        self.write("step.py", text)
        return self.run("python", "step.py", **options)

    def failure(self, *words: str, kind: Kind = "command", **options: Any) -> StepFailed:
        with pytest.raises(StepFailed) as caught:
            self.run(*words, kind=kind, **options)
        assert caught.value.state == "Nothing was changed."
        return caught.value

    def python_failure(self, text: str, **options: Any) -> StepFailed:
        self.write("step.py", text)
        return self.failure("python", "step.py", **options)


@pytest.fixture
def lab(tmp_path: Path, pg_database: str) -> Lab:
    return Lab(tmp_path, pg_database)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def until(condition: object, seconds: float = 20) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_command_finds_the_database_in_every_way(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://app:wrong@elsewhere.example.com/prod")
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    lab.write(".env", "REPORTS_URL=postgres://app@elsewhere.example.com/reports\n")
    result = lab.python(
        """
        import os, psycopg
        assert os.environ["DATABASE_URL"].startswith("postgresql+asyncpg://")
        urls = os.environ["DATABASE_URL"].replace("+asyncpg", ""), os.environ["REPORTS_URL"], ""
        for number, url in enumerate(urls):
            with psycopg.connect(url) as connection:
                connection.execute(f"create table t{number} (n int)")
                print("made", number)
        """
    )
    assert lab.lines == ["made 0", "made 1", "made 2"]
    assert result.seconds > 0
    with psycopg.connect(lab.url) as connection:
        assert connection.execute("select count(*) from pg_tables where tablename ~ '^t[012]$'").fetchone() == (3,)


def test_the_variables_of_project_and_step_name_the_database(lab: Lab) -> None:
    lab.project = Project(lab.root, env={"POSTGRES_DB": "{dbname}", "SHOP": "project"})
    lab.run("sh", "-c", 'echo "$POSTGRES_DB $SHOP"', env={"SHOP": "{user}@{host}:{port}"})
    dsn = Dsn.parse(lab.url)
    assert lab.lines == [f"{dsn.dbname} {dsn.user}@{dsn.host}:{dsn.port}"]


def test_output_comes_as_it_is_written(lab: Lab) -> None:
    go = lab.root / "go"
    seen: list[str] = []

    def take(line: str) -> None:
        seen.append(line)
        go.touch()

    lab.write(
        "step.py", "import os, time\nprint('first')\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('last')"
    )
    step = Step("command", ("python", "step.py"), lab.root, timeout_s=60)
    run_step(step, Dsn.parse(lab.url), lab.project, workspace=lab.workspace, output=take)
    assert seen == ["first", "last"]


def test_a_hundred_megabytes_of_output_need_no_memory(lab: Lab) -> None:
    step = Step(
        "command", ("python", "-c", "import sys\nfor _ in range(1600): sys.stdout.write('x' * 65536)"), lab.root
    )
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run_step(step, Dsn.parse(lab.url), lab.project, workspace=lab.workspace)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KB


def test_passwords_are_masked_and_bytes_that_are_no_text_replaced(lab: Lab) -> None:
    password = Dsn.parse(lab.url).password
    lab.run("sh", "-c", r'echo "url: $DATABASE_URL"; echo "$PGPASSWORD"; printf "caf\351\n"')
    assert lab.lines[1:] == ["***", "caf\ufffd"]
    assert password
    assert password not in str(lab.lines)
    error = lab.failure("sh", "-c", 'echo "$DBTOOLS_LEAD_URL"; exit 3')
    assert password not in str(error)


def test_an_exit_code_with_the_last_lines(lab: Lab) -> None:
    error = lab.failure("sh", "-c", "echo one; echo two >&2; exit 3")
    assert str(error) == (
        "Step seed 1 of 1 (sh -c 'echo one; echo two >&2; exit 3') failed.\n"
        "Its last lines:\n    one\n    two\nIt ended with exit code 3. Nothing was changed.\n"
        "invoke build --keep runs the steps and leaves the database for a look; alone, with DATABASE_URL set to it:"
        " sh -c 'echo one; echo two >&2; exit 3'"
    )


def test_a_signal_has_its_name(lab: Lab) -> None:
    error = lab.failure("sh", "-c", "kill -SEGV $$")
    assert error.why == "It printed nothing. It was killed by SIGSEGV."
    assert lab.failure("sh", "-c", "kill -KILL $$").why.endswith("killed by SIGKILL, perhaps for want of memory.")


def test_a_python_error_has_its_type_and_its_place(lab: Lab) -> None:
    lab.write("app/__init__.py", "")
    lab.write("app/settings.py", "import json\n\ndef load():\n    return json.loads('{')\n")
    error = lab.python_failure("from app.settings import load\nload()\n")
    assert error.why == (
        "json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1), at"
        " app/settings.py:4. It ended with exit code 1."
    )
    error = lab.python_failure("import psycopg\npsycopg.connect().execute('select * from nothing')")
    assert error.why.startswith(
        'psycopg.errors.UndefinedTable: relation "nothing" does not exist, at step.py:2.\n    LINE 1:'
    )
    error = lab.python_failure("raise RuntimeError('\\nOpen it first.')")
    assert error.why == "RuntimeError, at step.py:1.\n    Open it first.\nIt ended with exit code 1."


def test_what_cannot_be_started(lab: Lab) -> None:
    error = lab.failure("no-such-program", "x")
    assert str(error) == (
        "Step seed 1 of 1 (no-such-program x) failed.\n"
        "It could not be started: no-such-program was not found on PATH. Nothing was changed.\n"
        "Correct the step in [tool.dbtools], or install what it needs."
    )
    assert lab.failure("./seed.sh").why == "It could not be started: ./seed.sh does not exist."
    lab.write("seed.sh", "exit 0\n")
    assert lab.failure("./seed.sh").why == "It could not be started: ./seed.sh: Permission denied."
    folder = lab.root / "gone"
    assert lab.failure("true", cwd=folder).why == f"It could not be started: its folder {folder} does not exist."


def test_programs_of_the_project_come_first(lab: Lab) -> None:
    lab.write("frontend/node_modules/.bin/migrator", "#!/bin/sh\necho cwd\n").chmod(0o755)
    lab.write("node_modules/.bin/seeder", "#!/bin/sh\necho root\n").chmod(0o755)
    lab.run("migrator", cwd=lab.root / "frontend")
    lab.run("seeder", cwd=lab.root / "frontend")
    lab.write(".venv/bin/python", '#!/bin/sh\necho mine: $VIRTUAL_ENV "$@"\n').chmod(0o755)
    lab.write(".venv/pyvenv.cfg", "")
    lab.run("python", "-m", "app.seed")
    assert lab.lines == ["cwd", "root", f"mine: {lab.root}/.venv -m app.seed"]


@pytest.mark.parametrize(
    "text",
    [
        "name = input('Delete everything? [y/N] ')",
        "import sys\nprint('Password for admin:', end=' ', flush=True)\nsys.exit(1 if not sys.stdin.read() else 0)",
    ],
)
def test_a_step_that_asks_is_told_to_have_no_input(lab: Lab, text: str) -> None:
    error = lab.python_failure(text)
    assert error.why.endswith("It seems to have asked for input, and a step is given none. It ended with exit code 1.")


def test_a_step_that_takes_too_long_is_ended_with_its_children(lab: Lab) -> None:
    error = lab.failure("sh", "-c", "sleep 600 & echo $!; sleep 600", timeout_s=0.5)
    assert error.why == f"Its last lines:\n    {lab.lines[0]}\nIt ran longer than 0.5 s, and was ended."
    assert "timeout" in error.hint
    assert not is_running(int(lab.lines[0]))


def test_a_step_that_does_not_heed_sigterm_is_killed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dbtools.build.process.TERMINATION_S", 0.2)
    error = lab.python_failure(
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(os.getpid())\ntime.sleep(600)",
        timeout_s=1.5,
    )
    assert "It ran longer than 1.5 s" in error.why
    assert not is_running(int(lab.lines[0]))


DAEMON = """
import os, sys, time
if os.fork():
    os._exit(0) if "wait" not in sys.argv else time.sleep(1)
    os._exit(0)
os.setsid()
print(os.getpid(), flush=True)
"""


def test_a_daemon_that_does_not_touch_the_database_is_ended_and_named(lab: Lab) -> None:
    lab.python(DAEMON + "time.sleep(600)")
    pid = int(lab.lines[0])
    assert not is_running(pid)
    assert lab.lines[1].startswith("Ended what the step left running: python")
    assert f"(pid {pid})." in lab.lines[1]


@pytest.mark.parametrize("hide", ["os.environ.clear()", "os.close(1); os.close(2)"])
def test_a_daemon_at_work_on_the_database_is_an_error(lab: Lab, hide: str) -> None:
    error = lab.python_failure(
        "import psycopg\nconnect = psycopg.connect\nimport os\nurl = os.environ['DATABASE_URL']\n"
        + DAEMON.replace("print", "session = connect(url)\nsession.execute('select 1')\nprint")
        + f"{hide}\ntime.sleep(600)"
    )
    assert "It ended, and left at work on the database: python" in error.why
    assert not is_running(int(lab.lines[0]))


def test_a_child_that_ends_a_moment_later_is_waited_for(lab: Lab) -> None:
    lab.run("sh", "-c", "(sleep 0.3; echo late) & echo early")
    assert lab.lines == ["early", "late"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_step_before_it_propagates(lab: Lab, number: signal.Signals) -> None:
    from dbtools.commands.interrupts import Interruption, signals_interrupt

    def interrupt() -> None:
        until(lambda: len(lab.lines) == 2)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with signals_interrupt(), pytest.raises(Interruption) as caught:
        lab.run("sh", "-c", "setsid sleep 600 & echo $!; echo $$; wait")
    thread.join()
    assert caught.value.exit_code == 128 + number
    assert not any(is_running(int(line)) for line in lab.lines)


def test_an_error_of_the_callers_output_ends_the_step(lab: Lab) -> None:
    pids: list[int] = []

    def take(line: str) -> None:
        pids.append(int(line))
        raise BrokenPipeError

    step = Step("command", ("sh", "-c", "echo $$; exec sleep 600"), lab.root)
    with pytest.raises(BrokenPipeError):
        run_step(step, Dsn.parse(lab.url), lab.project, workspace=lab.workspace, output=take)
    assert not is_running(pids[0])


def test_nothing_outlives_a_dbtools_that_is_killed(lab: Lab) -> None:
    program = textwrap.dedent(
        f"""
        from pathlib import Path
        from dbtools.build.child import run_step
        from dbtools.config import Project
        from dbtools.config.steps import Step
        from dbtools.db.dsn import Dsn
        root = Path({str(lab.root)!r})
        step = Step("command", ("sh", "-c", "sleep 600 & echo $!; setsid sleep 600 & echo $!; echo $$; wait"), root)
        database = Dsn.parse({lab.url!r})
        run_step(step, database, Project(root), workspace=root, output=lambda line: print(line, flush=True))
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(process.stdout.readline()) for _ in range(3)]
        assert all(map(is_running, pids))
        process.kill()
        until(lambda: not any(map(is_running, pids)))


def test_files_run_in_one_psql_in_the_order_of_their_names(lab: Lab) -> None:
    lab.write("db/2.sql", "insert into things values (2);\n\\i db/more.txt\n")
    lab.write(
        "db/1.sql", "select pg_catalog.set_config('search_path', '', false);\ncreate table public.things (n int);"
    )
    lab.write("db/more.txt", "insert into things values (3);")
    lab.write("it's.sql", "insert into things values (1);")
    lab.run("db/*.sql", "it's.sql", kind="sql")
    with psycopg.connect(lab.url) as connection:
        assert connection.execute("select n from things").fetchall() == [(2,), (3,), (1,)]


def test_an_error_in_a_file_names_file_and_line(lab: Lab) -> None:
    lab.write("db/1.sql", "select 1;\nselect * from nothing;\nselect 2;\n")
    error = lab.failure("db/*.sql", kind="sql")
    assert error.what == "Step seed 1 of 1 (sql db/*.sql) failed."
    assert 'psql:db/1.sql:2: ERROR:  relation "nothing" does not exist' in error.why
    assert error.hint == "invoke build --keep runs the steps and leaves the database for a look."
    error = lab.failure("db/*.sql", kind="sql", cwd=lab.root / "db")
    assert "psql:1.sql:2: ERROR:" in error.why


def test_a_file_that_does_not_commit_is_an_error(lab: Lab) -> None:
    lab.write("it's open.sql", "begin; create table things (n int);")
    error = lab.failure("it's open.sql", kind="sql")
    assert "ERROR:  it's open.sql begins a transaction and does not commit it" in error.why


def test_a_pattern_without_a_file_is_an_error(lab: Lab) -> None:
    error = lab.failure("db/*.sql", kind="sql")
    assert error.why == f"No file matches 'db/*.sql' in {lab.root}."


def test_alembic_tells_heads_and_revisions(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lead = tmp_path / "lead"
    lead.mkdir()
    monkeypatch.setattr(environment, "LEAD", lead)
    told = {"heads": ["b"], "revisions": ["a", "b"], "alembic": "1.18"}
    (lead / "run_alembic.py").write_text(
        f"import os, sys\nprint(sys.argv[2:], os.getcwd())\nopen(sys.argv[1], 'w').write({json.dumps(told)!r})"
    )
    (lab.root / "backend").mkdir()
    result = lab.run("backend/alembic.ini", kind="alembic", cwd=lab.root / "backend")
    assert (result.heads, result.revisions) == (("b",), ("a", "b"))
    assert lab.lines == [f"['alembic.ini'] {lab.root}/backend"]
    (lead / "run_alembic.py").write_text("raise SystemExit(0)")
    assert "It ended with exit code 0 before the upgrade was over." in lab.failure(kind="alembic").why
    (lead / "run_alembic.py").write_text("import no_such_alembic")
    error = lab.failure(kind="alembic")
    assert error.why.startswith("ModuleNotFoundError: No module named 'no_such_alembic'")
    assert error.hint == (
        f"It ran in {sys.executable}. Install no_such_alembic there; or, if it is the wrong Python, name that of the"
        ' project: [tool.dbtools] python = ".venv/bin/python"'
    )


def test_a_call_is_given_its_target(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lead = tmp_path / "lead"
    lead.mkdir()
    monkeypatch.setattr(environment, "LEAD", lead)
    (lead / "run_call.py").write_text("import os, sys\nprint(sys.argv[1:], os.environ['PYTHONPATH'].split(':')[0])")
    lab.run("app.seed:run", kind="call")
    assert lab.lines == [f"['app.seed:run'] {lead}"]


def test_a_database_that_the_step_drops_is_not_waited_for(lab: Lab, pg_server: Server) -> None:
    name = f"dropped_{secrets.token_hex(6)}"
    lab.url = pg_server.create_database(name)
    lab.write(
        "drop.py",
        f"""
        import os, psycopg
        with psycopg.connect(dbname="postgres", autocommit=True) as session:
            session.execute("drop database {name}")
        """,
    )
    lab.run("sh", "-c", "python drop.py; setsid sleep 600 &")
    assert lab.lines[-1].startswith("Ended what the step left running: sleep")


def test_files_of_sql_run_behind_the_fence(lab: Lab) -> None:
    held = """select objid::int as key from pg_locks where locktype = 'advisory'
              and database = (select oid from pg_database where datname = current_database())"""
    lab.write("a.sql", f"create table held as {held};")
    lab.write("b.sql", f"insert into held {held} and granted;")
    step = Step("sql", ("a.sql", "b.sql"), lab.root)
    run_step(step, Dsn.parse(lab.url), lab.project, workspace=lab.workspace, fence=4711)
    with psycopg.connect(lab.url) as connection:
        assert connection.execute("select key from held").fetchall() == [(4711,), (4711,)]


@pytest.mark.parametrize("line", ["\\connect prod", "\\c", "  \\c prod app", "\\connect"])
def test_a_file_that_goes_to_another_database_is_refused_before_it_runs(lab: Lab, line: str) -> None:
    lab.write("a.sql", "create table t ();\n")
    lab.write("dump.sql", f"create table u ();\n{line}\ncreate table v ();\n")
    error = lab.failure("a.sql", "dump.sql", kind="sql")
    assert f"dump.sql:2 connects to another database: {line.strip()}" in error.why
    with psycopg.connect(lab.url) as connection:
        assert connection.execute("select to_regclass('t')").fetchone() == (None,)


def test_rows_and_other_commands_of_psql_pass(lab: Lab) -> None:
    lab.write("a.sql", "create table t (a text);\ncopy t from stdin;\n\\\\connect\n\\\\c\n\\.\n\\cd .\n")
    lab.run("a.sql", kind="sql")
    with psycopg.connect(lab.url) as connection:
        assert connection.execute("select a from t order by a").fetchall() == [("\\c",), ("\\connect",)]


@pytest.mark.parametrize("said", ["No module named 'psycopg2'", "The asyncio extension requires an async driver"])
def test_a_driver_that_is_missing_is_asked_for_by_name(lab: Lab, said: str) -> None:
    error = lab.python_failure(f"raise ImportError({said!r})")
    assert error.hint == (
        f"It ran in {sys.executable}. Install the driver there; or, if that has another one, name it: [tool.dbtools]"
        ' env = { DATABASE_URL = "postgresql+asyncpg://{user}@{host}:{port}/{dbname}" };'
        ' or, if it is the wrong Python, that of the project: python = ".venv/bin/python"'
    )
