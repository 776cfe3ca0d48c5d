"""The postgres process of a data directory: spawn it, wait until it is ready, find it again, end it."""

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
    from collections.abc import Mapping, Sequence

    from dbtools.server.binaries import Binaries
    from dbtools.server.run_as import Account

READY_TIMEOUT_S = 60.0
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
    """The content of postmaster.pid."""

    pid: int
    started: int
    """Seconds since 1970."""
    port: int
    ready: bool
    listens: bool
    """Whether it takes connections over TCP; one that is being upgraded does not."""

    @classmethod
    def read(cls, data: Path) -> PidFile | None:
        """Return the content, or None if there is no file or it is not complete yet."""
        try:
            lines = (data / "postmaster.pid").read_text("utf-8").splitlines()
            ready = len(lines) > 7 and lines[7].strip() == "ready"
            return cls(int(lines[0]), int(lines[2]), int(lines[3]), ready, len(lines) > 5 and bool(lines[5].strip()))
        except (FileNotFoundError, IndexError, ValueError):
            return None


def running(data: Path) -> PidFile | None:
    """Return the server that runs on `data`, or None.

    The process id may belong to another process by now. It is the server's only if that process works in `data`.
    """
    found = PidFile.read(data)
    if found is None:
        return None
    try:
        return found if _works_in(found.pid, data.resolve()) else None
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return None
    try:  # without /proc, a living process is the best evidence
        os.kill(found.pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return found


def _works_in(pid: int, data: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == data
    except PermissionError:
        # In a container, root cannot read the folder of a process of `nobody`; everybody can read its command line.
        return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def free_port() -> int:
    """Return a port of loopback that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Return whether the port of loopback is free at this moment."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def spawn(
    binaries: Binaries,
    account: Account,
    data: Path,
    log: Path,
    settings: Mapping[str, str],
    *,
    die_with_parent: bool,
    keep: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start postgres on `data`, in a session of its own so that Ctrl-C does not reach it.

    `settings` appear on its command line: they must not hold a secret. It inherits the file descriptors in `keep`.
    """
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
            pass_fds=keep,
            preexec_fn=account.entry(die_with_parent=die_with_parent),  # noqa: PLW1509 - see Account.run
        )


def wait_ready(process: subprocess.Popen[bytes], data: Path, log: Path, hint: str) -> None:
    """Return when the server takes connections.

    Raises:
        ServerError: It ended instead, or was not ready within 60 s. Shows the end of its log, and the caller's hint.
    """
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        found = PidFile.read(data)
        if found and found.ready and found.pid == process.pid:
            return
        code = process.poll()
        if code is not None or time.monotonic() > deadline:
            happened = (
                f"it ended with exit code {code}" if code is not None else f"not ready in {READY_TIMEOUT_S:.0f} s"
            )
            tail = " | ".join(log.read_text("utf-8", errors="replace").strip().splitlines()[-5:])
            raise ServerError(
                "The embedded PostgreSQL server did not start.",
                f"{happened[:1].upper()}{happened[1:]}. The end of its log: {tail or 'empty'}",
                hint,
            )
        # Reading a small file is cheap. pg_ctl sleeps 100 ms between looks, which would be most of the start.
        time.sleep(0.002)


def end(data: Path, number: signal.Signals, *, timeout: float) -> bool:
    """Send a signal to the server on `data`, and return whether it ended within `timeout` seconds."""
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
