"""Folders that only their owner can read, whatever the umask, and a file lock between processes."""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.errors import UNCHANGED, ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE = 0o700
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the names below it are random, and their owner's alone
PASSABLE = 0o711
"""For root's folders that the account `nobody` has to pass through. Others can neither list nor read them."""


def make(path: Path, mode: int) -> None:
    """Make a folder and its missing parents, all with exactly this mode. Leave existing folders alone.

    Raises:
        ServerError: It cannot be made here.
    """
    try:
        for folder in [*reversed(path.parents), path]:
            if not folder.exists():
                folder.mkdir(mode, exist_ok=True)  # another process may be making it as well
                folder.chmod(mode)  # the umask took bits away
    except OSError as error:
        raise ServerError(
            f"The folder {path} cannot be made.",
            f"{error.strerror}: {error.filename}.",
            "Set XDG_CACHE_HOME and TMPDIR to folders of your own, or DATABASE_URL to a server of your own.",
        ) from error


def make_own(path: Path, mode: int) -> None:
    """Make a folder in a place that everybody may write to; if it exists, check that it is ours.

    Raises:
        ServerError: It cannot be made here, or belongs to another account.
    """
    make(path, mode)
    if path.is_symlink() or path.lstat().st_uid != os.geteuid():
        raise ServerError(
            f"{path} belongs to another account.",
            "A server started in it would be in that account's hands.",
            "Remove it, set TMPDIR to a folder of your own, or run this as an ordinary user.",
        )


def check_own(path: Path) -> None:
    """Refuse a folder that belongs to another account, or that others may write to.

    Raises:
        ServerError: Says which, and what to do.
    """
    status = path.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ServerError(
            f"Others may change what is in {path}.",
            f"Its owner is account {status.st_uid}, its mode {status.st_mode & 0o777:o}. Servers are copied from it.",
            f"Remove it, or: chmod go-w {path}; or set XDG_CACHE_HOME to a folder of your own.",
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file against other processes. The kernel frees it when this process ends.

    Raises:
        ServerError: The file cannot be made here.
    """
    try:
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise ServerError(
            f"The lock file {path} cannot be made.",
            f"{error.strerror}: {error.filename}.",
            "Set XDG_CACHE_HOME and TMPDIR to folders of your own, or DATABASE_URL to a server of your own.",
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def temporary_place() -> Path:
    """Return the folder for temporary files: the system's, or shared memory where that is all that can be written.

    A container whose root is read-only often has no other.

    Raises:
        ServerError: There is none.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        if os.access(SHARED_MEMORY, os.W_OK):
            return SHARED_MEMORY
        raise ServerError(
            "There is no folder for temporary files.",
            "Neither TMPDIR, nor /tmp, nor /dev/shm can be written.",
            "Mount one at /tmp (in a cluster: an emptyDir), or set TMPDIR.",
            UNCHANGED,
        ) from None
