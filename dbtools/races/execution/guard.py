"""The advisory lock around each transaction of a session, which the proxy takes and the program does not see."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dbtools.races.execution import wire
from dbtools.races.execution.streams import read_piece

if TYPE_CHECKING:
    from dbtools.races.execution.session import Session


class Guard:
    """The lock of one session; it does nothing where the session has no `guard`."""

    def __init__(self, session: Session, server: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        self.held = False
        """The session holds the lock."""
        self._session = session
        self._server, self._to_server = server, to_server
        self._asked: asyncio.Future[bytes] | None = None
        """What the server answers to a request of the guard's own."""

    @property
    def waits(self) -> bool:
        """Whether what the server answers next is for the guard."""
        return self._asked is not None

    async def take(self) -> bytes:
        """Take the lock; return b"", or an error for the client and the end of its request: waiting is a deadlock."""
        self._asked = asyncio.get_running_loop().create_future()
        self._to_server.write(wire.query(f"select pg_advisory_lock({self._session.guard})"))
        answer = await self._asked
        self._asked = None
        messages = [message for message in wire.Scanner().feed(answer) if message.kind in (wire.ERROR, wire.READY)]
        for message in messages:
            if message.kind == wire.ERROR:
                self._session.error = wire.fields(message.body)
            else:
                self._session.ready(wire.text(message.body))
        self.held = not self._session.error
        return b"" if self.held else b"".join(message.packed() for message in messages)

    async def release(self) -> None:
        """Release the lock."""
        self.held = False
        self._to_server.write(wire.query(f"select pg_advisory_unlock({self._session.guard})"))
        await self.read(b"")

    async def read(self, data: bytes) -> None:
        """Read the answer to a request of the guard's own, which begins with `data`."""
        while not any(message.kind == wire.READY for message in wire.Scanner().feed(data)):
            more = await read_piece(self._server)
            if not more:
                break
            data += more
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(data)
