"""A file that stays locked for as long as its maker lives: how a later run tells a leftover from what is in use."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from dbtools.server import folders
from dbtools.server.account import Account

if TYPE_CHECKING:
    from pathlib import Path


class Lease:
    """Says that the thing called `name` has a living owner on this machine: this process.

    The kernel gives up the lock with the process, however it ends. A forked child holds it too.

    Raises:
        ServerError: The cache folder cannot be made.
    """

    def __init__(self, name: str) -> None:
        self.path = _path(name)
        folders.make(self.path.parent, folders.PRIVATE)
        self._handle: int | None = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def close(self) -> None:
        """Give up the lock. The file stays for whoever removes the thing. Calling it twice is allowed."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def has_living_owner(name: str) -> bool | None:
    """Return whether the owner of `name` lives; None where this account on this machine knows of no such lease."""
    try:
        handle = os.open(_path(name), os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def forget(name: str) -> None:
    """Remove the lease of an owner that is gone."""
    _path(name).unlink(missing_ok=True)


def _path(name: str) -> Path:
    # The home of whoever calls, also as root: no server has to reach it.
    return Account("self").cache / "leases" / name
