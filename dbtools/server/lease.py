"""A file that stays locked for as long as its maker lives: how a later run tells a leftover from what is in use."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Lease:
    """Says that the thing whose lease is at `path` has a living owner on this machine: this process.

    The kernel gives up the lock with the process, however it ends. A forked child holds it too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def close(self) -> None:
        """Give up the lock. The file stays for whoever removes the thing. Calling it twice is allowed."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def is_held(path: Path) -> bool | None:
    """Return whether the owner of the lease lives; None where there is no such lease."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
