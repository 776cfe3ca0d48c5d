"""Columns of text as arrays of bytes, and the lines that COPY reads made of them.

An array gives every value the width of its longest and fills up with zero bytes. No text in PostgreSQL has one, so they
can stand anywhere until all lines are there, and are then taken out in one pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from groombook.load_draws import Texts

NULL = b"\\N"


def pool(texts: Iterable[str | None]) -> Texts:
    """Return texts as an array to choose from; None is SQL's null. None of them needs an escape."""
    found = [NULL if text is None else text.encode() for text in texts]
    assert not any(set(text) & set(b"\\\t\n\r\0") for text in found if text != NULL)
    return np.array(found)


def joined(*parts: Texts | bytes) -> Texts:
    """Return the texts of one or more arrays of the same shape put behind each other, constants between them."""
    shape = next(part.shape for part in parts if isinstance(part, np.ndarray))
    return _matrix(parts, int(np.prod(shape))).view(f"S{sum(map(_width, parts))}").reshape(shape)


def lines(*columns: Texts | bytes) -> bytes:
    """Return lines in COPY's text format. A column is an array with a value for each line, or one value for all."""
    parts = [part for column in columns for part in (column, b"\t")]
    parts[-1] = b"\n"
    count = next(column.size for column in columns if isinstance(column, np.ndarray))
    text: bytes = _matrix(parts, count).tobytes()
    return text.translate(None, b"\0")


def _matrix(parts: Sequence[Texts | bytes], count: int) -> NDArray[np.uint8]:
    matrix = np.empty((count, sum(map(_width, parts))), np.uint8)
    place = 0
    for part in parts:
        width = _width(part)
        if isinstance(part, bytes):
            matrix[:, place : place + width] = np.frombuffer(part, np.uint8)
        else:
            matrix[:, place : place + width] = np.ascontiguousarray(part).reshape(-1, 1).view(np.uint8)
        place += width
    return matrix


def _width(part: Texts | bytes) -> int:
    return len(part) if isinstance(part, bytes) else part.dtype.itemsize
