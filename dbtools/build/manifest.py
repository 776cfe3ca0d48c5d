"""The manifest of a snapshot: what it holds, and what it was made from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

FORMAT = 1
"""Raised when a snapshot of an earlier version could not be read any more."""


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
    """The recipe and all inputs, or with generated rows the content, as a hash: equal keys, equal content."""
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
