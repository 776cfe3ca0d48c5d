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

import os
import secrets
import shutil
import signal
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from dbtools.errors import ServerError
from dbtools.server import folders, postmaster, run_as
from dbtools.server.base import EphemeralServer
from dbtools.server.binaries import find_binaries
from dbtools.server.cluster import DATABASE, ROLE, SUPERUSER, copy, prepare, set_passwords
from dbtools.server.lease import Lease, is_held
from dbtools.server.watchdog import Watchdog

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from dbtools.server.run_as import Account

MARKER = "dbtools-throwaway-server"
ROOM = 256 * 2**20
"""Bytes free on tmpfs below which the temporary folder is used instead."""
TRIES = 5
HINT = "Nothing was left behind. To use a server of your own, set DATABASE_URL."
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "unix_socket_permissions": "0700",
    "cluster_name": "dbtools",
}

# $1 the server's data directory, $2 its folder, $3 the marker.
# - A pid file names our server only while the process of that number has our directory on its command line: the number
#   may be another's by now. `ps` is not asked, as small images have none.
# - Over and over, because what the parent started (the server; `cp` where it is not Linux) goes on for a moment.
# - The marker goes last, so that what a cut-off clean-up leaves is still known to the sweep as ours to delete.
_WATCHDOG = """
ours() {
  read -r pid 2>/dev/null < "$1/postmaster.pid" || return 1
  [ -d /proc/self ] || return 0
  line=
  read -r line 2>/dev/null < "/proc/$pid/cmdline"
  case $line in *"$1"*) return 0 ;; *) return 1 ;; esac
}
read -r _
n=0
while [ -e "$2" ] && [ $n -lt 500 ]; do
  if ours "$1" && kill -QUIT "$pid" 2>/dev/null; then
    while ours "$1" && kill -0 "$pid" 2>/dev/null && [ $n -lt 500 ]; do sleep 0.01; n=$((n + 1)); done
  fi
  rm -rf -- "$1" "$2/s" "$2/log" "$2/lease" 2>/dev/null && rm -f -- "$2/$3" && rmdir -- "$2" 2>/dev/null && exit
  sleep 0.01
  n=$((n + 1))
done
"""


class EmbeddedServer(EphemeralServer):
    """A throwaway server on loopback TCP with SCRAM and random passwords. See `dbtools.server.Server`."""

    kind = "embedded"

    def __init__(
        self,
        directory: Path,
        version: str,
        port: int,
        passwords: tuple[str, str],
        held: tuple[subprocess.Popen[bytes], Lease, Watchdog],
    ) -> None:
        self.directory = directory
        self.version = version
        self.url = f"postgresql://{ROLE}:{passwords[0]}@127.0.0.1:{port}/{DATABASE}"
        self.admin_url: str | None = f"postgresql://{SUPERUSER}:{passwords[1]}@127.0.0.1:{port}/{DATABASE}"
        self.log = directory / "log"
        self._process, self._lease, self._watchdog = held

    @classmethod
    def start(
        cls, major: int = 16, *, account: Account | None = None, settings: Mapping[str, str] | None = None
    ) -> Self:
        """Return a running server of PostgreSQL `major` (16 or 18) whose application database is empty.

        `settings` go before those made for throwaway servers, but not before its port and its socket's folder.

        Raises:
            ServerError: There are no binaries, or the server did not start; shows the end of its log.
        """
        account = account or run_as.choose()
        binaries = account.reach(find_binaries(major))
        cluster = prepare(binaries, account, lean=True)
        base = _base(account)
        with folders.locked(base / "sweep.lock"):
            _sweep(base)
            directory = Path(tempfile.mkdtemp(dir=base)).resolve()  # as its command line has it
            (directory / MARKER).touch(mode=0o600)
            lease = Lease(directory / "lease")
        data, log, sockets = directory / "data", directory / "log", directory / "s"
        command = ["/bin/sh", "-c", _WATCHDOG, "dbtools-watchdog", str(data), str(directory), MARKER]
        watchdog = Watchdog(command, environment=run_as.clean_environment())
        process = None
        try:
            copy(cluster, data)
            sockets.mkdir(mode=0o700)
            account.give(sockets)
            directory.chmod(account.folder_mode)
            for attempt in range(TRIES):
                port = postmaster.free_port()
                place = {"port": str(port), "unix_socket_directories": str(sockets)}
                main = threading.current_thread() is threading.main_thread()
                process = postmaster.spawn(
                    binaries, account, data, log, SETTINGS | dict(settings or {}) | place, die_with_parent=main
                )
                try:
                    postmaster.wait_ready(process, data, log, HINT)
                    break
                except ServerError:
                    # Somebody else may have taken the port since we looked.
                    taken = "Address already in use" in log.read_text("utf-8", errors="replace")
                    if not taken or attempt == TRIES - 1:
                        raise
            passwords = (secrets.token_urlsafe(18), secrets.token_urlsafe(18))
            set_passwords(port, cluster.password, *passwords)
        except BaseException:
            if process is not None:
                _end(process)
            watchdog.close()
            lease.close()
            raise
        assert process is not None
        return cls(directory, cluster.version, port, passwords, (process, lease, watchdog))

    def stop(self) -> None:
        """End the server and delete its folder. Calling it twice is allowed."""
        if self._watchdog.closed:
            return
        _end(self._process)
        self._watchdog.close()
        self._lease.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGQUIT)  # immediate: nothing here is to be kept
        process.wait()


def _base(account: Account) -> Path:
    shm = Path("/dev/shm")  # noqa: S108 - a folder of mode 0700 is made in it
    roomy = shm.is_dir() and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free >= ROOM
    base = (shm if roomy else Path(tempfile.gettempdir())) / f"dbtools-{os.geteuid()}-{account.mode}"
    folders.make_own(base, account.folder_mode)
    return base


def _sweep(base: Path) -> None:
    """End and delete instances whose owner is gone: folders with our marker whose lease nobody holds.

    Folders are made under the lock that the caller holds, so one without a lease was never finished. A watchdog may
    be at work on the same folder.
    """
    for directory in base.iterdir():
        if directory.is_dir() and not (directory / MARKER).exists():
            with suppress(OSError):  # not empty, so not ours; or gone
                directory.rmdir()
        elif directory.is_dir() and not is_held(directory / "lease"):
            postmaster.end(directory / "data", signal.SIGQUIT, 5.0)
            for name in ("data", "s"):
                shutil.rmtree(directory / name, ignore_errors=True)
            if not (directory / "data").exists():  # else something is still writing: the next start tries again
                shutil.rmtree(directory, ignore_errors=True)
