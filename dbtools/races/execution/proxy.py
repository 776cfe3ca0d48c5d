"""A proxy between one actor and the server: it holds every request until it is released.

An actor is given the proxy's port in place of the server's. Authentication (including SCRAM), cancel requests, COPY,
notifications and errors pass unchanged. TLS and GSSAPI encryption are declined.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dbtools.races.execution import wire
from dbtools.races.execution.relay import Relay
from dbtools.races.execution.session import Phase, Session
from dbtools.races.execution.streams import PIECE_BYTES, Reader, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Proxy:
    """The proxy of one actor.

    `changed` is called at every change of a session. At the end of a request, it is called before the program gets the
    answer. With a `guard`, the advisory lock with this key is taken before each transaction and released after it,
    which the program does not see.
    """

    def __init__(
        self, actor: str, host: str, port: int, changed: Callable[[Session], None], guard: int | None = None
    ) -> None:
        self.actor = actor
        self.sessions: list[Session] = []
        self.keeps_snapshot = False
        """Its sessions begin with `Session.keeps_snapshot`."""
        self.port = 0
        self._address = (host, port)
        self._changed = changed
        self._guard = guard
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen on 127.0.0.1, at a free port: `port`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End all connections, and return once the last one is gone."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(Reader(limit=PIECE_BYTES), self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, Reader)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # also where it is cancelled before it has begun

    async def _serve(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        session = server = None
        try:
            packet = await _first_packet(reader, writer)
            code = int.from_bytes(packet[4:8], "big")
            if code == wire.CANCEL_REQUEST and self._cancel_held(packet):
                return
            if code != wire.CANCEL_REQUEST:
                number = len(self.sessions) + 1
                name = self.actor if number == 1 else f"{self.actor}#{number}"
                session = Session(self.actor, name, self._changed, self._guard)
                session.opening = packet
                session.keeps_snapshot = self.keeps_snapshot or b"isolation" in packet
                self.sessions.append(session)
                await _either(session.wait_for_admission(), reader.gone.wait())
            answers, server = await asyncio.open_connection(*self._address, limit=PIECE_BYTES)
            server.write(packet)
            if session is None:
                await answers.read()
            else:
                await Relay(session, reader, writer, answers, server).run()
        except wire.ProtocolError as error:
            refuse(writer, f"race proxy: {error}")
        except OSError as error:
            refuse(writer, f"race proxy: the server cannot be reached: {error}")
        except asyncio.IncompleteReadError:
            pass  # the client left before its first packet was complete
        finally:
            for end in (writer, server):
                if end is not None:
                    end.close()
            if session is not None:
                session.enter(Phase.CLOSED)

    def _cancel_held(self, packet: bytes) -> bool:
        """Cancel the request that is held on the connection that a cancel request is for; return whether one is.

        The server does not know of the request yet, so the cancel would get lost.
        """
        pid = int.from_bytes(packet[8:12], "big")
        held = [session for session in self.sessions if session.pid == pid and session.phase is Phase.HELD]
        for session in held:
            session.cancelled = True
        return bool(held)


async def _first_packet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Return the packet that opens a connection or cancels a request, with its length; decline encryption."""
    while True:
        four = await reader.readexactly(4)
        rest = await reader.readexactly(wire.startup_length(four))
        if int.from_bytes(rest[:4], "big") not in (wire.SSL_REQUEST, wire.GSS_REQUEST):
            return four + rest
        writer.write(b"N")


async def _either(*both: Coroutine[object, object, object]) -> None:
    """Return once one of them has returned."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in both]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
