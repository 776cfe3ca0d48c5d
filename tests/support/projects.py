"""The project's own server, started and stopped by other processes; prepared clusters, damaged; tasks, interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.commands.interrupts import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent.parent
START = """
import pathlib, sys
from dbtools.server.project import start_server
print(start_server(pathlib.Path(sys.argv[1])).pid)
"""
STOP = """
import pathlib, sys
from dbtools.server.project import stop_server
print(stop_server(pathlib.Path(sys.argv[1])))
"""
NAMESPACES = ("unshare", "--pid", "--ipc", "--fork", "--mount-proc")
DAMAGE: dict[str, Callable[[Path], object]] = {
    "replaced pg_hba.conf": lambda home: (home / "data/pg_hba.conf").write_text("host all all all trust\n", "utf-8"),
    "empty password": lambda home: (home / "password").write_text("", "utf-8"),
    "short file": lambda home: os.truncate(next(home.glob("data/base/*/*_vm")), 0),
    "missing file": lambda home: (home / "data/PG_VERSION").unlink(),
    "one file more": lambda home: (home / "data/postgresql.auto.conf.new").touch(),
    "no seal": lambda home: (home / "seal.json").unlink(),
}
"""What is done to the folder of a prepared cluster."""


def may_make_namespaces() -> bool:
    """Return whether this process may start others in process namespaces of their own."""
    return subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode == 0


def run_in_namespace(program: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run `START` or `STOP` on the project at `root` where no process of this machine can be seen."""
    command = [*NAMESPACES, sys.executable, "-c", program, str(root)]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)


def start_task(url: str, *arguments: str, wrapped: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Start `invoke ...` on the database at `url`; it heeds signals, whatever this process does."""
    return subprocess.Popen(
        [*wrapped, sys.executable, "-m", "invoke", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url, "PYTHONUNBUFFERED": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_signals,  # noqa: PLW1509
    )


def heed_signals() -> None:
    """A shell has its background jobs ignore Ctrl-C, nohup SIGHUP; so would all that they start."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
