"""The way of one connection's messages through the proxy: which pass at once, and which are held.

A request is held at its first message, because some drivers send Parse and Flush and wait for the answer before they
send the rest. It is over at ReadyForQuery: by then the server has committed what there was to commit.

What a client sends before that waits in its socket. Of several statements before one Sync, each is held: see
`pipeline`. What the server skips after an error passes.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from dbtools.races.execution import wire
from dbtools.races.execution.guard import Guard
from dbtools.races.execution.pipeline import Pipeline
from dbtools.races.execution.session import Phase, Session
from dbtools.races.execution.streams import Reader, pass_on, read_piece, refuse

LAPSES = ("25P03", "25P04", "57P05")
"""How the server ends a session that is idle for too long, in a transaction or not, or whose transaction takes long."""


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
        self._guard = Guard(session, server, to_server)
        self._pipeline = Pipeline(session, to_server)

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
        while data := await read_piece(self._server):
            ready = False
            if self._guard.waits:
                await self._guard.read(data)
                continue
            self._session.add_answer(data)
            for message in scanner.feed(data):
                ready = self._observe(message) or ready
            # The end of the request must be recorded before the client sees the answer.
            if ready:
                if self._guard.held and self._session.transaction == "I":
                    await self._guard.release()
                self._become_ready()
            with suppress(OSError):  # the client is gone, but the server's end is still to be seen
                self._to_client.write(data)
                await self._to_client.drain()

    def _observe(self, message: wire.Message) -> bool:
        session = self._session
        if message.kind == wire.READY:
            session.ready(message.body.decode("ascii", "replace"))
            return True
        if message.kind == wire.KEY:
            session.pid = int.from_bytes(message.body[:4], "big")
        elif message.kind == wire.NOTIFICATION:
            session.notified()
        elif message.kind == wire.ERROR:
            session.error = wire.fields(message.body)
            session.lapsed = session.lapsed or (session.phase is Phase.HELD and session.error.get("C") in LAPSES)
            if self._request:
                self._pipeline.fail()
        elif message.kind in (wire.COPY_IN, wire.COPY_BOTH):
            self._copy = True
            self._pipeline.let_pass()
        else:
            if message.kind == wire.COMPLETE:
                session.tag = wire.text(message.body)
                session.commands += 1
                self._copy = False
            self._pipeline.answered()
        return False

    def _become_ready(self) -> None:
        self._request, self._copy = b"", False
        self._pipeline.reset()
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
                await self._pipeline.open.wait()
            head = await self._client.readexactly(min(size, wire.MAX_HEAD_BYTES))
            await self._hold_request(kind, head)
            if self._session.cancelled:
                await self._cancel(kind, size - len(head))
                continue
            if not await self._take_guard(kind):
                await self._skip(kind, size - len(head))
                continue
            self._to_server.write(kind + (size + 4).to_bytes(4, "big") + head)
            await pass_on(self._client, self._to_server, size - len(head))
            self._note(kind)
            if kind == wire.TERMINATE:
                return

    async def _cancel(self, kind: bytes, left: int) -> None:
        """Let the server answer to a request as if it had been cancelled, and drop what the client sends for it."""
        self._session.cancelled = False
        self._pipeline.open.clear()
        self._to_server.write(wire.CANCELLED)
        await self._skip(kind, left)

    async def _skip(self, kind: bytes, left: int) -> None:
        """Drop the rest of what the client sends for a request."""
        await self._client.readexactly(left)
        while kind not in (wire.QUERY, wire.CALL, wire.SYNC):
            kind, size = wire.header(await self._client.readexactly(5), wire.CLIENT)
            await self._client.readexactly(size)

    async def _take_guard(self, kind: bytes) -> bool:
        """Take the lock that guards the transaction that a request begins, if it is to be guarded.

        Where the lock cannot be had, because waiting for it would be a deadlock, the client gets that error.
        """
        session = self._session
        if self._guard.held or kind == wire.TERMINATE or session.phase is not Phase.RUNNING or not session.takes_guard:
            return True
        refusal = await self._guard.take()
        if refusal:
            with suppress(OSError):
                self._to_client.write(refusal)
            self._become_ready()
        return not refusal

    async def _hold_request(self, kind: bytes, head: bytes) -> None:
        """Return once a message may go to the server: at once, unless a request or a statement begins with it."""
        passing = (wire.TERMINATE, wire.PASSWORD, wire.COPY_DATA, wire.COPY_DONE, wire.COPY_FAIL)
        if kind in passing or self._session.phase is Phase.STARTING or self._copy:
            return
        sql = self._statements.label(kind, head)
        await self._pipeline.finish_before(kind, sql)
        if kind == wire.FLUSH or self._pipeline.failed or self._copy:
            return
        if not self._request:
            self._request = kind
            if kind != wire.SYNC:
                await self._pipeline.hold(sql)
        elif self._pipeline.begins(kind, sql):
            self._request = kind if kind in (wire.QUERY, wire.CALL) else self._request
            await self._pipeline.hold(sql)

    def _note(self, kind: bytes) -> None:
        """Take notice of a message that has passed; let nothing pass after the last one of a request."""
        if self._copy:
            if kind in (wire.COPY_DONE, wire.COPY_FAIL):
                self._copy = False
                if self._request in (wire.QUERY, wire.CALL):
                    self._pipeline.open.clear()
        elif kind == wire.SYNC or (kind in (wire.QUERY, wire.CALL) and not self._pipeline.failed):
            self._pipeline.open.clear()
        else:
            self._pipeline.sent(kind)
