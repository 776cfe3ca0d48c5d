"""What the isolation tester prints of a result: its tables look as libpq's PQprint makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import pq

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.pq.abc import PGresult

_DIGITS = frozenset(b"0123456789")
_NUMERIC = _DIGITS | frozenset(b".Ee -")


def format_result(result: PGresult) -> bytes:
    """Return what is printed for one result of a step: rows, an error, or nothing."""
    if result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY):
        return b""
    if result.status == pq.ExecStatus.TUPLES_OK:
        return format_result_set(result)
    if result.status == pq.ExecStatus.FATAL_ERROR:
        # Without the detail, which may hold transaction ids.
        severity = result.error_field(pq.DiagnosticField.SEVERITY)
        message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
        if severity is not None and message is not None:
            return severity + b":  " + message + b"\n"
        return result.error_message + b"\n"
    return b"unexpected result status: PGRES_%s\n" % pq.ExecStatus(result.status).name.encode()


def format_result_set(result: PGresult) -> bytes:
    """Return the rows of a result as a table (printResultSet)."""
    columns = range(result.nfields)
    rows = [[result.get_value(row, column) for column in columns] for row in range(result.ntuples)]
    return pqprint([result.fname(column) or b"" for column in columns], rows)


def pqprint(names: Sequence[bytes], rows: Sequence[Sequence[bytes | None]]) -> bytes:
    """Return what PQprint prints with `header`, `align` and the separator "|"; nothing where there are no columns.

    The table ends with its row count and an empty line. Widths are counted in bytes. A column is right-aligned with its
    header if all of its values look numeric; NULL and the empty string do. A value with a NUL byte, which a binary
    cursor may give, is printed up to that byte; unless that is its first one, the whole of it counts for the width.
    """
    if not names:
        return b""
    texts = [[(value or b"").partition(b"\0")[0] for value in row] for row in rows]
    columns = [[name, *(row[index] for row in texts)] for index, name in enumerate(names)]
    widths = [
        max(len(name), *(len(row[index] or b"") for row, text in zip(rows, texts, strict=True) if text[index]), 0)
        for index, name in enumerate(names)
    ]
    numeric = [all(_is_numeric(text) for text in column[1:]) for column in columns]

    def line(cells: Sequence[bytes]) -> bytes:
        return b"|".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        )

    lines = [line(names), b"+".join(b"-" * width for width in widths), *map(line, texts)]
    count = b"(1 row)" if len(rows) == 1 else b"(%d rows)" % len(rows)
    return b"\n".join((*lines, count, b"", b""))


def _is_numeric(text: bytes) -> bool:
    return not text or (set(text) <= _NUMERIC and text[0] not in b"Ee" and text[-1] in _DIGITS)
