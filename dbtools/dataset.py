"""A dataset: the rows a seeder wants in the database, as values, before any connection is opened.

A value is a str, int, bool or None. Everything else (dates, decimals, UUIDs, JSON) is given as the text PostgreSQL
would read, so that a dataset is the same bytes on every machine and needs no adaptation to be copied.
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
class Dataset:
    """Tables in an order in which they can be loaded: parents before the tables that refer to them.

    `summary` is what a person is told when the rows are in: one line each, such as "Created 10 services".
    """

    tables: tuple[TableRows, ...]
    summary: tuple[str, ...] = field(default=())
