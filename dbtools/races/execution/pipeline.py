"""The statements that a client sends before Sync: where one ends, and the next one begins.

Where a statement follows on another that was executed, the server is sent Flush, and the next one waits for the answer.
So each can be held by itself, and yet all are one transaction, which Sync commits. After an error the server skips all
until Sync. What the client itself ends with Flush is over with its answer too. Source: PostgreSQL's documentation,
"Extended Query" and "Pipelining".
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dbtools.races.execution import wire
from dbtools.races.execution.session import Phase

if TYPE_CHECKING:
    from dbtools.races.execution.session import Session

MAX_REPEATS = 10
"""So many times in a row a statement is held by itself; the rest of an `executemany` goes with the last of them."""
_BEGINNINGS = (wire.PARSE, wire.BIND, wire.EXECUTE, wire.QUERY, wire.CALL)
"""What a statement can begin with. A Describe or a Close does nothing that another session could notice."""


class Pipeline:
    """The open request of a session, which may be several statements."""

    def __init__(self, session: Session, to_server: asyncio.StreamWriter) -> None:
        self.failed = False
        """The server skips all until Sync."""
        self.open = asyncio.Event()
        """The client's messages may pass: nothing that was sent has to be answered first."""
        self.open.set()
        self._session = session
        self._to_server = to_server
        self._executed = False
        """The statement that was held last has been executed."""
        self._unanswered = 0
        """How many messages to execute a statement the server has not answered."""
        self._flushed = False
        """Nothing passes before these are answered."""
        self._repeats = 0
        """How many times in a row the same statement was held."""

    def reset(self) -> None:
        """Take notice that the request is over."""
        self.failed = self._executed = self._flushed = False
        self._unanswered = self._repeats = 0
        self.open.set()

    async def finish_before(self, kind: bytes, sql: str) -> None:
        """Return once the last statement is answered, if a message begins the next one."""
        many = sql == self._session.sql and self._repeats >= MAX_REPEATS
        if kind in _BEGINNINGS and self._executed and not many:
            self._finish()
            await self.open.wait()

    def begins(self, kind: bytes, sql: str) -> bool:
        """Return whether a message that is not the first of a request begins a statement that is to be held."""
        session = self._session
        if kind == wire.SYNC:
            return session.phase is Phase.IDLE and session.implicit
        if kind not in _BEGINNINGS:
            return False
        if session.phase is Phase.IDLE or kind in (wire.QUERY, wire.CALL):
            return True
        return not session.choice and not wire.is_trivial(sql)

    async def hold(self, sql: str) -> None:
        """Hold a statement, and return once it is released."""
        self._repeats = self._repeats + 1 if sql == self._session.sql else 1
        await self._session.hold(sql)

    def sent(self, kind: bytes) -> None:
        """Take notice of a message that has gone to the server."""
        if kind == wire.EXECUTE:
            self._executed = True
            self._unanswered += 1
        elif kind == wire.FLUSH and self._executed:
            self._finish()

    def answered(self) -> None:
        """Take notice that the server has executed a statement, or a part of its portal."""
        self._unanswered = max(0, self._unanswered - 1)
        if self._flushed and not self._unanswered:
            self._end_statement()

    def fail(self) -> None:
        """Take notice of an error. The statement is over with the request, when the server tells its state."""
        self.failed = True
        if self._flushed:
            self.let_pass()

    def let_pass(self) -> None:
        """Let messages pass, whatever is to be answered."""
        self._flushed = False
        self.open.set()

    def _finish(self) -> None:
        if self._unanswered and not self.failed:
            self._flushed = True
            self.open.clear()
            self._to_server.write(wire.FLUSH_NOW)
        elif not self.failed:
            self._end_statement()

    def _end_statement(self) -> None:
        self._executed = False
        self.let_pass()
        self._session.pause()
