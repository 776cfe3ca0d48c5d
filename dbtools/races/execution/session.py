"""One connection of an actor, as the proxy sees it: where it stands, its request, and what the server answered."""

from __future__ import annotations

import asyncio
import re
import zlib
from enum import StrEnum
from typing import TYPE_CHECKING

from dbtools.races.execution import wire
from dbtools.races.pruning import may_change_isolation

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.races.trace import Step

_TIME = re.compile(rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[\d.:+-]*|\d{2,}:\d\d:\d\d\.\d+")


class Phase(StrEnum):
    """Where a session is."""

    CONNECTING = "connecting"
    """The proxy holds the connection itself: a program that opens several at once gets them one by one."""
    STARTING = "starting"
    """The server has not been ready for a query yet."""
    IDLE = "idle"
    """The server waits for the client."""
    HELD = "held"
    """The proxy holds a request."""
    RUNNING = "running"
    """The server works on a request."""
    CLOSING = "closing"
    """The client is gone, and the server is still cleaning up."""
    CLOSED = "closed"
    """The server has released everything the session held."""


class Session:
    """One connection of an actor."""

    def __init__(self, actor: str, name: str, changed: Callable[[Session], None], guard: int | None = None) -> None:
        self.actor = actor
        self.name = name
        self.phase = Phase.CONNECTING
        self.pid = 0
        """The process id of the backend."""
        self.sql = ""
        """The request that is held or running, else the last one."""
        self.choice = True
        """Whether it matters when that request runs: False for BEGIN, SET, and what a driver sends by itself."""
        self.guard = guard
        """The key of an advisory lock that it takes around each of its transactions; None for none."""
        self.takes_guard = False
        """Whether the lock is to be taken before the request that is held or running."""
        self.keeps_snapshot = False
        """Its transactions may be at a level at which one has the snapshot of its first request to its end."""
        self.opening = b""
        """The first packet of the connection: user, database and settings."""
        self.tag = ""
        self.commands = 0
        """How many statements of the last request the server has completed."""
        self.error: dict[str, str] = {}
        """The fields of the last request's error, by the letters that the protocol has for them."""
        self.answer = 0
        """A checksum of what the server has answered to it so far."""
        self.answered = 0
        """The same for the last request that has ended."""
        self.cancelled = False
        """A cancel request came for the held request."""
        self.lapsed = False
        """The server has ended it because its request was held for too long."""
        self.listening = False
        """It has sent LISTEN, so that the server may wake its program up."""
        self.transaction = "I"
        self.implicit = False
        """The open transaction was begun by a statement of a pipeline, and is over with Sync."""
        self.ended = 0
        """How many requests have ended."""
        self._changed = changed
        self._let_through = asyncio.Event()
        self._untouched = True
        """No request in the open transaction was a choice."""

    def admit(self) -> None:
        """Let the connection through."""
        assert self.phase is Phase.CONNECTING
        self.phase = Phase.STARTING
        self._let_through.set()

    async def wait_for_admission(self) -> None:
        """Return once the connection is let through."""
        self._changed(self)
        await self._let_through.wait()

    def release(self) -> None:
        """Let the held request go to the server."""
        assert self.phase is Phase.HELD
        self.tag, self.error, self.answer, self.commands = "", {}, 0, 0
        if command := wire.listens(self.sql):
            self.listening = command == "listen"
        self.phase = Phase.RUNNING
        self._let_through.set()

    async def hold(self, sql: str) -> None:
        """Hold a request, and return once it is released."""
        if self.phase is Phase.RUNNING:  # the request before it, which is in one batch with it
            self.ended += 1
        if self.transaction == "I":
            self._untouched = True
        ends_nothing = self._untouched and self.transaction == "T" and wire.is_end(sql)
        self.takes_guard = self._is_to_be_guarded(sql)
        self.keeps_snapshot = self.keeps_snapshot or may_change_isolation(sql)
        matters = self.takes_guard or self._takes_snapshot(sql)
        self.sql, self.choice = sql, not (wire.is_trivial(sql) or ends_nothing) or matters
        self._untouched = self._untouched and not self.choice
        self.phase = Phase.HELD
        self._let_through.clear()
        self._changed(self)
        await self._let_through.wait()

    def _is_to_be_guarded(self, sql: str) -> bool:
        """Return whether a request begins a transaction that is to be guarded; a single statement is one, too."""
        begins = wire.is_begin(sql) or not (wire.is_trivial(sql) or wire.is_end(sql))
        nothing_done = self.transaction == "I" or (self.implicit and self._untouched)
        return self.guard is not None and nothing_done and begins

    def _takes_snapshot(self, sql: str) -> bool:
        """Return whether a request that does nothing else decides what its transaction sees from now on."""
        return self.keeps_snapshot and self.transaction == "T" and self._untouched and wire.is_select(sql)

    def ready(self, transaction: str) -> None:
        """Take notice of the state in which the server waits for a request."""
        self.transaction, self.implicit = transaction, False

    def pause(self) -> None:
        """Take notice that a statement of a pipeline is over; the server does not tell in which state it is then.

        The next one goes on with the transaction, which was begun by this one if by none before.
        """
        begins = self.tag in ("BEGIN", "START TRANSACTION")
        if self.tag == "PREPARE TRANSACTION" or (self.tag in ("COMMIT", "ROLLBACK") and wire.is_end(self.sql)):
            self.ready("I")
        else:
            self.implicit = not begins and (self.implicit or self.transaction == "I")
            self.transaction = "T"
        self.enter(Phase.IDLE)

    def add_answer(self, data: bytes) -> None:
        """Take notice of a piece of the answer. Times do not count: who asks for the time is always told another."""
        self.answer = zlib.crc32(_TIME.sub(b"", data), self.answer)

    def record(self, step: Step) -> None:
        """Write into the step of the last request how it has ended."""
        step.tag, step.commands, step.transaction = self.tag, self.commands, self.transaction
        step.sqlstate, step.message = self.error.get("C", ""), self.error.get("M", "")
        step.detail = self.error.get("D", "")
        step.subject = self.error.get("n") or self.error.get("t", "")
        if self.phase is Phase.CLOSED and not step.sqlstate:
            step.sqlstate, step.message = "08006", "the connection was lost"

    def notified(self) -> None:
        """Take notice of a notification that is passed on to the program."""
        self._changed(self)

    def enter(self, phase: Phase) -> None:
        """Change the phase. A request that was running has ended by that."""
        if self.phase is Phase.RUNNING:
            self.ended += 1
            self.answered = self.answer
        if self.phase is not Phase.CLOSED:
            self.phase = phase
        self._changed(self)
