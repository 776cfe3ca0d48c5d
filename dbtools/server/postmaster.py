"""One postgres process: spawn it on a data directory, wait until it is ready, tell it from others, end it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.errors import ServerError
from dbtools.server.run_as import clean_environment

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping

    from dbtools.server.binaries import Binaries
    from dbtools.server.run_as import Account

READY_TIMEOUT = 60.0
COMMON = {
    "listen_addresses": "127.0.0.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "huge_pages": "off",
    "shared_buffers": "64MB",
}


@dataclass(frozen=True)
class PidFile:
    """What postmaster.pid says."""

    pid: int
    started: int
    """Seconds since 1970."""
    port: int
    ready: bool

    @classmethod
    def read(cls, data: Path) -> PidFile | None:
        """Return what is there; None where there is no server, or where its file is not complete yet."""
        try:
            lines = (data / "postmaster.pid").read_text("utf-8").splitlines()
            return cls(int(lines[0]), int(lines[2]), int(lines[3]), len(lines) > 7 and lines[7].strip() == "ready")
        except (FileNotFoundError, IndexError, ValueError):
            return None


def running(data: Path) -> PidFile | None:
    """Return the server that runs on `data`, or None.

    A process id may have been given to another process since; a server is one only if it sits in the directory.
    """
    found = PidFile.read(data)
    if found is None:
        return None
    try:
        return found if _sits_in(found.pid, data.resolve()) else None
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return None
    try:  # no /proc: the best there is
        os.kill(found.pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return found


def _sits_in(pid: int, data: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == data
    except PermissionError:
        # Root in a container may not look into a process of nobody's. The command line is everybody's to read.
        return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def free_port() -> int:
    """Return a port nobody listens on at this moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def is_free(port: int) -> bool:
    """Return whether nobody listens on the port at this moment."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def spawn(
    binaries: Binaries, account: Account, data: Path, log: Path, settings: Mapping[str, str], *, die_with_parent: bool
) -> subprocess.Popen[bytes]:
    """Start postgres on `data`, in a session of its own so that Ctrl-C does not reach it. No setting holds a secret."""
    command = [str(binaries.bin / "postgres"), "-D", str(data.resolve())]
    for name, value in (COMMON | dict(settings)).items():
        command += ["-c", f"{name}={value}"]
    log.touch(mode=0o600)  # it may show statements
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=clean_environment(),
            start_new_session=True,
            preexec_fn=account.entry(die_with_parent=die_with_parent),  # noqa: PLW1509 - see Account.run
        )


def wait_ready(process: subprocess.Popen[bytes], data: Path, log: Path, hint: str) -> None:
    """Return when the server takes connections.

    Raises:
        ServerError: It ended instead, or was not ready in 60 s. Shows the end of its log, and the caller's hint.
    """
    deadline = time.monotonic() + READY_TIMEOUT
    while True:
        found = PidFile.read(data)
        if found and found.ready and found.pid == process.pid:
            return
        code = process.poll()
        if code is not None or time.monotonic() > deadline:
            happened = f"it ended with exit code {code}" if code is not None else f"not ready in {READY_TIMEOUT:.0f} s"
            tail = " | ".join(log.read_text("utf-8", errors="replace").strip().splitlines()[-5:])
            raise ServerError(
                "The embedded PostgreSQL server did not start.",
                f"{happened[:1].upper()}{happened[1:]}. The end of its log: {tail or 'empty'}",
                hint,
            )
        # Reading a small file is cheap; the 100 ms that pg_ctl sleeps between looks would be most of the start.
        time.sleep(0.002)


def end(data: Path, number: signal.Signals, timeout: float) -> bool:
    """Send the server on `data` a signal and return whether it is gone within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    found = running(data)
    if found is not None:
        try:
            os.kill(found.pid, number)
        except ProcessLookupError:
            return True
    while running(data):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
