"""The two ends of a connection through the proxy: reading, passing on, and refusing."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from dbtools.races.execution import wire

PIECE_BYTES = 64 * 1024
"""How much is read from a connection at once; no more than a few pieces are ever held."""


class Reader(asyncio.StreamReader):
    """A reader with an event for the end of its connection, which is set even while no data is read."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit=limit)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        """Take notice that the client will send no more."""
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: Exception) -> None:
        """Take notice that the connection is broken."""
        super().set_exception(exc)
        self.gone.set()


async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, left: int) -> None:
    """Pass so many bytes on, in pieces."""
    while left:
        piece = await source.read(min(left, PIECE_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(b"", left)
        target.write(piece)
        left -= len(piece)
        await target.drain()


async def read_piece(source: asyncio.StreamReader) -> bytes:
    """Return what there is to read, or b"" once the connection has ended, in whatever way."""
    try:
        return await source.read(PIECE_BYTES)
    except OSError:
        return b""


def refuse(writer: asyncio.StreamWriter, message: str) -> None:
    """Tell a client that the proxy cannot go on with it."""
    with suppress(OSError):
        writer.write(wire.fatal(message))
