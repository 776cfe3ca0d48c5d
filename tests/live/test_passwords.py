"""No password gets out: whatever is done and whatever fails, on no stream, in no file, log or process list."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote as percent

import psycopg
import pytest

from dbtools.db.dsn import Dsn
from dbtools.server.embedded import EmbeddedServer
from tests.support.toy import execute, write_history

ROOT = Path(__file__).resolve().parent.parent.parent
AS_OF = ("--as-of", "2026-11-23")
MARKER, WRONG = "Xq7Secret", "Zk9Mistake"
PASSWORD = f"p@ss:{MARKER}/w%o?#&='\" \\é{MARKER}"
RAISES_ITS_URL = """
    import os
    raise RuntimeError(f"cannot reach {os.environ['DATABASE_URL']}")
"""


class ProcessList(threading.Thread):
    """Reads the command lines of all processes, as `ps` does, over and over until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(0.05):  # a program lives for longer than that
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    self.seen.add(path.read_bytes())

    def stop(self) -> None:
        self._end.set()
        self.join()


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    """A server that writes every statement and every connection into its log."""
    settings = {"log_statement": "all", "log_connections": "on", "log_disconnections": "on"}
    settings |= {"log_min_messages": "debug1", "log_parameter_max_length_on_error": "-1"}
    with EmbeddedServer.start(settings=settings) as server:
        with server.connect_admin() as connection:
            verifier = connection.pgconn.encrypt_password(PASSWORD.encode(), b"app", b"scram-sha-256").decode()
            connection.execute(f"alter role app password '{verifier}'".encode())
        yield server


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project's settings, so that all it leaves on disk is found under one folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("tasks.py", "pyproject.toml", "dbtools", "groombook", "migrations"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def broken(project: Path, tmp_path: Path, body: str) -> Path:
    """The same project with one migration more, which fails."""
    folder = tmp_path / f"broken{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    for name in ("tasks.py", "dbtools", "groombook"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text("utf-8"), "utf-8")
    write_history(folder / "migrations", execute("create table t (id int)"), body)
    return folder


@pytest.mark.timeout(1800)  # some seventy programs, one after another
def test_no_password_gets_out(server: EmbeddedServer, project: Path, tmp_path: Path) -> None:
    dsn = Dsn.parse(server.url)
    place = f"127.0.0.1:{dsn.port}/{dsn.dbname}"
    encoded = percent(PASSWORD, safe="")
    good = f"postgresql://app:{encoded}@{place}"
    also_good = f"postgres://app@{place}?password={percent(PASSWORD, safe='@:/')}"
    wrong = f"postgresql://app:{WRONG}{percent('/@', safe='')}{WRONG}@{place}"
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    said: list[str] = []

    def invoke(url: str, *arguments: str, code: int, folder: Path = project, **variables: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=folder,
            env=os.environ | {"DATABASE_URL": url, "TMPDIR": str(temporary)} | variables,
            text=True,
            capture_output=True,
        )
        said.append(f"$ {' '.join(arguments)}\n{done.stdout}\n{done.stderr}")
        assert done.returncode == code, said[-1]
        return done.stdout + done.stderr

    processes = ProcessList()
    processes.start()
    evidence = iter(str(tmp_path / f"evidence{number}.md") for number in range(20))
    try:
        invoke(good, "reset", *AS_OF, "--evidence", next(evidence), code=0)
        invoke(also_good, "reset", *AS_OF, "--json", "--debug", code=0)
        invoke(good, "seed", *AS_OF, "--evidence", next(evidence), code=0)
        for task in ("migrate", "digest", "doctor", "wait-for-db"):
            invoke(also_good, task, "--json", code=0)
            invoke(good, task, code=0)
        proof = ("verify-concurrency", *AS_OF, "--rounds", "1", "--seeders", "2", "--resets", "0")
        invoke(good, *proof, "--json", "--evidence", next(evidence), code=0)

        failures = {
            wrong: 3,
            good.replace(f":{dsn.port}/", ":1/"): 3,
            good.replace(f"/{dsn.dbname}", "/nowhere"): 3,
            good.replace("127.0.0.1", "nowhere.invalid"): 3,
            f"{good}?sslmode=require": 3,
            good.replace(encoded, PASSWORD): 2,
            good.replace("postgresql:", "mysql:"): 2,
            good.replace(f":{dsn.port}/", ":port/"): 2,
            f"{good}?speed=9": 2,
            f"{good}?service=x": 2,
            f"host=127.0.0.1 password='{PASSWORD}'": 2,
        }
        for url, code in failures.items():
            invoke(url, "reset", "--debug", "--evidence", next(evidence), code=code)
            invoke(url, "doctor", "--json", code=code)
        invoke(wrong, "wait-for-db", "--timeout", "0", code=3)
        invoke(wrong, "verify-concurrency", "--json", code=3)
        with psycopg.connect(good, autocommit=True) as other:
            other.execute("select pg_advisory_lock(1196576591)")
            held = invoke(good, "reset", "--lock-timeout", "0.1", "--debug", "--evidence", next(evidence), code=4)
            assert "Could not get the seed advisory lock" in held
        invoke(good, "reset", "--debug", code=5, NODE_ENV="production")
        for body in (execute("create table t (id int)"), RAISES_ITS_URL):
            failing = broken(project, tmp_path, body)
            failed = invoke(good, "reset", "--debug", "--evidence", next(evidence), code=1, folder=failing)
            assert "Step migrate 1 of 1 (alembic) failed." in failed
            assert "Traceback" in failed
            invoke(good, "migrate", "--json", code=1, folder=failing)
    finally:
        processes.stop()

    log = server.log.read_text("utf-8", errors="replace")
    assert "statement: " in log
    assert 'password authentication failed for user "app"' in log
    assert any(b"dbtools.checks.worker" in line for line in processes.seen), "the process list was not read"
    files = [path for path in tmp_path.rglob("*") if path.is_file() and ROOT not in path.resolve().parents]
    assert {path.suffix for path in files} >= {".md", ".sql"}
    found = {"output": "\n".join(said), "log": log}
    found |= {str(path): path.read_text("utf-8", errors="replace") for path in files}
    found |= {repr(line): line.decode("utf-8", errors="replace") for line in processes.seen}
    forms = {MARKER, WRONG, PASSWORD, encoded, percent(PASSWORD), repr(PASSWORD)[1:-1]}
    leaks = {place: form for place, text in found.items() for form in forms if form in text}
    assert leaks == {}, "\n".join(text for text in said if MARKER in text or WRONG in text)
