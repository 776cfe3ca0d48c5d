"""What a program leaves running when it ends: daemons, and children that it did not wait for.

Found in /proc by three signs, of which a process need show one: it is in the program's group, it carries the mark that
the program's environment had, or it holds the program's output open. Where there is no /proc, nothing is found.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process that is still running."""

    pid: int
    name: str
    """The file name of its program."""


def find_left_behind(group: int, mark: str, pipe: str) -> list[Process]:
    """Return the processes of the group, with `mark` ("NAME=value") in their environment, or with `pipe` open.

    `pipe` is what /proc calls it: "pipe:[4711]".
    """
    found = []
    for folder in PROC.glob("[0-9]*"):
        pid = int(folder.name)
        if pid == os.getpid():
            continue
        with suppress(OSError):  # it ended meanwhile, or is another user's
            name, _, rest = (folder / "stat").read_text("utf-8", "replace").partition("(")[2].rpartition(")")
            state, _, its_group = rest.split()[:3]
            if state not in "ZX" and (int(its_group) == group or _carries(folder, mark) or _holds(folder, pipe)):
                found.append(Process(pid, name))
    return sorted(found, key=lambda process: process.pid)


def _carries(folder: Path, mark: str) -> bool:
    with suppress(OSError):
        return mark.encode() in (folder / "environ").read_bytes().split(b"\0")
    return False


def _holds(folder: Path, pipe: str) -> bool:
    with suppress(OSError):
        for descriptor in (folder / "fd").iterdir():
            with suppress(OSError):
                if os.readlink(descriptor) == pipe:  # noqa: PTH115 - not a path
                    return True
    return False
