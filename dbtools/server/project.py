"""The project's own server: one command starts it, the next finds it again, until `invoke server.stop` ends it.

Its folder in the project, such as .dbtools/server-16 (git-ignored), holds the data, the log, and a state file of mode
0600 with the port and the passwords. The server listens on loopback TCP only.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.db.dsn import Dsn
from dbtools.errors import ServerError
from dbtools.server import folders, postmaster, run_as
from dbtools.server.cluster import ROLE, SUPERUSER, local_url
from dbtools.server.extensions import make_extensions
from dbtools.server.project_data import data_lock, load_state, store_state
from dbtools.server.project_launch import STOP_TIMEOUT_S, launch, wait_for_earlier_start
from dbtools.server.requirements import ALL_MAJORS, NONE, Requirements
from dbtools.server.sources import find_binaries, programs_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from dbtools.server.run_as import Account


@dataclass(frozen=True)
class ProjectServer:
    """A running server of a project."""

    directory: Path
    version: str
    port: int
    pid: int
    started: int
    """Seconds since 1970."""
    programs: Path
    """The folder of the programs that run."""
    extensions: tuple[str, ...]
    """Those that were made in the application's database."""
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


def start_server(
    root: Path, requirements: Requirements = NONE, *, report: Callable[[str], None] | None = None
) -> ProjectServer:
    """Return the project's server; start it if it does not run. Two simultaneous calls start one server.

    It has what is required; settings count when it is started. `report` is told when it was.

    Raises:
        NoBinaries: No programs on this machine have what is required.
        ServerError: It did not start, or runs without what is required; or its state file is damaged or lost; or a
            server that cannot be seen from here runs on its data. The data are left alone.
    """
    found = find_server(root, requirements)
    if found:
        return _complete(found, requirements)
    account, major = run_as.choose(), requirements.version
    directory = folder_of(root, account, major)
    folders.make(directory, account.folder_mode)
    with start_lock(directory):
        wait_for_earlier_start(directory)
        found, fresh = find_server(root, requirements), not (directory / "data").exists()
        if not found:
            launch(directory, account, account.reach(find_binaries(requirements)), requirements)
    if found:
        return _complete(found, requirements)
    running = find_server(root, requirements)
    assert running is not None
    if report:
        report(f"Started PostgreSQL {running.version} on 127.0.0.1:{running.port} (invoke server.stop ends it)")
        for other in ALL_MAJORS:
            if fresh and other != major and (data := folder_of(root, account, other) / "data").exists():
                way = " (invoke server.upgrade brings it here)" if other < major else ""
                report(f"It is new and empty; what a server of PostgreSQL {other} held stays in {data}{way}")
    return running


def find_server(root: Path, requirements: Requirements = NONE) -> ProjectServer | None:
    """Return the project's server if it runs and takes connections, else None.

    Where no version is required, it may be of any.

    Raises:
        ServerError: Its state file is damaged.
    """
    account = run_as.choose()
    for major in [requirements.major] if requirements.major else ALL_MAJORS:
        directory = folder_of(root, account, major)
        found, state = postmaster.running(directory / "data"), load_state(directory)
        if found is not None and state is not None and not state.prepared and found.ready and found.listens:
            return ProjectServer(
                directory,
                state.version,
                found.port,
                found.pid,
                found.started,
                Path(state.programs or find_binaries(Requirements(major)).bin),  # of an earlier dbtools
                state.extensions,
                state.password,
                state.admin_password,
            )
    return None


def stop_server(root: Path) -> bool:
    """End the project's server, of whatever version, and keep its data; return whether it was running.

    The server ends its sessions and rolls back what they did not commit.

    Raises:
        ServerError: It does not end, or cannot be seen from here.
    """
    account, stopped = run_as.choose(), False
    for major in ALL_MAJORS:
        data = folder_of(root, account, major) / "data"
        found = postmaster.running(data)
        if found is None:
            continue
        if not any(postmaster.end(data, how, timeout=STOP_TIMEOUT_S) for how in (signal.SIGINT, signal.SIGQUIT)):
            raise ServerError(
                f"The server with process id {found.pid} does not end.",
                f"It was told twice and given {2 * STOP_TIMEOUT_S:.0f} s.",
                f"See what keeps it: {data.parent / 'log'}",
            )
        stopped = True
    if not stopped:
        check_stopped(root)
    return stopped


def check_stopped(root: Path) -> None:
    """Return if no server runs on the project's data, seen from here or not.

    Raises:
        ServerError: One that cannot be seen from here does.
    """
    account = run_as.choose()
    for major in ALL_MAJORS:
        directory = folder_of(root, account, major)
        if (directory / "data.lock").exists():
            with data_lock(directory):
                pass


def psql_command(server: ProjectServer, *, admin: bool = False) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of the server's psql. The environment holds the password, the command does not."""
    dsn = Dsn.parse(server.admin_url if admin else server.url, source="the server's URL")
    return [str(server.programs / "psql"), dsn.without_password().url], os.environ | {"PGPASSWORD": dsn.password}


def folder_of(root: Path, account: Account, major: int) -> Path:
    """Return the folder of the project's own server of a major version."""
    return account.server_folder(root / ".dbtools" / f"server-{major}")


def start_lock(directory: Path) -> AbstractContextManager[None]:
    """Return the lock under which the server of a folder is started, or upgraded."""
    return folders.locked(directory.parent / f"{directory.name}.lock")


def _complete(found: ProjectServer, requirements: Requirements) -> ProjectServer:
    """Return the running server, with the extensions that are required since it was started."""
    if requirements.programs and run_as.choose().reach(programs_in(requirements.programs)).bin != found.programs:
        raise ServerError(
            "The project's own server runs already, with other programs.",
            f"Those in {found.programs}, not in {requirements.programs}.",
            "To end it, its data kept: invoke server.stop; then run this again.",
        )
    missing = [name for name in requirements.extensions if name not in found.extensions]
    if not missing:
        return found
    there = programs_in(found.programs).extensions
    if absent := [name for name in missing if name not in there]:
        raise ServerError(
            f"The project's own server runs without what is required: {', '.join(absent)}.",
            f"It was started before that was, with the programs in {found.programs}, which do not have it.",
            "To end it, its data kept: invoke server.stop; then run this again.",
        )
    make_extensions(found.admin_url, missing)
    with start_lock(found.directory):
        state = load_state(found.directory)
        assert state is not None
        extensions = tuple(dict.fromkeys((*state.extensions, *missing)))
        store_state(found.directory, replace(state, extensions=extensions))
    return replace(found, extensions=extensions)
