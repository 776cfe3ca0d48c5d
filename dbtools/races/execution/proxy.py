"""A gate between one actor and the server: it holds every request until it is let through.

An actor is given the gate's port in place of the server's. All the rest is the server's own: authentication (SCRAM
too), cancel requests, COPY, notifications and errors pass as they are. TLS and GSSAPI encryption are declined.

A request is held at its first message: some drivers send Parse and Flush, and wait for the answer before they go on.
Once it is let through, everything passes until ReadyForQuery, which is when the server has committed what there was to
commit. What a client sends ahead of that waits in its socket, so the next request of a pipeline is a step of its own.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING

from dbtools.races.execution import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

PIECE = 64 * 1024
"""Bytes that are read from a connection at once; no more than some pieces are ever held."""


class Phase(StrEnum):
    """Where a session is."""

    CONNECTING = "knocking"
    """It waits at the gate to be connected: a program that opens several at once gets them one by one."""
    STARTING = "starting"
    """It has not been ready for a query yet."""
    IDLE = "idle"
    """The server waits for the client."""
    HELD = "held"
    """A request waits at the gate."""
    RUNNING = "running"
    """The server works on a request."""
    CLOSING = "closing"
    """The client is gone; the server still cleans up."""
    CLOSED = "closed"
    """The server has released everything the session held."""


class Session:
    """One connection of an actor."""

    def __init__(self, actor: str, name: str, changed: Callable[[Session], None]) -> None:
        self.actor = actor
        self.name = name
        self.phase = Phase.CONNECTING
        self.pid = 0
        """The process id of the backend."""
        self.sql = ""
        """The request that is held or running, or was the last one."""
        self.choice = True
        self.opening = b""
        """The packet that it began with: user, database and settings."""
        self.tag = ""
        self.error: dict[str, str] = {}
        """The fields of the request's error, by the protocol's letters."""
        self.transaction = "I"
        self.ended = 0
        """How many requests have ended."""
        self._changed = changed
        self._pass = asyncio.Event()
        self._untouched = True
        """Nothing was done in the open transaction that was a choice."""

    def admit(self) -> None:
        """Let the connection through."""
        assert self.phase is Phase.CONNECTING
        self.phase = Phase.STARTING
        self._pass.set()

    async def knock(self) -> None:
        """Return when the connection has been let through."""
        self._changed(self)
        await self._pass.wait()

    def release(self) -> None:
        """Let the held request through."""
        assert self.phase is Phase.HELD
        self.tag, self.error = "", {}
        self.phase = Phase.RUNNING
        self._pass.set()

    async def hold(self, sql: str) -> None:
        """Return when the request has been let through."""
        if self.phase is Phase.RUNNING:  # what was let through before it, in one batch with it
            self.ended += 1
        if self.transaction == "I":
            self._untouched = True
        ends_nothing = self._untouched and self.transaction == "T" and wire.is_end(sql)
        self.sql, self.choice = sql, not (wire.is_trivial(sql) or ends_nothing)
        self._untouched = self._untouched and not self.choice
        self.phase = Phase.HELD
        self._pass.clear()
        self._changed(self)
        await self._pass.wait()

    def become(self, phase: Phase) -> None:
        """Change the phase; a request that was running has ended."""
        self.ended += self.phase is Phase.RUNNING
        if self.phase is not Phase.CLOSED:
            self.phase = phase
        self._changed(self)


class Proxy:
    """One actor's way to the server.

    `changed` is called at every change of a session; at the end of a request before the program can know of it.
    """

    def __init__(self, actor: str, host: str, port: int, changed: Callable[[Session], None]) -> None:
        self.actor = actor
        self.sessions: list[Session] = []
        self.port = 0
        self._address = (host, port)
        self._changed = changed
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End all connections, and return when the last is gone."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(_Reader(limit=PIECE), self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, _Reader)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        session = server = None
        try:
            packet = await _first_packet(reader, writer)
            code = int.from_bytes(packet[4:8], "big")
            if code != wire.CANCEL_REQUEST:
                number = len(self.sessions) + 1
                name = self.actor if number == 1 else f"{self.actor}#{number}"
                session = Session(self.actor, name, self._changed)
                session.opening = packet
                self.sessions.append(session)
                await _first((session.knock(), reader.gone.wait()))
            answers, server = await asyncio.open_connection(*self._address, limit=PIECE)
            server.write(packet)
            if session is None:
                await answers.read()
            else:
                await _Pumps(session, reader, writer, answers, server).run()
        except wire.ProtocolError as error:
            _refuse(writer, f"race gate: {error}")
        except OSError as error:
            _refuse(writer, f"race gate: the server cannot be reached: {error}")
        except asyncio.IncompleteReadError:
            pass  # the client left before it had said what it wants
        finally:
            for end in (writer, server):
                if end is not None:
                    end.close()
            if session is not None:
                session.become(Phase.CLOSED)


class _Reader(asyncio.StreamReader):
    """Tells that its connection has ended also while nobody reads."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit=limit)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.gone.set()


class _Pumps:
    """The two directions of one connection."""

    def __init__(
        self,
        session: Session,
        client: _Reader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._session = session
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._statements = wire.Statements()
        self._request = b""
        """The type of the first message of the request that is open; b"" while none is."""
        self._copy = False
        """The server wants COPY data."""
        self._open = asyncio.Event()
        """The client's messages may pass: the last request has not been sent whole, or is over."""
        self._open.set()

    async def run(self) -> None:
        """Return when the server has ended the connection."""
        upward = asyncio.create_task(self._upward())
        try:
            await self._downward()
        finally:
            upward.cancel()
            with suppress(asyncio.CancelledError):
                await upward

    async def _downward(self) -> None:
        scanner = wire.Scanner()
        while data := await _read(self._server):
            ready = False
            for message in scanner.feed(data):
                ready = self._observe(message) or ready
            # The client must not see the answer before it is written down that the request is over.
            if ready:
                self._become_ready()
            with suppress(OSError):  # a client that is gone; the server is to come to its end all the same
                self._to_client.write(data)
                await self._to_client.drain()

    def _observe(self, message: wire.Message) -> bool:
        session = self._session
        if message.kind == wire.READY:
            session.transaction = message.body.decode("ascii", "replace")
            return True
        if message.kind == wire.COMPLETE:
            session.tag = wire.text(message.body)
        elif message.kind == wire.ERROR:
            session.error = wire.fields(message.body)
        elif message.kind == wire.KEY:
            session.pid = int.from_bytes(message.body[:4], "big")
        else:
            self._copy = True
            self._open.set()
        return False

    def _become_ready(self) -> None:
        self._request, self._copy = b"", False
        self._open.set()
        if self._session.phase in (Phase.STARTING, Phase.RUNNING):
            self._session.become(Phase.IDLE)

    async def _upward(self) -> None:
        gone = asyncio.create_task(self._client.gone.wait())
        requests = asyncio.create_task(self._requests())
        try:
            await asyncio.wait((gone, requests), return_when=asyncio.FIRST_COMPLETED)
            if self._session.phase is not Phase.HELD:
                await asyncio.wait((requests,))  # what was sent before the end is still to be passed on
        finally:
            gone.cancel()
            requests.cancel()
        error = requests.exception() if requests.done() else None
        if isinstance(error, wire.ProtocolError):
            _refuse(self._to_client, f"race gate: {error}")
        elif error is not None and not isinstance(error, (asyncio.IncompleteReadError, OSError)):
            raise error
        if self._session.phase is not Phase.RUNNING:
            self._session.become(Phase.CLOSING)
        with suppress(OSError):
            self._to_server.write_eof()

    async def _requests(self) -> None:
        while True:
            kind, size = wire.header(await self._client.readexactly(5), wire.CLIENT)
            if kind != wire.TERMINATE:
                await self._open.wait()
            head = await self._client.readexactly(min(size, wire.HEAD))
            await self._admit(kind, head)
            self._to_server.write(kind + (size + 4).to_bytes(4, "big") + head)
            await _pass_on(self._client, self._to_server, size - len(head))
            self._close_after(kind)
            if kind == wire.TERMINATE:
                return

    async def _admit(self, kind: bytes, head: bytes) -> None:
        """Return when a message may go to the server: at once, unless a request begins with it."""
        passing = (wire.TERMINATE, wire.PASSWORD, wire.COPY_DATA, wire.COPY_DONE, wire.COPY_FAIL)
        if kind in passing or self._session.phase is Phase.STARTING or self._copy:
            return
        sql = self._statements.label(kind, head)
        if not self._request:
            self._request = kind
            if kind not in (wire.SYNC, wire.FLUSH):
                await self._session.hold(sql)
        elif kind == wire.QUERY:  # a batch without Sync; what it prepared is over
            self._request = kind
            await self._session.hold(sql)
        elif kind in (wire.PARSE, wire.BIND) and not self._session.choice and not wire.is_trivial(sql):
            await self._session.hold(sql)

    def _close_after(self, kind: bytes) -> None:
        """Let no more pass after the last message of a request."""
        if self._copy:
            if kind in (wire.COPY_DONE, wire.COPY_FAIL):
                self._copy = False
                if self._request in (wire.QUERY, wire.CALL):
                    self._open.clear()
        elif self._request and kind in (wire.QUERY, wire.CALL, wire.SYNC):
            self._open.clear()


async def _first_packet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Return the packet that opens or cancels, with its length; encryption is declined."""
    while True:
        four = await reader.readexactly(4)
        rest = await reader.readexactly(wire.startup_length(four))
        if int.from_bytes(rest[:4], "big") not in (wire.SSL_REQUEST, wire.GSS_REQUEST):
            return four + rest
        writer.write(b"N")


async def _first(both: tuple[Coroutine[object, object, object], Coroutine[object, object, object]]) -> None:
    """Return when one of them has."""
    tasks = [asyncio.ensure_future(one) for one in both]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, left: int) -> None:
    while left:
        piece = await source.read(min(left, PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(b"", left)
        target.write(piece)
        left -= len(piece)
        await target.drain()


async def _read(source: asyncio.StreamReader) -> bytes:
    try:
        return await source.read(PIECE)
    except OSError:
        return b""


def _refuse(writer: asyncio.StreamWriter, message: str) -> None:
    with suppress(OSError):
        writer.write(wire.fatal(message))
