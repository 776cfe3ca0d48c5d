"""A server on a folder of the project's own, for one process alone: it listens on no port.

Its only way in is a socket in a folder that nobody else can enter. It ends with the process that started it, on Linux
also after kill -9.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbtools.errors import ServerError
from dbtools.server import folders, postmaster
from dbtools.server.cluster import SUPERUSER
from dbtools.server.project_data import data_lock
from dbtools.server.project_launch import SETTINGS
from dbtools.server.run_as import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import psycopg

    from dbtools.server.binaries import Binaries
    from dbtools.server.run_as import Account

END_TIMEOUT_S = 120.0
TEMPLATE = "template1"
"""The database that every cluster has."""


@dataclass(frozen=True)
class PrivateServer:
    """A running server, as its superuser sees it."""

    major: int
    socket: Path
    """The folder with the socket."""
    password: str = field(repr=False)

    def connect(self, database: str = TEMPLATE) -> psycopg.Connection:
        """Return a new session of the superuser, in autocommit."""
        import psycopg

        return psycopg.connect(
            host=str(self.socket),
            user=SUPERUSER,
            password=self.password,
            dbname=database,
            autocommit=True,
            application_name="dbtools upgrade",
            client_encoding="UTF8",
        )

    def environment(self, database: str = TEMPLATE) -> dict[str, str]:
        """Return the environment in which PostgreSQL's programs connect to a database. It holds the password."""
        here = {"PGHOST": str(self.socket), "PGUSER": SUPERUSER, "PGPASSWORD": self.password, "PGDATABASE": database}
        return clean_environment() | here


@contextmanager
def private_server(
    directory: Path, account: Account, binaries: Binaries, settings: Mapping[str, str], password: str
) -> Iterator[PrivateServer]:
    """Have a server on the data in `directory`; it is ended, and all it wrote is on disk, at the end of the block.

    Of the settings, those count that this version knows.

    Raises:
        ServerError: It did not start, or did not end; or another one runs on the data.
    """
    data, log, socket = directory / "data", directory / "log", _socket_folder(directory)
    mine = {**SETTINGS, **_known(binaries, account, settings), "listen_addresses": "", "port": "5432"}
    try:
        with data_lock(directory) as lock:
            shutil.rmtree(socket, ignore_errors=True)  # of one that was killed
            folders.make_own(socket, folders.PRIVATE)
            account.give(socket)
            if sys.platform == "linux":
                (data / "postmaster.pid").unlink(missing_ok=True)  # a crash leaves it
            process = postmaster.spawn(
                binaries,
                account,
                data,
                log,
                {**mine, "unix_socket_directories": str(socket)},
                die_with_parent=threading.current_thread() is threading.main_thread(),
                keep=[lock],
            )
        try:
            postmaster.wait_ready(process, data, log, f"The whole log: {log}")
            yield PrivateServer(binaries.major, socket, password)
        finally:
            _end(process, log)
    finally:
        shutil.rmtree(socket, ignore_errors=True)


def _socket_folder(directory: Path) -> Path:
    """Return the folder for the socket of a server on `directory`: a short path, also where TMPDIR is deep."""
    shared = folders.SHARED_MEMORY
    place = shared if os.access(shared, os.W_OK) else folders.temporary_place()
    return place / f"dbtools-private-{hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:16]}"


def _end(process: subprocess.Popen[bytes], log: Path) -> None:
    """End a server in an orderly way: what is open is rolled back, the rest is written to disk."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise ServerError(
            f"The server with process id {process.pid} did not end by itself.",
            f"It was given {END_TIMEOUT_S:.0f} s to write everything to disk, and was killed then.",
            f"See what kept it: {log}; then run this again.",
        ) from None


def _known(binaries: Binaries, account: Account, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that these programs know, and those of extensions."""
    described = account.run([str(binaries.bin / "postgres"), "--describe-config"]).stdout.splitlines()
    names = {line.partition("\t")[0] for line in described}
    return {name: value for name, value in settings.items() if name in names or "." in name}
