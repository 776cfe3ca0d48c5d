"""The folder of an embedded server: on tmpfs where there is room, removed with its server, however its owner ends.

An owner holds the lock on its folder's lease file for as long as it lives, so a folder whose lease is free has no
owner. A watchdog, which is a process of its own, ends the server and removes the folder when the owner ends. If the
watchdog was killed too, the next start sweeps.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.server import folders, postmaster, run_as
from dbtools.server.lease import Lease, is_held
from dbtools.server.watchdog import Watchdog

if TYPE_CHECKING:
    from dbtools.server.run_as import Account

MARKER = "dbtools-throwaway-server"
MIN_FREE_BYTES = 256 * 2**20
"""With less free space on tmpfs, the temporary folder is used instead."""
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


class ServerFolder:
    """A new folder for one server, and the watchdog that removes it when its owner ends."""

    def __init__(self, account: Account) -> None:
        base = _base(account)
        with folders.locked(base / "sweep.lock"):
            sweep(base)
            self.path = Path(tempfile.mkdtemp(dir=base)).resolve()  # as the server's command line shows it
            (self.path / MARKER).touch(mode=0o600)
            self._lease = Lease(self.path / "lease")
        self.log = self.path / "log"
        self.data = self.path / "data"
        command = ["/bin/sh", "-c", WATCHDOG, "dbtools-watchdog", str(self.data), str(self.path), MARKER]
        self._watchdog = Watchdog(command, environment=run_as.clean_environment())

    @property
    def removed(self) -> bool:
        """Whether `remove` was called."""
        return self._watchdog.closed

    def remove(self) -> None:
        """Remove it, once the server has ended."""
        self._watchdog.close()
        self._lease.close()


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
