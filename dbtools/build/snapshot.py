"""A snapshot: the content of a database as files, ready to be put into another one.

It is a folder with a manifest, three parts of SQL (`before` the rows, `after` them, and the foreign `keys`) and the
rows of each table as COPY text. Every part is checked against the manifest before anything is done with it. In the SQL,
placeholders stand for the schemas' names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.build.manifest import Manifest
from dbtools.errors import UNCHANGED, ChainFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader

CHUNK_BYTES = 1 << 20
"""How much of a table's rows is in memory at a time."""
MANIFEST = "manifest.json"
PARTS = ("before.sql", "after.sql", "keys.sql")


class SnapshotDamaged(ChainFailed):
    """A snapshot's files are not those that were written."""


@dataclass(frozen=True)
class Snapshot:
    """A snapshot in a folder. All its parts come from the folder that was there when the manifest was read."""

    folder: Path

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest.

        Raises:
            SnapshotDamaged: It is missing, not readable, or of another format.
        """
        try:
            return Manifest.from_json(self._read(MANIFEST))
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(f"Its manifest cannot be read: {' '.join(str(error).split())}") from error

    @property
    def bytes(self) -> int:
        """The size of its files."""
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def check(self) -> None:
        """Compare every part with the manifest.

        Raises:
            SnapshotDamaged: One is missing or was changed.
        """
        wanted = {table.file: table.sha256 for table in self.manifest.tables} | self.manifest.parts
        if not wanted.keys() >= set(PARTS):
            raise self._damaged("A part is missing in its manifest")
        for name, sha256 in wanted.items():
            with self.open(name) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    raise self._damaged(f"{name} is not what was written")

    def open(self, name: str) -> BufferedReader:
        """Open a part.

        Raises:
            SnapshotDamaged: There is none of this name, or the snapshot was removed meanwhile.
        """
        if Path(name).name != name:
            raise self._damaged(f"{name!r} is not the name of a part")
        try:
            file = (self.folder / name).open("rb")
            if self._identity != self.folder.stat().st_ino:
                file.close()
                raise self._damaged("Another one was put in its place meanwhile")
        except OSError as error:
            raise self._damaged(f"{name}: {error.strerror}") from error
        return file

    def sql(self, part: str, translate: Callable[[str], str]) -> str:
        """Return a part of SQL with its placeholders replaced."""
        return translate(self._read(part))

    @cached_property
    def _identity(self) -> int:
        """The folder's inode: one that is put in its place, under its name, has another."""
        return self.folder.stat().st_ino

    def _read(self, name: str) -> str:
        with self.open(name) as file:
            return file.read().decode()

    def _damaged(self, why: str) -> SnapshotDamaged:
        return SnapshotDamaged(
            f"The snapshot {self.folder} cannot be used.",
            f"{why}.",
            "Build it again: invoke reset --rebuild; a file from elsewhere has to be fetched again.",
            UNCHANGED,
        )
