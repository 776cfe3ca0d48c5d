"""Folders that only their owner reads, whatever the umask says, and a lock between processes."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dbtools.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE = 0o700
PASSABLE = 0o711
"""For root's folders that `nobody` has to pass through: not listed, and nothing in them is readable by others."""


def make(path: Path, mode: int) -> None:
    """Make a folder and those above it that are missing, all of exactly this mode. One that exists is left alone.

    Raises:
        ServerError: It cannot be made here.
    """
    try:
        for one in [*reversed(path.parents), path]:
            if not one.exists():
                one.mkdir(mode, exist_ok=True)  # another process may be making it as well
                one.chmod(mode)  # the umask took bits away
    except OSError as error:
        raise ServerError(
            f"The folder {path} cannot be made.",
            f"{error.strerror}: {error.filename}.",
            "Set XDG_CACHE_HOME and TMPDIR to folders of your own, or DATABASE_URL to a server of your own.",
        ) from error


def make_own(path: Path, mode: int) -> None:
    """Make a folder below one that everybody may write to, or see that it is ours.

    Raises:
        ServerError: It is somebody else's.
    """
    make(path, mode)
    if path.is_symlink() or path.lstat().st_uid != os.geteuid():
        raise ServerError(
            f"{path} belongs to somebody else.",
            "A server started in it would be in that account's hands.",
            "Remove it, set TMPDIR to a folder of your own, or run this as an ordinary user.",
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, between processes. It ends with the process at the latest."""
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
