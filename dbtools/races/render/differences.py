"""The rows in which a run's content differs from those of the serial orders, as lines of text and as a table."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from dbtools.races.render import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbtools.races.trace import TableDifference

MAX_CELL_COLUMNS = 40
"""How much of a value is shown."""
NO_ROW = "no such row"


def rows_that_differ(tables: Sequence[TableDifference]) -> Iterator[str]:
    """Yield lines of text: a heading for each table, and its rows."""
    for table in tables:
        heading, *rows = _cells(table)
        widths = [max(map(sanitize.columns, column), default=0) for column in _columns([heading, *rows])]
        for line in (heading, *rows):
            padded = [cell + " " * (width - sanitize.columns(cell)) for cell, width in zip(line, widths, strict=False)]
            yield " | ".join(padded).rstrip()


def tables_that_differ(tables: Sequence[TableDifference]) -> Iterator[str]:
    """Yield the same as HTML."""
    for table in tables:
        heading, *rows = _cells(table)
        yield '<table class="rows-that-differ">'
        yield f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in heading)}</tr>"
        yield from (f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        yield "</table>"


def _cells(table: TableDifference) -> Iterator[list[str]]:
    yield [sanitize.one_line(cell) for cell in (table.table, *table.columns)]
    for label, cells in table.rows:
        yield [sanitize.one_line(label), *(_cell(cell) for cell in cells or (NO_ROW,))]


def _cell(value: str) -> str:
    return sanitize.cut(sanitize.one_line(value), MAX_CELL_COLUMNS)


def _columns(lines: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    for position in range(max(map(len, lines))):
        yield [line[position] for line in lines if len(line) > position]
