"""A file that is locked as long as its owner lives. It lets a later run tell leftovers from what is in use."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Lease:
    """A lock on the file `path`: it tells other processes on this machine that the owner is alive.

    The kernel releases the lock when this process ends, however it ends. A forked child holds it too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # It gets its name once it is locked: unlocked, it would look like the lease of a dead owner.
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        self._handle: int | None = os.open(draft, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        draft.rename(path)

    def close(self) -> None:
        """Release the lock. The file stays for the clean-up. A second call does nothing."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def is_held(path: Path) -> bool | None:
    """Return whether the owner of the lease is alive, or None if there is no such lease."""
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


class Membership:
    """A shared lock on the file `path`: this process is one of those that use what the file stands for.

    The kernel releases it when this process ends, however it ends. A forked child does not hold it.
    """

    def __init__(self, path: Path) -> None:
        self._handle: int | None = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_SH)
        os.register_at_fork(after_in_child=self.close)

    def close(self) -> None:
        """Release the lock. A second call does nothing."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def wait_until_free(path: Path) -> None:
    """Return once nobody holds a lock on the file."""
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    finally:
        os.close(handle)
