"""One actor in a run: its program, its connections, and whether it is settled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dbtools.races.execution.proxy import Phase, Proxy, Session
from dbtools.races.trace import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dbtools.races.execution.actor_process import Program

QUIET = 0.002
"""Seconds for which a program with several connections must not have run to count as asleep."""
GRACE = 0.1
"""Seconds that news of a program's end, and news for a program, may take to arrive."""


class ActorState:
    """One actor in a run."""

    def __init__(self, number: int, program: Program, proxy: Proxy) -> None:
        self.number = number
        self.name = proxy.actor
        self.program = program
        self.over = False
        """Its program and all its connections have ended."""
        self.events: list[Event] = []
        """What happened since the last choice."""
        self._proxy = proxy
        self._since = time.monotonic()
        self._ran = 0
        self._looked = (0, 0.0)

    @property
    def sessions(self) -> list[Session]:
        """All its connections, also those that have ended."""
        return self._proxy.sessions

    @property
    def live(self) -> list[Session]:
        """Its connections."""
        return [one for one in self._proxy.sessions if one.phase is not Phase.CLOSED]

    def in_phase(self, *phases: Phase) -> list[Session]:
        """Return its connections that are in one of these phases."""
        return [one for one in self._proxy.sessions if one.phase in phases]

    def note(self, kind: EventKind, step: int = 0, on: tuple[str, ...] = (), lock: str = "") -> None:
        """Write an event down."""
        self.events.append(Event(kind, self.name, step, on, lock))
        self._since = time.monotonic()

    def about_to_hear(self) -> None:
        """Take note of how long the program has run before an answer is passed on to it."""
        if len(self.live) > 1:
            self._ran = self.program.ran()

    def busy(self, blocked: Collection[Session], patience: float) -> Iterator[str]:
        """Yield what it still does, in words; nothing when it is settled."""
        if self.over:
            return
        running = [one for one in self.in_phase(Phase.RUNNING) if one not in blocked]
        for session in running:
            yield f"{session.name} runs: {session.sql}"
        for session in self.in_phase(Phase.STARTING, Phase.CLOSING):
            yield f"{session.name} is {session.phase}"
        if running:
            return
        quiet = time.monotonic() - self._since
        if self.program.is_over():
            # A request at the gate may be that of a child process, or of a connection whose end was not heard of yet.
            if self.live and (not self.in_phase(Phase.HELD, Phase.RUNNING) or quiet < GRACE):
                yield f"{self.name} has ended; its connections have not"
            elif not self.live:
                self.over = True
                self.note(EventKind.FINISHED)
        elif not self.program.is_asleep():
            self._since = time.monotonic()
            yield f"{self.name} computes"
        elif self._is_reading(quiet):
            yield f"{self.name} has an answer to read"
        elif not self.in_phase(Phase.CONNECTING, Phase.HELD, Phase.RUNNING) and quiet < patience:
            yield f"{self.name} sleeps"

    def _is_reading(self, quiet: float) -> bool:
        """Return whether a program with several connections may still be at work on an answer that has reached it.

        It sleeps, but may not have woken up yet, or sleep for a moment in between: it must have run since, and then not
        have run for `QUIET`. With one connection there is nothing to mistake: its next request is there, or is not.
        """
        if len(self.live) < 2 or quiet > GRACE or all(one.kind is not EventKind.ENDED for one in self.events):
            return False
        now, ran = time.monotonic(), self.program.ran()
        if ran != self._looked[0]:
            self._looked = (ran, now)
        return ran == self._ran or now - self._looked[1] < QUIET
