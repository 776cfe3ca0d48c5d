"""A snapshot: the content of a database as files, ready to be put into another one.

It is a folder with a manifest, three parts of SQL (`before` the rows, `after` them, and the foreign `keys`) and the
rows of each table as COPY text. Every part is checked against the manifest before anything is done with it.

The SQL holds a placeholder where a schema's name belongs: "dbtools_snap_0" for the first schema, and "dbtools_enum_0"
for that of its enums. So one snapshot serves every schema that it is put into, under whatever name, and an enum can be
taken from there.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbtools.errors import UNCHANGED, ChainFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader

FORMAT = 1
"""Raised when a snapshot of an earlier version could not be read any more."""
CHUNK_BYTES = 1 << 20
"""How much of a table's rows is in memory at a time."""
MANIFEST = "manifest.json"
PARTS = ("before.sql", "after.sql", "keys.sql")
# pg_restore's own comments stay: a name with a line break would end them.
_PLACEHOLDER = re.compile(
    r'^-- Name: .*$|\bdbtools_snap_(\d+)\b|\bdbtools_enum_(\d+)\.("(?:[^"]|"")+"|\w+)', re.MULTILINE
)


class SnapshotDamaged(ChainFailed):
    """A snapshot's files are not those that were written."""


def placeholder(number: int) -> str:
    """Return the name that stands for schema `number`."""
    return f"dbtools_snap_{number}"


def enum_placeholder(number: int) -> str:
    """Return the name that stands for the schema of the enums of schema `number`."""
    return f"dbtools_enum_{number}"


@dataclass(frozen=True)
class TableData:
    """The rows of one table, and the file that holds them. Names are as they are, not in SQL form."""

    schema: int
    name: str
    columns: tuple[str, ...]
    rows: int
    file: str
    sha256: str


@dataclass(frozen=True)
class SequencePosition:
    """Where a sequence stood."""

    schema: int
    name: str
    value: int
    called: bool


@dataclass(frozen=True)
class EnumType:
    """An enum: what has to be equal for another one to serve in its place."""

    schema: int
    name: str
    """In SQL form."""
    labels: tuple[str, ...]
    comment: str | None
    acl: str | None


@dataclass(frozen=True)
class Extension:
    """An extension that the content needs."""

    name: str
    version: str
    schema: str


@dataclass(frozen=True)
class Manifest:
    """What a snapshot holds and where it comes from."""

    recipe: str
    """The steps and settings it was made with, as a hash."""
    key: str
    """The recipe and all inputs, as a hash: equal keys, equal content."""
    made_at: str
    made_by: str
    project: str
    steps: tuple[str, ...]
    server: str
    """The version of the server it was made on: "16.14"."""
    role: str
    """The role that made it, and owns everything in it."""
    inputs: dict[str, Any]
    schemas: tuple[str, ...]
    structures: tuple[str, ...]
    """The SHA-256 of each schema's structure (`db.structure`), sequence positions left out."""
    grants: dict[str, str]
    """SQL with the grants and the comment of each schema: for one that an install has to create."""
    fixed: str
    """Why the content cannot be moved to another schema; "" where it can."""
    triggers: bool
    """Whether rows that are loaded have to meet triggers or rules."""
    defaults: tuple[tuple[int | None, str], ...]
    """The default privileges that the steps set, by schema (None: in all), each as the clause that takes it away."""
    extensions: tuple[Extension, ...]
    enums: tuple[EnumType, ...]
    tables: tuple[TableData, ...]
    sequences: tuple[SequencePosition, ...]
    views: tuple[tuple[int, str], ...]
    """The materialized views that hold rows, in the order in which they can be refreshed."""
    revisions: tuple[str, ...]
    """The ids of all migrations of the history, where Alembic ran."""
    heads: tuple[str, ...]
    """Those at the end of it."""
    parts: dict[str, str]
    """The SHA-256 of each part of SQL."""
    locks: int = 0
    """How many locks a transaction holds that has made all of it; 0 in snapshots of earlier versions."""
    format: int = FORMAT

    @property
    def major(self) -> int:
        """The major version of the server."""
        return int(self.server.partition(".")[0])

    @property
    def rows(self) -> int:
        """The number of rows in all tables."""
        return sum(table.rows for table in self.tables)

    def to_json(self) -> str:
        """Return the manifest as text."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Return the manifest in `text`.

        Raises:
            ValueError, KeyError, TypeError: It is not one of this format.
        """
        values = json.loads(text)
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']}, not {FORMAT}")
        for name, kind in (("extensions", Extension), ("enums", EnumType), ("tables", TableData)):
            values[name] = tuple(kind(**_tuples(item)) for item in values[name])
        values["sequences"] = tuple(SequencePosition(**item) for item in values["sequences"])
        return cls(**_tuples(values))


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(tuple(item) if isinstance(item, list) else item for item in value)
        if isinstance(value, list)
        else value
        for name, value in values.items()
    }


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


def translator(names: tuple[str, ...], taken: dict[tuple[int, str], str]) -> Callable[[str], str]:
    """Return a function that replaces placeholders in SQL.

    `names` are the schemas, in SQL form. `taken` gives, by schema and name, the enums of other schemas that serve in
    the place of the snapshot's own; all in SQL form.
    """

    def replace(found: re.Match[str]) -> str:
        if found[1] is not None:
            return _within(found, names[int(found[1])])
        if found[2] is None:
            return found[0]
        number = int(found[2])
        return _within(found, taken.get((number, found[3]), f"{names[number]}.{found[3]}"))

    return lambda text: _PLACEHOLDER.sub(replace, text)


def _within(found: re.Match[str], name: str) -> str:
    """Return `name` as it is written where a placeholder was found: by itself, or in a string such as nextval's."""
    before = found.string[max(0, found.start() - 2) : found.start()]
    if before == "E'":
        name = name.replace("\\", "\\\\")
    return name.replace("'", "''") if before.endswith("'") else name
