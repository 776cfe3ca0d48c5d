"""A dataset: the rows a seeder wants in the database, as values, before any connection is opened.

A value is a str, int, bool or None. Everything else (dates, decimals, UUIDs, JSON) is given as the text that PostgreSQL
reads, so that a dataset has the same bytes on every machine and COPY can take it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Value: TypeAlias = str | int | bool | None


@dataclass(frozen=True)
class TableRows:
    """The rows of one table. Every row has a value for each column, in that order."""

    table: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Value, ...]]


@dataclass(frozen=True)
class TableText:
    """The same as lines of COPY's text format, in UTF-8, for an application that writes them faster than values."""

    table: str
    columns: tuple[str, ...]
    count: int
    """How many lines there are."""
    data: bytes


@dataclass(frozen=True)
class Dataset:
    """Tables in the order in which they can be loaded: parents before the tables that refer to them.

    `summary` holds the lines to print once the rows are loaded, such as "Created 10 services".
    """

    tables: tuple[TableRows, ...]
    summary: tuple[str, ...] = field(default=())
