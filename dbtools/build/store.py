"""The snapshots of a project: a folder of its cache, in which a name is a recipe and a key.

A snapshot is written aside, synced and renamed, so a name never stands for half of one. Builders of one recipe take
turns by a lock file. Those that have not been used for the longest time go first when the folder gets too large.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.build.snapshot import MANIFEST, Snapshot, SnapshotDamaged
from dbtools.errors import UNCHANGED, ServerError
from dbtools.server import folders
from dbtools.server.lease import Lease, is_held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.build.temporary import TemporaryFolder
    from dbtools.config import Project

DRAFT = ".draft-"
DRAFTS_LOCK = "drafts.lock"
LEASE = "lease"
FULL = (errno.ENOSPC, errno.EDQUOT)
DIGITS = 16
"""Of a recipe and of a key, in a snapshot's name."""


def open_store(project: Project) -> Store:
    """Return the snapshots of a project."""
    return Store(project.cache / "snapshots", project.snapshot_cache_bytes)


class Store:
    """The snapshots in `folder`, at most `limit_bytes` of them.

    Where it cannot be written, those that are there are found, and a new one serves this process alone.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._given = folder
        self._limit = limit_bytes
        self._passing: list[TemporaryFolder] = []
        with suppress(ServerError):
            folders.make(folder, folders.PRIVATE)
        self._trusted = _is_trusted(folder)
        self.lasting = self._trusted and os.access(folder, os.W_OK)
        """Whether the next run will find what this one stores."""

    @property
    def memory(self) -> Path | None:
        """The folder of what earlier runs have noted of files; None where others could have changed it."""
        return self._given if self._trusted else None

    @cached_property
    def folder(self) -> Path:
        """The folder that is written to."""
        return self._given if self.lasting else self._passing_folder()

    def find(self, recipe: str) -> list[Snapshot]:
        """Return the snapshots of a recipe whose manifest can be read, the one used last first."""
        found = []
        for path in self._paths(f"{recipe[:DIGITS]}-*"):
            with suppress(OSError, SnapshotDamaged):
                snapshot = Snapshot(path)
                if snapshot.manifest.recipe == recipe:
                    found.append(((path / MANIFEST).stat().st_mtime_ns, snapshot))
        return [snapshot for _, snapshot in sorted(found, key=lambda pair: pair[0], reverse=True)]

    def all(self) -> list[Snapshot]:
        """Return every snapshot, the one used last first."""
        paths = [path for path in self._paths("*") if (path / MANIFEST).is_file() and DRAFT not in path.name]
        return [Snapshot(path) for path in sorted(paths, key=_used, reverse=True)]

    def _paths(self, pattern: str) -> list[Path]:
        found = [*self._given.glob(pattern)] if self._trusted else []
        return found + ([] if self.lasting or "folder" not in vars(self) else [*self.folder.glob(pattern)])

    def touch(self, snapshot: Snapshot) -> None:
        """Note that a snapshot was used."""
        with suppress(OSError):
            now = time.time_ns()  # a plain utime counts in ticks, and two levels are touched within one
            os.utime(snapshot.folder / MANIFEST, ns=(now, now))

    @contextmanager
    def locked(self, recipe: str) -> Iterator[None]:
        """Let no other process build this recipe in the block."""
        with folders.locked(self.folder / f"{recipe[:DIGITS]}.lock"):
            yield

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """Make a folder for the files of a new snapshot; what is left of it at the end of the block is removed.

        Raises:
            ServerError: The disk is full, or this account's share of it.
        """
        with self._room(), folders.locked(self.folder / DRAFTS_LOCK):
            for path in self.folder.glob(f"{DRAFT}*"):
                if not is_held(path / LEASE):
                    shutil.rmtree(path, ignore_errors=True)  # its maker was killed
            folder = Path(tempfile.mkdtemp(prefix=DRAFT, dir=self.folder))
            lease = Lease(folder / LEASE)
        try:
            with self._room():
                yield folder
        finally:
            lease.close()
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise ServerError(
                f"The snapshot could not be written to {self.folder}.",
                f"{error.strerror}.",
                "Make room there: invoke snapshot.list shows what is kept, invoke snapshot.drop removes it.",
                UNCHANGED,
            ) from error

    def publish(self, draft: Path, recipe: str, key: str, *, once: bool = False) -> Snapshot:
        """Give a finished draft its name, in the place of an older one of that name.

        With `once` it serves this process alone, and no other run finds it.
        """
        target = self.folder / f"{recipe[:DIGITS]}-{key[:DIGITS]}"
        if once:
            target = self._passing_folder() / target.name
            shutil.move(draft, target)
            (target / LEASE).unlink()
            return Snapshot(target)
        for path in [*draft.iterdir(), draft]:
            _sync(path)
        with folders.locked(self.folder / DRAFTS_LOCK):  # without its lease it looks like a draft that was left
            (draft / LEASE).unlink()
            if target.exists():
                shutil.rmtree(target)
            draft.rename(target)
        _sync(self.folder)
        self._shrink(target)
        return Snapshot(target)

    def drop(self, snapshot: Snapshot) -> None:
        """Remove a snapshot."""
        shutil.rmtree(snapshot.folder)

    def _passing_folder(self) -> Path:
        """Return a folder that is gone with this object."""
        from dbtools.build.temporary import TemporaryFolder

        self._passing.append(TemporaryFolder())
        return self._passing[-1].path

    def _shrink(self, kept: Path) -> None:
        """Remove what was used longest ago until the limit holds; never the one just made."""
        total = 0
        for snapshot in self.all():
            with suppress(OSError):
                total += snapshot.bytes
                if total > self._limit and snapshot.folder != kept:
                    self.drop(snapshot)


def _is_trusted(folder: Path) -> bool:
    """Whether only this account or root decides what is in a folder: a snapshot's SQL runs with the role's rights."""
    try:
        status = folder.stat()
    except OSError:
        return False
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & 0o022 and os.access(folder, os.R_OK | os.X_OK)


def _used(path: Path) -> int:
    return (path / MANIFEST).stat().st_mtime_ns


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
