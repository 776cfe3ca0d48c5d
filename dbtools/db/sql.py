"""Small helpers for SQL text and single values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg


def quote(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def search_path(schemas: Iterable[str]) -> str:
    """Return a search_path of these schemas, with public at the end: extensions may be there."""
    return ", ".join(map(quote, dict.fromkeys([*schemas, "public"])))


def literal(text: str) -> str:
    """Return a text as an SQL string; standard_conforming_strings has to be on."""
    return "'" + text.replace("'", "''") + "'"


def scalar(
    connection: psycopg.Connection, query: str, arguments: tuple[object, ...] | dict[str, object] | None = None
) -> Any:
    """Return the first column of the row that `query`, which always has one, returns."""
    row = connection.execute(query, arguments).fetchone()
    assert row is not None
    return row[0]


def quote_ident(connection: psycopg.Connection, name: str) -> str:
    """Return a name as the server writes it: in quotes only where they are needed."""
    return str(scalar(connection, "select quote_ident(%s)", (name,)))
