"""What programs of a run leave behind: processes that outlive them, such as daemons, are found and ended."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37


def children() -> set[int]:
    """Return the processes that this one has started, or that were left to it; none where that cannot be known."""
    found: set[int] = set()
    for file in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended meanwhile
            found |= {int(child) for child in file.read_text("ascii").split()}
    return found


@contextmanager
def adopted_orphans() -> Iterator[None]:
    """Make this process the parent of what programs leave behind when they end, so that it can be found."""
    if sys.platform != "linux":
        yield
        return
    before = ctypes.c_int()
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, before.value)


def end_orphans(known: Collection[int]) -> None:
    """Kill all children but the known ones, with all that they have started in turn."""
    while orphans := children() - {*known}:
        for pid in orphans:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
