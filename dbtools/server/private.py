"""A server on a folder of the project's own, for one process alone: it listens on no port.

Its only way in is a socket in a folder that nobody else can enter. It ends with the process that started it, on Linux
also after kill -9.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.server import folders, postmaster
from dbtools.server.cluster import SUPERUSER
from dbtools.server.project_data import data_lock
from dbtools.server.project_launch import SETTINGS, STOP_TIMEOUT_S
from dbtools.server.run_as import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

    from dbtools.server.binaries import Binaries
    from dbtools.server.run_as import Account

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
        ServerError: It did not start; or another one runs on the data.
    """
    data, log = directory / "data", directory / "log"
    shared = folders.SHARED_MEMORY  # a socket's path is short, and TMPDIR may be deep
    place = shared if os.access(shared, os.W_OK) else folders.temporary_place()
    socket = Path(tempfile.mkdtemp(prefix="dbtools-", dir=place))
    try:
        account.give(socket)
        mine = {**SETTINGS, **_known(binaries, account, settings), "listen_addresses": "", "port": "5432"}
        with data_lock(directory) as lock:
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
            process.send_signal(signal.SIGINT)  # rolls back what is open, writes the rest to disk
            try:
                process.wait(STOP_TIMEOUT_S)
            finally:
                if process.poll() is None:
                    process.kill()
    finally:
        shutil.rmtree(socket, ignore_errors=True)


def _known(binaries: Binaries, account: Account, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that these programs know, and those of extensions."""
    described = account.run([str(binaries.bin / "postgres"), "--describe-config"]).stdout.splitlines()
    names = {line.partition("\t")[0] for line in described}
    return {name: value for name, value in settings.items() if name in names or "." in name}
