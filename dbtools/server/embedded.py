"""A throwaway PostgreSQL that dies with its parent, however the parent dies, and leaves nothing behind.

A copy of the prepared cluster in a folder of its own, on tmpfs where there is room. Three things end it:

- `stop`, or leaving the `with` block;
- a watchdog process that reads a pipe whose other end only this process holds: at its end of file, also after
  kill -9, it ends the server and deletes the folder;
- on Linux, the kernel's parent-death signal, which ends the server even if the watchdog was killed too. It follows the
  *thread* that started the server, so it is asked for in the main thread only.

Should all three fail (the machine lost power), the next start sweeps: every instance holds a lock on a lease file for
as long as its owner lives, and a folder whose lease is free is nobody's.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from dbtools.errors import ServerError
from dbtools.server import account as accounts
from dbtools.server import postmaster
from dbtools.server.binaries import find_binaries
from dbtools.server.cluster import DATABASE, ROLE, SUPERUSER, copy, locked, prepare, set_passwords
from dbtools.server.throwaway import Throwaway
from dbtools.server.watchdog import Pipe

if TYPE_CHECKING:
    import subprocess

    from dbtools.server.account import Account

MARKER = "dbtools-throwaway-server"
ROOM = 256 * 2**20
"""Bytes free on tmpfs below which the temporary folder is used instead."""
TRIES = 5
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "unix_socket_permissions": "0700",
    "cluster_name": "dbtools",
}

# $1 the server's data directory, $2 its folder. A postmaster that ended took its pid file along. `ps` is not asked:
# small images have none.
_WATCHDOG = """
read -r _
if read -r pid 2>/dev/null < "$1/postmaster.pid"; then
  kill -QUIT "$pid" 2>/dev/null
  n=0
  while [ -e "$1/postmaster.pid" ] && kill -0 "$pid" 2>/dev/null && [ $n -lt 500 ]; do sleep 0.01; n=$((n + 1)); done
fi
rm -rf -- "$2"
"""


class EmbeddedServer(Throwaway):
    """A throwaway server on loopback TCP with SCRAM and random passwords. See `dbtools.server.Server`."""

    kind = "embedded"

    def __init__(
        self,
        directory: Path,
        version: str,
        port: int,
        passwords: tuple[str, str],
        held: tuple[subprocess.Popen[bytes], int, Pipe],
    ) -> None:
        self.directory = directory
        self.version = version
        self.url = f"postgresql://{ROLE}:{passwords[0]}@127.0.0.1:{port}/{DATABASE}"
        self.admin_url: str | None = f"postgresql://{SUPERUSER}:{passwords[1]}@127.0.0.1:{port}/{DATABASE}"
        self.log = directory / "log"
        self._process, self._lease, self._watchdog = held

    @classmethod
    def start(cls, major: int = 16, *, account: Account | None = None) -> Self:
        """Return a running server of PostgreSQL `major` (16 or 18) whose application database is empty.

        Raises:
            ServerError: There are no binaries, or the server did not start; shows the end of its log.
        """
        account = account or accounts.choose()
        binaries = account.reach(find_binaries(major))
        cluster = prepare(binaries, account, lean=True)
        base = _base(account)
        with locked(base / "sweep.lock"):
            _sweep(base)
            directory = Path(tempfile.mkdtemp(dir=base))
            lease = os.open(directory / "lease", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lease, fcntl.LOCK_EX)
            (directory / MARKER).touch()
        data, log, sockets = directory / "data", directory / "log", directory / "s"
        command = ["/bin/sh", "-c", _WATCHDOG, "dbtools-watchdog", str(data), str(directory)]
        watchdog = Pipe(command, environment=accounts.clean_environment())
        try:
            copy(cluster, data)
            sockets.mkdir(mode=0o700)
            account.give(sockets)
            if account.mode == "nobody":
                directory.chmod(0o711)
            for attempt in range(TRIES):
                port = postmaster.free_port()
                settings = SETTINGS | {"port": str(port), "unix_socket_directories": str(sockets)}
                main = threading.current_thread() is threading.main_thread()
                process = postmaster.spawn(binaries, account, data, log, settings, die_with_parent=main)
                try:
                    postmaster.wait_ready(process, data, log)
                    break
                except ServerError:
                    # Somebody else may have taken the port since we looked.
                    taken = "Address already in use" in log.read_text("utf-8", errors="replace")
                    if not taken or attempt == TRIES - 1:
                        raise
            passwords = (secrets.token_urlsafe(18), secrets.token_urlsafe(18))
            set_passwords(port, cluster.password, *passwords)
        except BaseException:
            os.close(lease)
            watchdog.close()
            raise
        return cls(directory, cluster.version, port, passwords, (process, lease, watchdog))

    def stop(self) -> None:
        """End the server and delete its folder. Calling it twice is allowed."""
        if self._watchdog.closed:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)  # immediate: nothing here is to be kept
            self._process.wait()
        self._watchdog.close()
        os.close(self._lease)


def _base(account: Account) -> Path:
    shm = Path("/dev/shm")  # noqa: S108 - a folder of mode 0700 is made in it
    roomy = shm.is_dir() and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free >= ROOM
    base = (shm if roomy else Path(tempfile.gettempdir())) / f"dbtools-{os.geteuid()}-{account.mode}"
    base.mkdir(mode=0o711 if account.mode == "nobody" else 0o700, exist_ok=True)
    found = base.lstat()
    if found.st_uid != os.geteuid() or base.is_symlink():
        raise ServerError(
            f"{base} belongs to somebody else.",
            "A server started in it would be in that account's hands.",
            "Remove it, or set TMPDIR to a folder of your own.",
        )
    return base


def _sweep(base: Path) -> None:
    """End and delete instances whose owner is gone. Only folders with our marker and a free lease."""
    for directory in base.iterdir():
        lease = directory / "lease"
        if not (directory / MARKER).exists() or not lease.exists():
            continue
        handle = os.open(lease, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(handle)
        postmaster.end(directory / "data", signal.SIGQUIT, 5.0)
        shutil.rmtree(directory, ignore_errors=True)
