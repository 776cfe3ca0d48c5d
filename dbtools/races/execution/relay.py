"""The way of one connection's messages through the proxy: which pass at once, and which are held.

A request is held at its first message, because some drivers send Parse and Flush and wait for the answer before they
send the rest. Once it is released, everything passes until ReadyForQuery: by then the server has committed what there
was to commit. What a client sends before that waits in its socket, so the next request of a pipeline is another step.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from dbtools.races.execution import wire
from dbtools.races.execution.session import Phase, Session

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


class Relay:
    """Passes the messages of one connection on, in both directions."""

    def __init__(
        self,
        session: Session,
        client: Reader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._session = session
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._statements = wire.Statements()
        self._request = b""
        """The type of the open request's first message; b"" where no request is open."""
        self._copy = False
        """The server expects COPY data."""
        self._open = asyncio.Event()
        """The client's messages may pass: the last request has not been sent completely, or it has ended."""
        self._open.set()
        self._guarded = False
        """The session holds the lock that guards its transaction."""
        self._own: asyncio.Future[bytes] | None = None
        """What the server answers to a request of the relay's own, which the client does not see."""

    async def run(self) -> None:
        """Return once the server has ended the connection."""
        to_server = asyncio.create_task(self._relay_to_server())
        try:
            await self._relay_to_client()
        finally:
            to_server.cancel()
            with suppress(asyncio.CancelledError):
                await to_server

    async def _relay_to_client(self) -> None:
        scanner = wire.Scanner()
        while data := await _read(self._server):
            ready = False
            if self._own is not None:
                await self._read_own(data)
                continue
            self._session.add_answer(data)
            for message in scanner.feed(data):
                ready = self._observe(message) or ready
            # The end of the request must be recorded before the client sees the answer.
            if ready:
                if self._guarded and self._session.transaction == "I":
                    self._guarded = False
                    await self._release_guard()
                self._become_ready()
            with suppress(OSError):  # the client is gone, but the server's end is still to be seen
                self._to_client.write(data)
                await self._to_client.drain()

    def _observe(self, message: wire.Message) -> bool:
        session = self._session
        if message.kind == wire.READY:
            session.transaction = message.body.decode("ascii", "replace")
            return True
        if message.kind == wire.COMPLETE:
            session.tag = wire.text(message.body)
            session.commands += 1
        elif message.kind == wire.ERROR:
            session.error = wire.fields(message.body)
        elif message.kind == wire.KEY:
            session.pid = int.from_bytes(message.body[:4], "big")
        elif message.kind == wire.NOTIFICATION:
            session.notified()
        else:
            self._copy = True
            self._open.set()
        return False

    def _become_ready(self) -> None:
        self._request, self._copy = b"", False
        self._open.set()
        if self._session.phase in (Phase.STARTING, Phase.RUNNING):
            self._session.enter(Phase.IDLE)

    async def _relay_to_server(self) -> None:
        gone = asyncio.create_task(self._client.gone.wait())
        requests = asyncio.create_task(self._pass_requests())
        try:
            await asyncio.wait((gone, requests), return_when=asyncio.FIRST_COMPLETED)
            if self._session.phase is not Phase.HELD:
                await asyncio.wait((requests,))  # what the client sent before its end is still passed on
        finally:
            gone.cancel()
            requests.cancel()
        error = requests.exception() if requests.done() else None
        if isinstance(error, wire.ProtocolError):
            refuse(self._to_client, f"race proxy: {error}")
        elif error is not None and not isinstance(error, (asyncio.IncompleteReadError, OSError)):
            raise error
        if self._session.phase is not Phase.RUNNING:
            self._session.enter(Phase.CLOSING)
        with suppress(OSError):
            self._to_server.write_eof()

    async def _pass_requests(self) -> None:
        while True:
            kind, size = wire.header(await self._client.readexactly(5), wire.CLIENT)
            if kind != wire.TERMINATE:
                await self._open.wait()
            head = await self._client.readexactly(min(size, wire.MAX_HEAD_BYTES))
            await self._hold_request(kind, head)
            if self._session.cancelled:
                await self._cancel(kind, size - len(head))
                continue
            if not await self._take_guard(kind):
                await self._skip(kind, size - len(head))
                continue
            self._to_server.write(kind + (size + 4).to_bytes(4, "big") + head)
            await _pass_on(self._client, self._to_server, size - len(head))
            self._session.executions += kind == wire.EXECUTE
            self._close_after(kind)
            if kind == wire.TERMINATE:
                return

    async def _cancel(self, kind: bytes, left: int) -> None:
        """Let the server answer to a request as if it had been cancelled, and drop what the client sends for it."""
        self._session.cancelled = False
        self._to_server.write(wire.CANCELLED)
        await self._skip(kind, left)

    async def _skip(self, kind: bytes, left: int) -> None:
        """Drop the rest of what the client sends for a request."""
        await self._client.readexactly(left)
        self._open.clear()
        while kind not in (wire.QUERY, wire.CALL, wire.SYNC):
            kind, size = wire.header(await self._client.readexactly(5), wire.CLIENT)
            await self._client.readexactly(size)

    async def _take_guard(self, kind: bytes) -> bool:
        """Take the lock that guards the transaction that a request begins, if it is to be guarded.

        Where the lock cannot be had, because waiting for it would be a deadlock, the client gets that error.
        """
        session = self._session
        if self._guarded or kind == wire.TERMINATE or session.phase is not Phase.RUNNING:
            return True
        if not session.takes_guard(session.sql):
            return True
        self._own = asyncio.get_running_loop().create_future()
        self._to_server.write(wire.query(f"select pg_advisory_lock({session.guard})"))
        answer = await self._own
        self._own = None
        for message in wire.Scanner().feed(answer):
            if message.kind == wire.ERROR:
                session.error = wire.fields(message.body)
        self._guarded = not session.error
        if not self._guarded:
            with suppress(OSError):
                self._to_client.write(answer)
            self._become_ready()
        return self._guarded

    async def _read_own(self, data: bytes) -> None:
        """Read the answer to a request of the relay's own, which begins with `data`."""
        while not any(message.kind == wire.READY for message in wire.Scanner().feed(data)):
            more = await _read(self._server)
            if not more:
                break
            data += more
        if self._own is not None and not self._own.done():
            self._own.set_result(data)

    async def _release_guard(self) -> None:
        self._to_server.write(wire.query(f"select pg_advisory_unlock({self._session.guard})"))
        await self._read_own(b"")

    async def _hold_request(self, kind: bytes, head: bytes) -> None:
        """Return once a message may go to the server: at once, unless a request begins with it."""
        passing = (wire.TERMINATE, wire.PASSWORD, wire.COPY_DATA, wire.COPY_DONE, wire.COPY_FAIL)
        if kind in passing or self._session.phase is Phase.STARTING or self._copy:
            return
        sql = self._statements.label(kind, head)
        if not self._request:
            self._request = kind
            if kind not in (wire.SYNC, wire.FLUSH):
                await self._session.hold(sql)
        elif kind == wire.QUERY:  # after a batch without Sync, which it ends
            self._request = kind
            await self._session.hold(sql)
        elif kind in (wire.PARSE, wire.BIND) and not self._session.choice and not wire.is_trivial(sql):
            await self._session.hold(sql)

    def _close_after(self, kind: bytes) -> None:
        """Let nothing pass after the last message of a request."""
        if self._copy:
            if kind in (wire.COPY_DONE, wire.COPY_FAIL):
                self._copy = False
                if self._request in (wire.QUERY, wire.CALL):
                    self._open.clear()
        elif self._request and kind in (wire.QUERY, wire.CALL, wire.SYNC):
            self._open.clear()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, left: int) -> None:
    while left:
        piece = await source.read(min(left, PIECE_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(b"", left)
        target.write(piece)
        left -= len(piece)
        await target.drain()


async def _read(source: asyncio.StreamReader) -> bytes:
    try:
        return await source.read(PIECE_BYTES)
    except OSError:
        return b""


def refuse(writer: asyncio.StreamWriter, message: str) -> None:
    """Tell a client that the proxy cannot go on with it."""
    with suppress(OSError):
        writer.write(wire.fatal(message))
