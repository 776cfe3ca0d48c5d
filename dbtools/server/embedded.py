"""A throwaway PostgreSQL that ends with its parent process, however that ends, and leaves no files behind.

A server runs on a copy of the prepared cluster in a folder of its own, on tmpfs where there is room. Three things end
it:

- `stop`, or leaving the `with` block;
- a watchdog process (`dbtools.server.watchdog`), which ends the server and deletes the folder even after kill -9;
- on Linux, the kernel's parent-death signal, which ends the server even if the watchdog was killed too. The signal
  follows the *thread* that started the server, so dbtools asks for it in the main thread only.

If all three fail (a power cut), the next start sweeps: an owner holds the lock on its folder's lease file for as long
as it lives, so a folder whose lease is free has no owner.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from dbtools.db.dsn import Dsn
from dbtools.errors import ServerError
from dbtools.server import folders, postmaster, run_as
from dbtools.server.base import EphemeralServer
from dbtools.server.cluster import ROLE, SUPERUSER, copy, local_url, prepare, set_passwords
from dbtools.server.extensions import make_extensions
from dbtools.server.lease import Lease, is_held
from dbtools.server.requirements import NONE
from dbtools.server.sources import find_binaries
from dbtools.server.watchdog import Watchdog

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping

    from dbtools.server.binaries import Binaries
    from dbtools.server.requirements import Requirements
    from dbtools.server.run_as import Account

MARKER = "dbtools-throwaway-server"
MIN_FREE_BYTES = 256 * 2**20
"""With less free space on tmpfs, the temporary folder is used instead."""
MAX_STARTS = 5
"""Attempts, each with another port, before a start gives up."""
HINT = "Nothing was left behind. To use a server of your own, set DATABASE_URL."
LAB_HINT = "Nothing was left behind. Correct the setting, if the log names one."
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "cluster_name": "dbtools",
    "unix_socket_directories": "",  # below a deep TMPDIR its path would be too long; clients come over TCP
}

# $1 the server's data directory, $2 its folder, $3 the marker.
# - A pid may belong to another process by now. It is our server's only while that process has our directory on its
#   command line. The script does not ask `ps`, which small images lack.
# - It tries again and again, because what the parent started (the server, or `cp` where it is not Linux) goes on for a
#   moment.
# - It removes the marker last, so that the sweep still recognizes the folder after a clean-up that was cut off.
WATCHDOG = """
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
  rm -rf -- "$1" "$2/log" "$2/lease" 2>/dev/null && rm -f -- "$2/$3" && rmdir -- "$2" 2>/dev/null && exit
  sleep 0.01
  n=$((n + 1))
done
"""


class EmbeddedServer(EphemeralServer):
    """A throwaway server on loopback TCP with SCRAM and random passwords. See `dbtools.server.Server`."""

    kind = "embedded"

    def __init__(self, binaries: Binaries, account: Account, settings: Mapping[str, str]) -> None:
        """Make the server's folder, and the watchdog that removes it. `start` does the rest."""
        self.version = ""
        self.url = ""
        self.admin_url = ""
        self._binaries, self._account, self._settings = binaries, account, settings
        self._process: subprocess.Popen[bytes] | None = None
        base = _base(account)
        with folders.locked(base / "sweep.lock"):
            sweep(base)
            self.directory = Path(tempfile.mkdtemp(dir=base)).resolve()  # as the server's command line shows it
            (self.directory / MARKER).touch(mode=0o600)
            self._lease = Lease(self.directory / "lease")
        self.log = self.directory / "log"
        self._data = self.directory / "data"
        command = ["/bin/sh", "-c", WATCHDOG, "dbtools-watchdog", str(self._data), str(self.directory), MARKER]
        self._watchdog = Watchdog(command, environment=run_as.clean_environment())

    @classmethod
    def start(
        cls,
        requirements: Requirements = NONE,
        *,
        account: Account | None = None,
        settings: Mapping[str, str] | None = None,
        bare: bool = False,
        lean: bool = True,
        lab: bool = False,
    ) -> Self:
        """Return a running server whose application database is empty but for the extensions.

        With `bare` they are only there to be made. `settings` override those that are required, and these those of
        throwaway servers, except the port. A `lean` server lacks the databases postgres and template0, and starts
        faster. For the `lab` no other server would do, and errors name none.

        Raises:
            NoBinaries: No programs have what is required.
            ServerError: The server did not start; shows the end of its log. Or an extension could not be made.
        """
        account = account or run_as.choose()
        binaries = account.reach(find_binaries(requirements, fixed=bare, lab=lab))
        cluster = prepare(binaries, account, lean=lean)
        server = cls(binaries, account, {**SETTINGS, **requirements.settings, **(settings or {})})
        try:
            server._fill(cluster.data)
            port = server._start_on_free_port(LAB_HINT if lab else HINT)
            passwords = (secrets.token_urlsafe(18), secrets.token_urlsafe(18))
            set_passwords(port, cluster.password, *passwords)
            server.version, server.extensions = cluster.version, () if bare else requirements.extensions
            server.url, server.admin_url = local_url(ROLE, passwords[0], port), local_url(SUPERUSER, passwords[1], port)
            make_extensions(server.admin_url, server.extensions)
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def pid(self) -> int:
        """The process id of the server, also after its end."""
        assert self._process is not None
        return self._process.pid

    def crash(self) -> None:
        """End the server at once: no farewell to clients, no checkpoint. Keep its data for `restart`."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)  # an immediate shutdown
            self._process.wait()

    def restart(self) -> None:
        """Start the server again on its data, with the same port, passwords and settings; crash it first if it runs.

        It recovers from its write-ahead log. The last commits may be lost unless synchronous_commit is on.

        Raises:
            ServerError: The server did not start; shows the end of its log.
        """
        self.crash()
        self._spawn(int(Dsn.parse(self.url, source="the server's URL").port), f"The whole log: {self.log}")

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Stop the server cleanly for the block, so that it can be copied; then start it again, on another port.

        Raises:
            ServerError: It did not start again; shows the end of its log.
        """
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)  # a fast shutdown, with a checkpoint
        self._process.wait()
        yield
        self._start_as(self)

    def copy(self) -> Self:
        """Return another running server, with the content, settings and passwords of this one, which is at rest.

        Raises:
            ServerError: It did not start; shows the end of its log.
        """
        twin = type(self)(self._binaries, self._account, self._settings)
        try:
            twin._fill(self._data)  # noqa: SLF001 - its own class
            twin.version, twin.extensions = self.version, self.extensions
            twin._start_as(self)  # noqa: SLF001
        except BaseException:
            twin.stop()
            raise
        return twin

    def stop(self) -> None:
        """End the server and delete its folder. A second call does nothing."""
        if self._watchdog.closed:
            return
        self.crash()
        self._watchdog.close()
        self._lease.close()

    def _fill(self, data: Path) -> None:
        copy(data, self._data)
        self.directory.chmod(self._account.folder_mode)

    def _start_as(self, original: Self) -> None:
        port = str(self._start_on_free_port(LAB_HINT))
        self.url, self.admin_url = (
            Dsn.parse(url, source="the server's URL").changed(port=port).url
            for url in (original.url, original.admin_url)
        )

    def _start_on_free_port(self, hint: str) -> int:
        for attempt in range(MAX_STARTS):
            port = postmaster.free_port()
            try:
                self._spawn(port, hint)
                break
            except ServerError:
                # Another process may have taken the port in the meantime.
                taken = "Address already in use" in self.log.read_text("utf-8", errors="replace")
                if not taken or attempt == MAX_STARTS - 1:
                    raise
        return port

    def _spawn(self, port: int, hint: str) -> None:
        self._process = postmaster.spawn(
            self._binaries,
            self._account,
            self._data,
            self.log,
            {**self._settings, "port": str(port)},
            die_with_parent=threading.current_thread() is threading.main_thread(),
        )
        postmaster.wait_ready(self._process, self._data, self.log, hint)


def _base(account: Account) -> Path:
    shm = folders.SHARED_MEMORY
    roomy = shm.is_dir() and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free >= MIN_FREE_BYTES
    base = (shm if roomy else folders.temporary_place()) / f"dbtools-{os.geteuid()}-{account.mode}"
    folders.make_own(base, account.folder_mode)
    return base


def sweep(base: Path) -> None:
    """End and delete servers whose owner is gone: folders with our marker whose lease is free.

    The caller holds the lock under which folders are made, so a folder without a lease was never finished. A watchdog
    may be at work on the same folder.
    """
    for directory in base.iterdir():
        if directory.is_dir() and not (directory / MARKER).exists():
            with suppress(OSError):  # not empty, so not ours; or already gone
                directory.rmdir()
        elif directory.is_dir() and not is_held(directory / "lease"):
            postmaster.end(directory / "data", signal.SIGQUIT, timeout=5.0)
            shutil.rmtree(directory / "data", ignore_errors=True)
            if not (directory / "data").exists():  # else a process still writes: the next start tries again
                shutil.rmtree(directory, ignore_errors=True)
