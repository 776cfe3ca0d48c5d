"""The project's own server: one command starts it, the next finds it again, until `invoke server.stop` ends it.

Its folder in the project, .dbtools/server-16 (git-ignored), holds the data, the log, and a state file of mode 0600 with
the port and the passwords. The server listens on loopback TCP only.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dbtools.db.dsn import Dsn
from dbtools.errors import ServerError
from dbtools.server import folders, postmaster, run_as
from dbtools.server.binaries import find_binaries
from dbtools.server.cluster import ROLE, SUPERUSER, local_url, set_passwords
from dbtools.server.project_data import State, data_lock, load_state, make_data, store_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dbtools.server.binaries import Binaries
    from dbtools.server.run_as import Account

STOP_TIMEOUT_S = 20.0
SETTINGS = {
    "unix_socket_directories": "",
    "cluster_name": "dbtools",
    # After a power cut the last transactions may be missing, but the database is intact.
    "synchronous_commit": "off",
}


@dataclass(frozen=True)
class ProjectServer:
    """A running server of a project."""

    directory: Path
    version: str
    port: int
    pid: int
    started: int
    """Seconds since 1970."""
    password: str = field(repr=False)
    admin_password: str = field(repr=False)

    @property
    def url(self) -> str:
        """The application role's URL. Holds the password."""
        return local_url(ROLE, self.password, self.port)

    @property
    def admin_url(self) -> str:
        """The superuser's URL. Holds the password."""
        return local_url(SUPERUSER, self.admin_password, self.port)

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.directory / "log"

    @property
    def size(self) -> int:
        """Bytes on disk."""
        total = 0
        for folder, _, names in os.walk(self.directory):
            for name in names:
                with suppress(FileNotFoundError):  # the server may delete a file at this moment
                    total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - a thousand paths
        return total


def start_server(root: Path, *, major: int = 16, report: Callable[[str], None] | None = None) -> ProjectServer:
    """Return the project's server; start it if it does not run. Two simultaneous calls start one server.

    `report` is told when a server was started.

    Raises:
        ServerError: It did not start; or its state file is damaged or lost; or a server that cannot be seen from here
            runs on its data. The data are left alone.
    """
    found = find_server(root, major=major)
    if found:
        return found
    account = run_as.choose()
    directory = _directory(root, account, major)
    folders.make(directory, account.folder_mode)
    with folders.locked(directory.parent / f"{directory.name}.lock"):
        _wait_for_earlier_start(directory)
        found = find_server(root, major=major)
        if found:
            return found
        _start(directory, account, account.reach(find_binaries(major)))
    running = find_server(root, major=major)
    assert running is not None
    if report:
        report(f"Started PostgreSQL {running.version} on 127.0.0.1:{running.port} (invoke server.stop ends it)")
    return running


def find_server(root: Path, *, major: int = 16) -> ProjectServer | None:
    """Return the project's server if it runs and takes connections, else None.

    Raises:
        ServerError: Its state file is damaged.
    """
    directory = _directory(root, run_as.choose(), major)
    found, state = postmaster.running(directory / "data"), load_state(directory)
    if found is None or state is None or state.prepared or not found.ready:
        return None
    return ProjectServer(
        directory, state.version, found.port, found.pid, found.started, state.password, state.admin_password
    )


def stop_server(root: Path, *, major: int = 16) -> bool:
    """End the project's server and keep its data; return whether it was running.

    The server ends its sessions and rolls back what they did not commit.

    Raises:
        ServerError: It does not end, or cannot be seen from here.
    """
    data = _directory(root, run_as.choose(), major) / "data"
    found = postmaster.running(data)
    if found is None:
        check_stopped(root, major=major)
        return False
    if not any(postmaster.end(data, how, timeout=STOP_TIMEOUT_S) for how in (signal.SIGINT, signal.SIGQUIT)):
        raise ServerError(
            f"The server with process id {found.pid} does not end.",
            f"It was told twice and given {2 * STOP_TIMEOUT_S:.0f} s.",
            f"See what keeps it: {data.parent / 'log'}",
        )
    return True


def check_stopped(root: Path, *, major: int = 16) -> None:
    """Return if no server runs on the project's data, seen from here or not.

    Raises:
        ServerError: One that cannot be seen from here does.
    """
    directory = _directory(root, run_as.choose(), major)
    if (directory / "data.lock").exists():
        with data_lock(directory):
            pass


def psql_command(url: str, major: int = 16) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of psql on `url`. The environment holds the password, the command does not."""
    dsn = Dsn.parse(url, source="the server's URL")
    command = [str(find_binaries(major).bin / "psql"), dsn.without_password().url]
    return command, os.environ | ({"PGPASSWORD": dsn.password} if dsn.password else {})


def _directory(root: Path, account: Account, major: int) -> Path:
    return account.server_folder(root / ".dbtools" / f"server-{major}")


def _wait_for_earlier_start(directory: Path) -> None:
    """Wait for a server whose start was cut off: its starter was killed, but the server still gets ready.

    Removing its pid file and starting a second server on the same data would destroy the data.
    """
    deadline = time.monotonic() + postmaster.READY_TIMEOUT_S
    while load_state(directory) and (found := postmaster.running(directory / "data")) and not found.ready:
        if time.monotonic() > deadline:
            raise ServerError(
                f"The server with process id {found.pid} does not get ready.",
                f"It was started by an earlier call and given {postmaster.READY_TIMEOUT_S:.0f} s; it still runs.",
                f"See what keeps it: {directory / 'log'}",
            )
        time.sleep(0.01)


def _start(directory: Path, account: Account, binaries: Binaries) -> None:
    """Start the server on its data, which the first start makes. The caller holds the lock of the directory."""
    state = load_state(directory)
    data, log = directory / "data", directory / "log"
    if state is None and data.exists():
        raise ServerError(
            f"The state file {directory / 'state.json'} is lost.",
            f"It held the passwords of the project's own server. The data in {data} were left alone.",
            f"Put the file back; or, to begin again with an empty server: invoke server.stop, and remove {directory}",
        )
    if state is not None and state.prepared:
        postmaster.end(data, signal.SIGQUIT, timeout=STOP_TIMEOUT_S)  # its start was cut off, its passwords are not set
    with data_lock(directory) as lock:
        if state is None or not data.exists():
            state = make_data(directory, account, binaries)
        if not postmaster.is_free(state.port):
            state = replace(state, port=postmaster.free_port())
        if sys.platform == "linux":
            # A crash leaves this file, and PostgreSQL takes any process with that id for the server.
            (data / "postmaster.pid").unlink(missing_ok=True)
        log.touch(mode=0o600)
        settings = SETTINGS | {"port": str(state.port)}
        process = postmaster.spawn(binaries, account, data, log, settings, die_with_parent=False, keep=[lock])
    postmaster.wait_ready(process, data, log, f"The whole log: {log}")
    if state.prepared:
        _set_passwords(state)
    store_state(directory, replace(state, prepared=""))
    # The server outlives this process on purpose; Popen would complain about a child that still runs.
    process.returncode = 0


def _set_passwords(state: State) -> None:
    import psycopg

    try:
        set_passwords(state.port, state.prepared, state.password, state.admin_password)
    except psycopg.OperationalError:
        # An earlier start has set them, and was cut off before it could store that.
        set_passwords(state.port, state.admin_password, state.password, state.admin_password)
