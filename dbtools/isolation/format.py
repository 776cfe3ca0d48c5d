"""Print a result as libpq's PQprint does with header, alignment and "|": what the isolation tester prints.

Widths are counted in bytes. A column is numeric, and set to the right with its header, unless a value says otherwise;
NULL and the empty string say nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIGITS = frozenset(b"0123456789")
_NUMERIC = _DIGITS | frozenset(b".Ee -")


def table(names: Sequence[bytes], rows: Sequence[Sequence[bytes | None]]) -> bytes:
    """Return the table with its row count and an empty line; nothing where there are no columns."""
    if not names:
        return b""
    texts = [[value or b"" for value in row] for row in rows]
    columns = [[name, *(row[index] for row in texts)] for index, name in enumerate(names)]
    widths = [max(len(text) for text in column) for column in columns]
    right = [all(_is_numeric(text) for text in column[1:]) for column in columns]

    def line(cells: Sequence[bytes]) -> bytes:
        return b"|".join(
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(cells, widths, right, strict=True)
        )

    lines = [line(names), b"+".join(b"-" * width for width in widths), *map(line, texts)]
    count = b"(1 row)" if len(rows) == 1 else b"(%d rows)" % len(rows)
    return b"\n".join((*lines, count, b"", b""))


def _is_numeric(text: bytes) -> bool:
    return not text or (set(text) <= _NUMERIC and text[0] not in b"Ee" and text[-1] in _DIGITS)
