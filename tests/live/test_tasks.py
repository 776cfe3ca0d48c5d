"""The tasks as a person types them: in a process of their own, by exit code and by what is on which stream."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from dbtools.db.dsn import Dsn
from tests.support.projects import start_task
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
AS_OF = ("--as-of", "2026-11-23")
Invoke = Callable[..., "subprocess.CompletedProcess[str]"]
IN_PLACE_RECORD = (ROOT / "tests" / "data" / "reset-dev.txt").read_text("utf-8")  # the reference's, tick for tick
RECORD = (ROOT / "tests" / "data" / "swap-dev.txt").read_text("utf-8")


@pytest.fixture
def invoke(pg_database: str) -> Invoke:
    """Run `invoke ...` on the test's database, with more variables where a test gives them."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": pg_database} | variables,
            text=True,
            capture_output=True,
        )

    return run


def start_reset(url: str, *options: str) -> subprocess.Popen[str]:
    return start_task(url, "reset", *options, *AS_OF)


def password(url: str) -> str:
    return Dsn.parse(url).password


def tables(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone()
        assert row is not None
        return int(row[0])


def test_reset_prints_its_record_and_in_place_the_references(invoke: Invoke) -> None:
    done = invoke("reset", "--in-place", *AS_OF)
    assert (done.returncode, done.stdout, done.stderr) == (0, IN_PLACE_RECORD, "")
    done = invoke("reset", *AS_OF)
    assert (done.returncode, done.stdout, done.stderr) == (0, RECORD, "")


def test_reset_seed_and_digest_agree(invoke: Invoke) -> None:
    sums = set()
    for action in ("reset", "reset", "seed"):
        assert invoke(action, *AS_OF).returncode == 0
        document = json.loads(invoke("digest", "--json").stdout)
        sums.add((document["sha256"], document["both"]))
    ((found, both),) = sums
    assert invoke("digest", "--expect", found).returncode == 0
    assert invoke("digest", "--expect", both).returncode == 0
    done = invoke("digest", "--expect", "0" * 64)
    assert done.returncode == 6
    assert done.stderr == (
        "The content is not what was expected.\n"
        f"The sum of the content is {found}, that of both {both}; expected {'0' * 64}.\n"
        "Compare profile, seed and day (--as-of) of the two runs; then: invoke reset\n"
    )


def test_migrate_keeps_the_data(invoke: Invoke, pg_database: str) -> None:
    assert "Migrations applied: nothing to " in invoke("migrate").stdout
    assert invoke("seed", *AS_OF).returncode == 0
    before = invoke("digest").stdout
    again = invoke("migrate")
    assert re.search(r"✓ Already at \S+\n", again.stdout)
    assert invoke("digest").stdout == before


def test_doctor_reads_and_changes_nothing(invoke: Invoke, pg_database: str) -> None:
    empty = invoke("doctor")
    assert empty.returncode == 0
    assert "· migrations: none has run here" in empty.stdout
    assert re.search(  # the project's cache may hold a snapshot
        r"\n\? Nothing was found that stops a reset; in doubt: (snapshot, )?rows\."
        r" To try it aside: invoke doctor --build\n\Z",
        empty.stdout,
    )
    assert tables(pg_database) == 0
    invoke("reset", *AS_OF)
    assert invoke("doctor").returncode == 0
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(
            "update invoices set total_cents = total_cents + 1 where id = (select min(id::text)::uuid from invoices)"
        )
    broken = invoke("doctor")
    assert broken.returncode == 6
    assert "✗ " in broken.stdout
    assert "1 row breaks it" in broken.stdout
    tried = invoke("doctor", "--build", "--json")
    told = json.loads(tried.stdout)
    assert (tried.returncode, told["works"]) == (6, True)
    assert told["verdict"].startswith("✓ A reset will work here. It would replace the data, which is not sound: ")
    assert {found["name"] for found in told["findings"] if found["good"] is False} == {
        found["name"] for found in told["findings"] if found["about"] == "data" and found["good"] is False
    }


def test_json_is_one_document_on_standard_output(invoke: Invoke) -> None:
    done = invoke("reset", *AS_OF, "--json")
    found = json.loads(done.stdout)
    assert found["profile"] == "dev"
    assert found["as_of"] == "2026-11-23"
    assert found["lock"]["key"] == 1196576591
    assert found["lock"]["acquired_at"] < found["lock"]["released_at"]
    assert list(found["seconds"]) == ["build", "lock", "prepare", "migrate", "seed", "swap", "commit", "drop"]
    assert done.stderr == ""


def test_evidence_is_a_transcript_without_the_password(invoke: Invoke, pg_database: str, tmp_path: Path) -> None:
    path = tmp_path / "reset.md"
    assert invoke("reset", *AS_OF, "--evidence", str(path)).returncode == 0
    text = path.read_text("utf-8")
    assert f"```text\n{RECORD}=== EXIT: 0 ===\n```" in text
    assert ":***@" in text
    assert password(pg_database) not in text


def test_known_users_only(invoke: Invoke, pg_database: str) -> None:
    invoke("reset", *AS_OF)
    for missing in (3, 0):
        done = invoke("seed", *AS_OF, SEED_KNOWN_USERS_ONLY="true")
        assert "✓ Ensured Demo Manager, Demo Client and Demo Dog\n" in done.stdout
        assert done.stderr == f"{missing} rows were missing\n"
    with psycopg.connect(pg_database) as connection:
        row = connection.execute("select count(*) from invoices").fetchone()
        assert row == (1000,)


BAD_INPUT = [
    (("reset", "--profile", "prod"), {}, 2, "--profile names an unknown profile: 'prod'."),
    (("reset",), {"SEED_PROFILE": "x"}, 2, "SEED_PROFILE names an unknown profile: 'x'."),
    (("reset", "--as-of", "yesterday"), {}, 2, "--as-of is not a date: 'yesterday'."),
    (("reset", "--seed", "many"), {}, 2, "--seed is not a number, or out of range: 'many'."),
    (("reset", "--pool-size", "1"), {}, 2, "A pool of 1 cannot run the chain."),
    (("seed",), {"DBTOOLS_POOL_SIZE": "1"}, 2, "A pool of 1 cannot run the chain."),
    (("reset", "--lock-timeout", "-1"), {}, 2, "--lock-timeout is not a number, or out of range: '-1'."),
    (("reset",), {"DATABASE_URL": "mysql://u:hunter2@h/d"}, 2, "DATABASE_URL is not a usable PostgreSQL URL."),
    (
        ("reset",),
        {"DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/d"},
        3,
        "Cannot reach database d on 127.0.0.1:1 as u.",
    ),
    (("reset",), {"NODE_ENV": "production"}, 5, "Refused to reset: this is a production environment."),
    (("seed",), {"APP_ENV": "production"}, 5, "Refused to seed: this is a production environment."),
    (("verify-concurrency",), {"ENVIRONMENT": "production"}, 5, "Refused to verify-concurrency: "),
    (("verify-concurrency", "--seeders", "1", "--resets", "0"), {}, 2, "A race needs at least two processes."),
    (("wait-for-db", "--timeout", "soon"), {}, 2, "--timeout is not a number, or out of range: 'soon'."),
]


@pytest.mark.parametrize(("command", "variables", "code", "what"), BAD_INPUT, ids=lambda value: str(value)[:40])
def test_bad_input_is_a_clear_error_and_changes_nothing(
    invoke: Invoke, pg_database: str, command: tuple[str, ...], variables: dict[str, str], code: int, what: str
) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute("create table precious (id int)")
    done = invoke(*command, **variables)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(what)
    assert len(done.stderr.splitlines()) == 3
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert tables(pg_database) == 1


def test_allow_reset_opens_a_production_environment(invoke: Invoke) -> None:
    assert invoke("reset", *AS_OF, NODE_ENV="production", ALLOW_RESET="true").returncode == 0


def test_a_wrong_password_is_exit_3_and_not_shown(invoke: Invoke, pg_database: str) -> None:
    wrong = pg_database.replace(password(pg_database), "hunter22")
    for command in (("reset",), ("wait-for-db",), ("digest",), ("reset", "--debug")):
        done = invoke(*command, DATABASE_URL=wrong)
        assert done.returncode == 3
        assert "password authentication failed" in done.stderr
        assert "hunter22" not in done.stdout + done.stderr


def test_reset_waits_for_another_program_and_names_it(invoke: Invoke, pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True, application_name="old seeder") as other:
        other.execute("select pg_advisory_lock(1196576591)")
        pid = other.info.backend_pid
        waiting = start_reset(pg_database)
        assert waiting.stderr is not None
        note = waiting.stderr.readline()
        assert note.startswith(
            f"Waiting for the seed advisory lock (key=1196576591), held by pid {pid} (application 'old seeder'"
        )
        sessions = other.execute(
            "select count(*) from pg_stat_activity where application_name = 'dbtools reset'"
        ).fetchone()
        assert sessions == (1,), "a waiter costs one connection"
        other.execute("select pg_advisory_unlock(1196576591)")
        output, _ = waiting.communicate()
    assert waiting.returncode == 0
    assert output == RECORD


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_reset_says_so_and_loses_nothing(
    invoke: Invoke, pg_database: str, tmp_path: Path, number: signal.Signals
) -> None:
    invoke("reset", *AS_OF)
    before = invoke("digest").stdout
    with psycopg.connect(pg_database, autocommit=True) as other:
        other.execute("select pg_advisory_lock(1196576591)")
        waiting = start_reset(pg_database, "--evidence", str(tmp_path / "reset.md"))
        assert waiting.stderr is not None
        waiting.stderr.readline()
        waiting.send_signal(number)
        _, errors = waiting.communicate()
    assert waiting.returncode == 128 + number
    assert errors.endswith(
        f"Interrupted by {number.name}.\nIn the lock phase. Nothing was changed.\n"
        "Run this again; invoke doctor looks at the database.\n"
    )
    text = (tmp_path / "reset.md").read_text("utf-8")
    assert f"Interrupted by {number.name}.\n" in text
    assert f"=== EXIT: {128 + number} ===" in text
    assert invoke("digest").stdout == before


@pytest.mark.parametrize(
    ("options", "line"), [((), "Migrations applied"), (("--in-place",), "All tables and enums dropped")]
)
def test_a_killed_reset_leaves_the_old_database(
    invoke: Invoke, pg_database: str, options: tuple[str, ...], line: str
) -> None:
    invoke("reset", *AS_OF)
    before = invoke("digest").stdout
    killed = start_reset(pg_database, *options, "--profile", "uat")
    assert killed.stdout is not None
    while line not in killed.stdout.readline():
        assert killed.poll() is None
    killed.kill()
    killed.communicate()
    running = "select from pg_stat_activity where application_name = 'dbtools reset'"
    with psycopg.connect(pg_database, autocommit=True) as watcher:
        until(lambda: not watcher.execute(running).fetchall())
    assert invoke("digest").stdout == before


def test_a_session_that_is_ended_while_it_waits_is_a_clear_error(invoke: Invoke, pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as other:
        other.execute("select pg_advisory_lock(1196576591)")
        waiting = start_reset(pg_database)
        assert waiting.stderr is not None
        waiting.stderr.readline()
        other.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dbtools reset'")
        _, errors = waiting.communicate()
    assert waiting.returncode == 1
    lines = errors.splitlines()
    assert lines[0] == "The lock phase failed."
    assert lines[1].endswith(". Nothing was changed.")  # the server's last words, or that it closed the connection
    assert lines[2:] == ["The connection to the server broke; once it is back, run this again."]


def test_the_proof_as_evidence_with_the_users_of_the_environment(
    invoke: Invoke, pg_database: str, tmp_path: Path
) -> None:
    path = tmp_path / "race.md"
    done = invoke(
        "verify-concurrency", "--rounds", "1", "--seeders", "2", "--resets", "0", *AS_OF,
        "--evidence", str(path), "--json", "--no-schedules",
        SEED_ADMIN_EMAIL="ann@example.com", SEED_ADMIN_NAME="Ann \"; drop table staff; --",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["proved"] is True
    failed = [result for played in found["unprotected"] for result in played["results"] if result["error"]]
    # A snapshot makes keys in the order of their names: that of the e-mail addresses may be the first to complain.
    keys = [result["subject"] for result in failed if result["sqlstate"] == "23505"]
    assert any(key.endswith(("_pkey", "staff_email_unique")) for key in keys)
    text = path.read_text("utf-8")
    assert "✓ The lock is proven.\n=== EXIT: 0 ===\n" in text
    assert password(pg_database) not in text + done.stdout + done.stderr


def test_the_list_and_the_help_of_every_task() -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "invoke", *arguments]
        return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True).stdout

    listed = re.findall(r"^  ([\w.-]+) +(\S.*)$", run("--list"), re.MULTILINE)
    names = {name for name, _ in listed}
    assert names >= {"wait-for-db", "reset", "seed", "migrate", "digest", "doctor", "verify-concurrency"}
    assert names >= {f"server.{name}" for name in ("start", "stop", "status", "url", "psql")}
    for name in names:
        assert "Options:" in run("--help", name)


def test_the_projects_own_server_from_start_to_stop(tmp_path: Path) -> None:
    """In a copy of the project's settings, so that a developer's own server is left alone."""
    for name in ("tasks.py", "pyproject.toml", "dbtools", "groombook", "migrations"):
        (tmp_path / name).symlink_to(ROOT / name)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "invoke", *arguments]
        return subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)

    assert "Not running." in run("server.status").stdout
    try:
        first = run("reset", *AS_OF)
        assert first.stdout == RECORD
        assert re.fullmatch(
            r"Started PostgreSQL 16\.\d+ on 127\.0\.0\.1:\d+ \(invoke server\.stop ends it\)\n"
            r"Building: migrate \(alembic\) …\n",
            first.stderr,
        )
        again = run("reset", *AS_OF)
        assert (again.stdout, again.stderr) == (RECORD, "")
        url = run("server.url").stdout.strip()
        with psycopg.connect(url) as connection:
            assert connection.execute("select count(*) from invoices").fetchone() == (1000,)
        shown = run("server.psql", "--", "-Atc", "select 'one argument', count(*) from pets")
        assert shown.stdout == "one argument|176\n"
        status = run("server.status", "--json")
        assert json.loads(status.stdout)["running"] is True
        for done in (first, again, shown, status, run("server.start"), run("doctor")):
            assert password(url) not in done.stdout + done.stderr
    finally:
        assert run("server.stop").stdout == "Stopped.\n"
    assert run("server.stop").stdout == "It was not running.\n"
