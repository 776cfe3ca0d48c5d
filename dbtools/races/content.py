"""What a run left behind: the rows of all tables, and what the catalog says about their columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Value: TypeAlias = str | None
"""A value as the server writes it in COPY's text format; None is NULL."""
Row: TypeAlias = tuple[Value, ...]


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    surrogate: bool = False
    """The server hands its values out: it is an identity or a serial column, or its default makes a UUID."""
    key: bool = False
    """It alone is a key of its table: where its values vary from run to run, they are names."""
    uuid: bool = False
    """It holds UUIDs, of which the same is true."""
    derived: bool = False
    """It is generated from other columns."""
    refers: tuple[str, str] | None = None
    """The table and the column that a foreign key of this column refers to."""


@dataclass(frozen=True)
class Table:
    """The rows of one table."""

    name: str
    """With its schema, unless that is public."""
    columns: tuple[Column, ...]
    count: int
    digest: str
    """Equal for equal rows in equal columns, whatever their order."""
    rows: tuple[Row, ...] | None = None
    """None where they are those of the start state, or too many."""


@dataclass(frozen=True, eq=False)
class Content:
    """All tables of a database."""

    tables: Mapping[str, Table] = field(default_factory=dict)

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each table: equal for equal contents."""
        return {name: table.digest for name, table in self.tables.items()}
