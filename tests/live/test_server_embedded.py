"""The throwaway server: closed to others, and gone however its parent goes."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from dbtools.db.dsn import Dsn
from dbtools.errors import ServerError
from dbtools.server import embedded, embedded_folder, postmaster, run_as
from dbtools.server.cluster import copy, prepare
from dbtools.server.embedded import EmbeddedServer
from dbtools.server.embedded_folder import MARKER
from dbtools.server.project import start_server, stop_server
from dbtools.server.requirements import Requirements
from dbtools.server.run_as import Account
from dbtools.server.sources import find_binaries
from dbtools.server.watchdog import Watchdog
from tests.support.projects import DAMAGE
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root has two ways to give up its rights")

PARENT = """
import os, sys, threading, time
from dbtools.server.embedded import EmbeddedServer
servers = []
def start():
    servers.append(EmbeddedServer.start())
if "thread" in sys.argv:
    worker = threading.Thread(target=start)
    worker.start()
    worker.join()
else:
    start()
[server] = servers
if "fork" in sys.argv and os.fork() == 0:
    time.sleep(60)
print(server.directory, server.pid, flush=True)
time.sleep(60)
"""

COPYING = """
import os, time
from dbtools.server.embedded import EmbeddedServer
EmbeddedServer.start().stop()  # from here on everything is prepared
send, sent = os.sendfile, []
def stall(write, *rest):
    sent.append(write)
    if len(sent) == 100:
        print(os.readlink(f"/proc/self/fd/{write}"), flush=True)
        time.sleep(60)
    return send(write, *rest)
os.sendfile = stall
EmbeddedServer.start()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start() as server:
        yield server


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that nobody reaches, which tmp_path is not."""
    folder = Path(tempfile.mkdtemp(prefix="dbtools-test-", dir="/var/tmp"))
    folder.chmod(0o711)
    monkeypatch.setattr(run_as, "SHARED", folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def scalar(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def password(url: str) -> str:
    return Dsn.parse(url).password


def gone(directory: Path, pid: int) -> bool:
    return not directory.exists() and not Path(f"/proc/{pid}").exists()


def wait_until_gone(directory: Path, pid: int) -> None:
    until(lambda: gone(directory, pid), f"left behind: {directory}, process {pid}")


def test_it_is_postgresql_16_and_answers(server: EmbeddedServer) -> None:
    assert server.version.startswith("16.")
    assert scalar(server.url, "show server_version") == server.version
    assert scalar(server.url, "select 'encoding ' || current_setting('server_encoding')") == "encoding UTF8"


def test_the_application_role_owns_its_database_and_is_no_superuser(server: EmbeddedServer) -> None:
    assert (
        scalar(
            server.url, "select rolsuper or rolcreaterole or not rolcreatedb from pg_roles where rolname = current_user"
        )
        is False
    )
    owner = "select pg_get_userbyid(datdba) = current_user from pg_database where datname = current_database()"
    assert scalar(server.url, owner) is True
    assert scalar(server.url, "select has_schema_privilege('public', 'create')") is True


def test_no_way_in_without_the_password(server: EmbeddedServer) -> None:
    wrong = server.url.replace(password(server.url), "wrong-password")
    without = Dsn.parse(server.url).without_password().url
    assert scalar(server.admin_url, "select current_setting('unix_socket_directories')") == ""
    for conninfo in (wrong, without):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(conninfo)
    rules = (server.directory / "data" / "pg_hba.conf").read_text("utf-8").splitlines()
    methods = {line.split()[-1] for line in rules if line.strip() and not line.startswith("#")}
    assert methods == {"scram-sha-256"}


def test_it_listens_on_loopback_only(server: EmbeddedServer) -> None:
    port = int(Dsn.parse(server.url).port)
    with socket.create_connection(("127.0.0.1", port)):
        pass
    assert scalar(server.url, "show listen_addresses") == "127.0.0.1"


def test_nobody_else_can_read_its_files(server: EmbeddedServer) -> None:
    assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.directory.parent.stat().st_mode) == 0o700


def test_no_password_on_a_command_line_in_an_environment_or_in_the_log(server: EmbeddedServer) -> None:
    secrets = [password(server.url).encode(), password(server.admin_url).encode()]
    texts = [server.log.read_bytes()]
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) != os.getpid():
            for name in ("cmdline", "environ"):
                try:
                    texts.append((process / name).read_bytes())
                except OSError:
                    continue
    assert not any(secret in text for secret in secrets for text in texts)


def test_databases_come_and_go(server: EmbeddedServer) -> None:
    url = server.create_database('odd "name')
    session = psycopg.connect(url)
    server.drop_database('odd "name')
    session.close()
    assert scalar(server.url, "select count(*) from pg_database where datname like 'odd%'") == 0


def test_two_servers_are_two(server: EmbeddedServer) -> None:
    with EmbeddedServer.start() as other:
        assert other.url != server.url
        assert scalar(other.url, "select 1") == 1


def test_version_18_is_there_too() -> None:
    with EmbeddedServer.start(Requirements(18)) as newer:
        assert str(scalar(newer.url, "show server_version")).startswith("18.")


def test_stop_leaves_nothing_and_may_be_called_twice() -> None:
    server = EmbeddedServer.start()
    directory, pid = server.directory, server.pid
    server.stop()
    server.stop()
    assert gone(directory, pid)


def test_after_a_crash_a_restart_has_the_same_data_address_and_passwords() -> None:
    with EmbeddedServer.start(settings={"synchronous_commit": "on"}) as server:
        url, admin_url, pid = server.create_database("odd?name"), server.admin_url, server.pid
        assert url == server.url_of("odd?name")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("create table kept (id int)")
            server.crash()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("select 1")
        assert not Path(f"/proc/{pid}").exists()
        server.restart()
        assert server.admin_url == admin_url
        assert scalar(server.url_of("odd?name", admin=True), "select count(*) from kept") == 0
        assert scalar(url, "show synchronous_commit") == "on"
        running = server.pid
        server.restart()
        assert not Path(f"/proc/{running}").exists()
        assert scalar(url, "select count(*) from kept") == 0
    assert gone(server.directory, server.pid)


def test_an_error_in_the_block_stops_it_too() -> None:
    server = EmbeddedServer.start()
    with pytest.raises(ZeroDivisionError), server:
        raise ZeroDivisionError
    assert gone(server.directory, server.pid)


@pytest.mark.parametrize("how", ["alone", "fork", "thread"])
def test_kill_9_of_the_parent_leaves_nothing(how: str) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, how], cwd=ROOT, text=True, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        directory, pid = parent.stdout.readline().split()
        assert postmaster.running(Path(directory) / "data")
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        forked = children.read_text().split() if how == "fork" else []
        parent.kill()
        parent.wait()
        wait_until_gone(Path(directory), int(pid))
        for child in forked:
            if Path(f"/proc/{child}/cmdline").exists() and b"dbtools" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)


def test_what_a_power_cut_left_is_swept_by_the_next_start(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, text=True, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        directory, pid = parent.stdout.readline().split()
        # Everything that would clean up is killed together: the parent's children first, then the parent.
        for child in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split():
            if child != pid:
                os.kill(int(child), signal.SIGKILL)
        os.kill(int(pid), signal.SIGSTOP)
        parent.kill()
        parent.wait()
        assert Path(directory).exists()
        os.kill(int(pid), signal.SIGCONT)
        EmbeddedServer.start().stop()
        wait_until_gone(Path(directory), int(pid))


def test_a_pid_file_that_names_another_process_is_not_our_server(tmp_path: Path) -> None:
    lines = [str(os.getpid()), str(tmp_path), "1700000000", "5432", "", "", "", "ready"]
    (tmp_path / "postmaster.pid").write_text("\n".join(lines), "utf-8")
    assert postmaster.PidFile.read(tmp_path) is not None
    assert postmaster.running(tmp_path) is None


def watchdog(directory: Path) -> Watchdog:
    (directory / MARKER).touch()
    command = ["/bin/sh", "-c", embedded_folder.WATCHDOG, "watchdog", str(directory / "data"), str(directory), MARKER]
    return Watchdog(command, environment=run_as.clean_environment())


def test_kill_9_while_it_copies_leaves_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", COPYING], cwd=ROOT, text=True, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        path = Path(parent.stdout.readline().strip())
        assert path.is_file()
        data = next(folder for folder in path.parents if folder.name == "data")
        parent.kill()
        parent.wait()
        wait_until_gone(data.parent, parent.pid)


def test_what_goes_on_writing_after_the_parent_goes_too(tmp_path: Path) -> None:
    data = tmp_path / "instance" / "data"
    data.mkdir(parents=True)
    guard = watchdog(data.parent)
    copying = "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); : > $i || exit 0; done"
    with subprocess.Popen(["/bin/sh", "-c", copying], cwd=data, stderr=subprocess.DEVNULL) as writer:
        until((data / "100").exists)
        guard.close()
        assert not data.parent.exists()
        writer.kill()


def test_the_watchdog_ends_no_process_but_the_server(tmp_path: Path) -> None:
    data = tmp_path / "instance" / "data"
    data.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (data / "postmaster.pid").write_text(f"{stranger.pid}\n", "utf-8")
        watchdog(data.parent).close()
        assert not data.parent.exists()
        assert stranger.poll() is None
        stranger.kill()


def test_the_sweep_deletes_what_is_nobodys_and_nothing_else(tmp_path: Path) -> None:
    for name in ("unfinished", "left", "foreign", "held"):
        (tmp_path / name / "data").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name in ("unfinished", "left", "held"):
        (tmp_path / name / MARKER).touch()
    (tmp_path / "left" / "lease").touch()
    with (tmp_path / "held" / "lease").open("w") as lease:
        fcntl.flock(lease, fcntl.LOCK_EX)
        embedded_folder.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"foreign", "held"}


def test_a_start_that_fails_shows_the_log_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embedded_folder, "_base", lambda account: tmp_path)
    monkeypatch.setitem(embedded.SETTINGS, "shared_buffers", "nonsense")
    with pytest.raises(ServerError) as caught:
        EmbeddedServer.start()
    assert 'invalid value for parameter "shared_buffers": "nonsense"' in caught.value.reason
    assert caught.value.hint == embedded.HINT
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.lock"]


@ROOT_ONLY
@pytest.mark.usefixtures("narrow_umask")
def test_nobody_gets_where_it_has_to_and_nobody_else_reads_along(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_folder, "_base", lambda account: shared)
    with EmbeddedServer.start(account=Account("nobody")) as server:
        assert scalar(server.url, "select 1") == 1
        readable = [
            path
            for path in server.directory.rglob("*")
            if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o066
        ]
        assert readable == []


@ROOT_ONLY
@pytest.mark.parametrize("mode", ["namespace", "nobody"])
def test_root_runs_it_as_somebody_else(mode: str) -> None:
    account = Account(mode)  # type: ignore[arg-type]  # from the two literals above
    if mode == "namespace" and run_as.choose().mode != "namespace":
        pytest.skip("this machine forbids user namespaces")
    with EmbeddedServer.start(account=account) as server:
        assert scalar(server.url, "select 1") == 1
        status = Path(f"/proc/{server.pid}/status").read_text()
        uid = int(status.partition("Uid:\t")[2].split()[0])
        assert (uid != 0) is (mode == "nobody")
        data = (server.directory / "data").stat()
        assert stat.S_IMODE(data.st_mode) == 0o700
        assert data.st_uid == uid
    assert not server.directory.exists()


@pytest.mark.parametrize("mode", ["own", pytest.param("nobody", marks=ROOT_ONLY)])
def test_a_copy_has_the_contents_owners_and_modes_of_the_prepared_cluster(mode: str, tmp_path: Path) -> None:
    account = Account("nobody") if mode == "nobody" else run_as.choose()
    prepared = prepare(account.reach(find_binaries()), account, lean=True)
    copy(prepared.data, tmp_path / "copy")

    def everything(root: Path) -> dict[Path, tuple[int, int, int, bytes]]:
        found = {}
        for path in [root, *root.rglob("*")]:
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found[path.relative_to(root)] = (status.st_mode, status.st_uid, status.st_gid, content)
        return found

    assert everything(tmp_path / "copy") == everything(prepared.data)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_prepared_cluster_is_made_again(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    account = Account("self" if os.geteuid() else "namespace")
    binaries = find_binaries()
    first = prepare(binaries, account, lean=True)
    assert prepare(binaries, account, lean=True) == first
    DAMAGE[damage](first.data.parent)
    second = prepare(binaries, account, lean=True)
    assert second.password not in ("", first.password)
    assert "trust" not in (second.data / "pg_hba.conf").read_text("utf-8").split()
    with EmbeddedServer.start(account=account) as server:
        assert scalar(server.url, "select 1") == 1


def test_a_cache_that_others_may_write_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "dbtools").mkdir()
    (tmp_path / "dbtools").chmod(0o777)
    with pytest.raises(ServerError) as caught:
        prepare(find_binaries(), Account("self" if os.geteuid() else "namespace"), lean=True)
    assert str(caught.value) == (
        f"Others may change what is in {tmp_path / 'dbtools'}.\n"
        f"Its owner is account {os.geteuid()}, its mode 777. Servers are copied from it.\n"
        f"Remove it, or: chmod go-w {tmp_path / 'dbtools'}; or set XDG_CACHE_HOME to a folder of your own."
    )


def test_a_cache_that_cannot_be_written_to_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that is mounted read-only, where root may not write either."""
    cache, spare = tmp_path / "dbtools", tmp_path / "spare"
    for folder in (cache, spare):
        folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(spare))
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != cache and access(path, mode))
    account = Account("self" if os.geteuid() else "namespace")
    first = prepare(find_binaries(), account, lean=True)
    assert first.data.is_relative_to(spare)
    assert prepare(find_binaries(), account, lean=True) == first
    assert list(cache.iterdir()) == []
    shutil.move(first.data.parent, cache)  # prepared before it became read-only: it is read
    assert prepare(find_binaries(), account, lean=True).data.is_relative_to(cache)


def test_a_deep_temporary_folder_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(embedded_folder, "MIN_FREE_BYTES", 2**62)  # as where /dev/shm is too small
    with EmbeddedServer.start() as server:
        assert deep in server.directory.parents
        assert scalar(server.url, "select 1") == 1


@pytest.mark.parametrize("missing", ["HOME", "the passwd entry too"])
def test_without_a_home_the_cache_is_in_the_temporary_folder(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if missing != "HOME":
        monkeypatch.setattr(Path, "home", no_home)
        assert Account("self").cache == tmp_path / f"dbtools-cache-{os.geteuid()}"
    assert Account("self").cache.is_absolute()


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


@ROOT_ONLY
def test_another_user_of_the_machine_gets_neither_into_a_throwaway_server_nor_at_its_files() -> None:
    with EmbeddedServer.start() as server:
        data = server.directory / "data"
        folders, files = [server.directory, data], [server.log, data / "PG_VERSION"]
        check_closed(server.url, server.directory.parent.parent, folders, files)


@ROOT_ONLY
def test_nor_into_the_projects_own(shared: Path) -> None:
    project = shared / "project"
    project.mkdir(mode=0o755)
    found = start_server(project, report=lambda _: None)
    try:
        inside = list(found.directory.rglob("*"))
        folders = [found.directory, *(path for path in inside if path.is_dir())]
        check_closed(found.url, project, folders, [path for path in inside if path.is_file()])
    finally:
        stop_server(project)


def check_closed(url: str, outside: Path, folders: list[Path], files: list[Path]) -> None:
    """Fail where a process of the user id 54321 gets in without the password, or gets at a folder or file.

    That it gets in with the password, and into the folder `outside`, shows that it tries; root's tries show where.
    """
    folders.insert(0, outside)
    nothing = {"connected over TCP with the password", f"listed {outside}"}
    as_root = attempts(url, folders, files)
    assert as_root >= nothing | {f"listed {folder}" for folder in folders} | {f"read {file}" for file in files}
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        done = "it died"
        try:
            os.setgroups([])
            os.setresgid(54321, 54321, 54321)
            os.setresuid(54321, 54321, 54321)
            done = "\n".join(attempts(url, folders, files))
        finally:
            os.write(write_end, done.encode())
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        found = set(pipe.read().decode().splitlines())
    os.waitpid(child, 0)
    assert found == nothing


def attempts(url: str, folders: list[Path], files: list[Path]) -> set[str]:
    """Try to list, read, replace and connect; return what worked."""
    done = set()
    dsn = Dsn.parse(url)
    for folder in folders:
        with suppress(OSError):
            list(folder.iterdir())
            done.add(f"listed {folder}")
        sockets = f"postgresql:///{dsn.dbname}?host={folder}&port={dsn.port}&connect_timeout=5"
        for user in ("app", "postgres", "root", "dbtools"):
            with suppress(psycopg.OperationalError), psycopg.connect(f"{sockets}&user={user}"):
                done.add(f"connected in {folder} as {user}")
    for file in files:
        with suppress(OSError):
            file.read_bytes()
            done.add(f"read {file}")
        if os.geteuid():
            with suppress(OSError), file.open("ab"):
                done.add(f"opened {file} to write")
    for user in ("app", "postgres", "root", "dbtools"):
        for password in ("", user, "postgres", dsn.dbname):
            place = f"postgresql://{user}:{password}@127.0.0.1:{dsn.port}/{dsn.dbname}?connect_timeout=5"
            with suppress(psycopg.OperationalError), psycopg.connect(place):
                done.add(f"connected over TCP as {user} with the password {password!r}")
    with psycopg.connect(url):
        done.add("connected over TCP with the password")
    return done
