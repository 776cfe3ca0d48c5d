"""The project's own server: found again by the next call, until somebody stops it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dbtools.errors import ServerError
from dbtools.server import run_as
from dbtools.server.project import find_server, psql_command, start_server, stop_server
from dbtools.server.project_data import load_state, make_data, store_state
from dbtools.server.sources import find_binaries
from tests.support.projects import ROOT, START, STOP, may_make_namespaces, run_in_namespace
from tests.support.waiting import until


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    stop_server(tmp_path)


def start_elsewhere(root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", START, str(root)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE)


def test_it_outlives_the_process_that_started_it_and_is_found_again(root: Path) -> None:
    assert find_server(root) is None
    with start_elsewhere(root) as process:
        pid = int(process.communicate()[0])
    found = find_server(root)
    assert found is not None
    assert found.pid == pid
    with psycopg.connect(found.url, autocommit=True) as connection:
        connection.execute("create table kept (id int)")
    told: list[str] = []
    assert start_server(root, report=told.append) == found
    assert told == []


def test_stop_keeps_the_data_and_the_address(root: Path) -> None:
    told: list[str] = []
    first = start_server(root, report=told.append)
    assert told == [f"Started PostgreSQL {first.version} on 127.0.0.1:{first.port} (invoke server.stop ends it)"]
    with psycopg.connect(first.url, autocommit=True) as connection:
        connection.execute("create table kept (id int)")
    assert stop_server(root) is True
    assert stop_server(root) is False
    assert find_server(root) is None
    second = start_server(root)
    assert second.url == first.url
    assert second.pid != first.pid
    with psycopg.connect(second.url) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)


def test_two_starts_at_once_start_one_server(root: Path) -> None:
    with start_elsewhere(root) as first, start_elsewhere(root) as second:
        pids = {int(process.communicate()[0]) for process in (first, second)}
    assert len(pids) == 1


def test_a_crash_is_recovered_from(root: Path) -> None:
    first = start_server(root)
    with psycopg.connect(first.url, autocommit=True) as connection:
        connection.execute("create table kept (id int)")
        connection.execute("checkpoint" if connection.info.user == "postgres" else "select 1")
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not find_server(root))
    # A pid file that names a living process which is not ours must not keep the server from starting.
    pid_file = first.directory / "data" / "postmaster.pid"
    text = pid_file.read_text("utf-8")
    pid_file.write_text(text.replace(str(first.pid), str(os.getpid()), 1), "utf-8")
    assert find_server(root) is None
    second = start_server(root)
    with psycopg.connect(second.url) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_server_that_is_still_starting_is_waited_for(root: Path) -> None:
    first = start_server(root)
    pid_file = first.directory / "data" / "postmaster.pid"
    ready = pid_file.read_text("utf-8")
    put(pid_file, ready.replace("ready   ", "starting"))
    with start_elsewhere(root) as second:
        # The second start holds the lock once it has found nothing ready.
        until(lambda: is_locked(first.directory.parent / f"{first.directory.name}.lock"))
        put(pid_file, ready)
        assert int(second.communicate()[0]) == first.pid


def put(path: Path, text: str) -> None:
    """Replace a file at one moment: a reader of a half-written pid file would take the server for gone."""
    draft = path.with_name("draft")
    draft.write_text(text, "utf-8")
    draft.replace(path)


def is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_damaged_state_file_is_said_and_nothing_is_lost(root: Path) -> None:
    found = start_server(root)
    stop_server(root)
    state = found.directory / "state.json"
    kept = state.read_text("utf-8")
    state.write_text("", "utf-8")
    with pytest.raises(ServerError) as caught:
        start_server(root)
    assert caught.value.what == f"The state file {state} is damaged."
    state.write_text(kept, "utf-8")
    assert start_server(root).url == found.url


def test_data_whose_state_file_is_lost_are_never_removed(root: Path) -> None:
    found = start_server(root)
    with psycopg.connect(found.url, autocommit=True) as connection:
        connection.execute("create table kept (id int)")
    stop_server(root)
    state, kept = found.directory / "state.json", (found.directory / "state.json").read_text("utf-8")
    state.unlink()
    with pytest.raises(ServerError) as caught:
        start_server(root)
    assert str(caught.value) == (
        f"The state file {state} is lost.\n"
        f"It held the passwords of the project's own server. The data in {found.directory / 'data'} were left alone.\n"
        f"Put the file back; or, to begin again with an empty server: invoke server.stop, and remove {found.directory}"
    )
    state.write_text(kept, "utf-8")
    with psycopg.connect(start_server(root).url) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)


@pytest.mark.parametrize("cut", ["before the data had their name", "before the passwords", "before they were stored"])
def test_a_first_start_that_was_cut_off_is_finished_by_the_next(root: Path, cut: str) -> None:
    account = run_as.choose()
    directory = account.server_folder(root / ".dbtools" / "server-16")
    directory.mkdir(mode=0o700, parents=True)
    state = make_data(directory, account, account.reach(find_binaries()))
    assert state.prepared
    if cut == "before the data had their name":
        (directory / "data").rename(directory / "data.draft")
    if cut == "before they were stored":
        start_server(root)
        stop_server(root)
        store_state(directory, state)
    assert find_server(root) is None
    found = start_server(root)
    for url in (found.url, found.admin_url):
        with psycopg.connect(url) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    stored = load_state(directory)
    assert stored is not None
    assert stored.prepared == ""


@pytest.mark.skipif(not may_make_namespaces(), reason="may not make namespaces here")
def test_a_server_in_another_process_namespace_keeps_its_data(root: Path) -> None:
    found = start_server(root)
    with psycopg.connect(found.url, autocommit=True) as connection:
        connection.execute("create table kept (id int)")
        for program in (START, STOP):
            done = run_in_namespace(program, root)
            assert done.returncode != 0
            assert f"A server that cannot be seen from here runs on {found.directory / 'data'}." in done.stderr
        connection.execute("insert into kept values (1)")
    assert find_server(root) == found
    with psycopg.connect(found.url) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (1,)
    stop_server(root)
    assert start_server(root).url == found.url


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as nobody")
def test_as_nobody_it_lives_where_nobody_reaches(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp(prefix="dbtools-test-", dir="/var/tmp"))
    folder.chmod(0o711)
    monkeypatch.setattr(run_as, "SHARED", folder)
    monkeypatch.setattr(run_as, "choose", lambda: run_as.Account("nobody"))
    try:
        found = start_server(root)
        assert found.directory.is_relative_to(folder)
        with psycopg.connect(found.url) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        assert find_server(root) == found
        assert stop_server(root) is True
    finally:
        stop_server(root)
        shutil.rmtree(folder)


def test_its_secrets_are_its_owners(root: Path) -> None:
    found = start_server(root)
    assert stat.S_IMODE(found.directory.stat().st_mode) == 0o700
    for name in ("state.json", "log"):
        assert stat.S_IMODE((found.directory / name).stat().st_mode) == 0o600
    assert found.password not in repr(found)
    assert found.password not in found.log.read_text("utf-8")
    assert found.size > 10**7


def test_it_is_marked_as_a_development_database(root: Path) -> None:
    with psycopg.connect(start_server(root).url) as connection:
        row = connection.execute(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = current_database()"
        ).fetchone()
    assert row == ("environment=development",)


def test_a_server_of_an_earlier_dbtools_is_found(root: Path) -> None:
    found = start_server(root)
    file = found.directory / "state.json"
    state = json.loads(file.read_text("utf-8"))
    earlier = {name: value for name, value in state.items() if name not in {"programs", "extensions"}}
    file.write_text(json.dumps(earlier), "utf-8")
    assert find_server(root) == found


def test_psql_gets_the_password_past_the_command_line(root: Path) -> None:
    found = start_server(root)
    command, environment = psql_command(found)
    assert found.password not in " ".join(command)
    done = subprocess.run([*command, "-Atc", "select current_user"], env=environment, text=True, capture_output=True)
    assert (done.returncode, done.stdout) == (0, "app\n")
