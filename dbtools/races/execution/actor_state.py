"""One actor during a run: its program, its sessions, and whether it is settled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dbtools.races.execution.polling import Polling
from dbtools.races.execution.session import Phase, Session
from dbtools.races.trace import Event, EventKind, Step

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dbtools.races.execution.actor_process import Program
    from dbtools.races.execution.proxy import Proxy

QUIET_S = 0.002
"""How long a program with several connections must not have run to count as asleep."""
LISTEN_S = 0.03
"""How long a program that may be notified must have slept since anybody's last answer to wait for the others."""
MAX_SAMPLE_S = 0.05
"""No more of the time between two looks at a program counts as sleep."""
GRACE_S = 0.1
"""How long the news of a program's end, or an answer on its way to a program, may take to arrive."""


class ActorState:
    """One actor during a run."""

    def __init__(self, number: int, program: Program, proxy: Proxy) -> None:
        self.number = number
        self.name = proxy.actor
        self.program = program
        self.over = False
        """Its program and all its sessions have ended."""
        self._ended = False
        """The end of its program was seen."""
        self.steps: dict[Session, Step] = {}
        """The steps that have not ended, by their sessions."""
        self.events: list[Event] = []
        """What happened since the last choice."""
        self.polling = Polling(program)
        self.rivals = False
        """Whether others could have gone on when its last choice went to the server."""
        self.timed_out = False
        """Its last request ended by a time limit while it waited, although others could go on."""
        self.slept = 0.0
        """The longest that it has slept by itself with no request under way, in seconds."""
        self._asleep = 0.0
        """For how long it has slept since its last request or answer, in seconds, naps added up."""
        self._naps = False
        """All its running requests are in pg_sleep."""
        self._looked_at = time.monotonic()
        self._proxy = proxy
        self._active_at = time.monotonic()
        self._ran_before_answer = 0
        self._last_ran = (0, 0.0)
        """For how long the program had run when that last changed, and when that was."""

    @property
    def sessions(self) -> list[Session]:
        """All its sessions, including those that have ended."""
        return self._proxy.sessions

    @property
    def open_sessions(self) -> list[Session]:
        """The sessions that have not ended."""
        return [session for session in self.sessions if session.phase is not Phase.CLOSED]

    def in_phase(self, *phases: Phase) -> list[Session]:
        """Return its sessions that are in one of these phases."""
        return [session for session in self.sessions if session.phase in phases]

    def record(self, kind: EventKind, step: int = 0, on: tuple[str, ...] = (), lock: str = "") -> None:
        """Record an event."""
        self.events.append(Event(kind, self.name, step, on, lock))
        self._active_at = time.monotonic()

    def expect_request(self) -> None:
        """Take notice of a request, which is held now."""
        self.rouse()
        self.polling.expect_answer()

    def correct_wait(self, step: int, on: tuple[str, ...], lock: str, *, known: bool) -> bool:
        """Record a wait that is over, unless it is `known` from before the last choice; return whether it is new.

        Where it was seen since the last choice, that event is replaced.
        """
        wait = Event(EventKind.BLOCKED, self.name, step, on, lock)
        seen = [event for event in self.events if event.step == step]
        for event in seen:
            if event.kind is EventKind.BLOCKED:
                self.events[self.events.index(event)] = wait
        if not seen and not known:
            self.events.append(wait)
            return True
        return False

    @property
    def listens(self) -> bool:
        """Whether it waits for nothing but a notification, as far as can be seen."""
        return any(session.listening and session.transaction == "I" for session in self.in_phase(Phase.IDLE))

    @property
    def dozes(self) -> bool:
        """Whether it sleeps, in the program or in pg_sleep, for a reason that only the program knows."""
        busy = self.in_phase(Phase.CONNECTING, Phase.HELD, Phase.RUNNING)
        return self._naps or not (self.over or self.listens or busy)

    @property
    def left_behind(self) -> bool:
        """Whether its program has ended, and what is left of it, such as a daemon, asks for nothing."""
        return self.program.code is not None and not self.in_phase(Phase.CONNECTING, Phase.HELD, Phase.RUNNING)

    @property
    def starved(self) -> bool:
        """Whether it has ended because it gave up waiting for those that could have gone on."""
        lapsed = any(session.lapsed for session in self.sessions)
        return self.over and (lapsed or self.timed_out or (self.rivals and self.polling.gave_up()))

    def rouse(self) -> None:
        """Begin to count its sleep again: something has happened to it."""
        if not self.listens:
            self.slept = max(self.slept, self._asleep)
        self._asleep = 0.0
        self._looked_at = time.monotonic()

    def expect_answer(self) -> None:
        """Remember how long the program has run, just before an answer is passed on to it."""
        self.rouse()
        self.polling.expect_request()
        if len(self.open_sessions) > 1:
            self._ran_before_answer = self.program.ran()

    def unsettled(self, blocked: Collection[Session], asleep: Collection[Session], patience: float) -> Iterator[str]:
        """Yield what it is still doing, in words; nothing once it is settled."""
        if self.over:
            return
        running = [session for session in self.in_phase(Phase.RUNNING) if session not in blocked]
        self._naps = bool(running) and all(session in asleep for session in running)
        if self._naps and self._sleeps_for(patience):
            return
        for session in running:
            yield f"{session.name} runs: {session.sql}"
        for session in self.in_phase(Phase.STARTING, Phase.CLOSING):
            yield f"{session.name} is {session.phase}"
        if running:
            return
        if self.program.is_over() and not self._ended:
            self._ended, self._active_at = True, time.monotonic()
        quiet = time.monotonic() - self._active_at
        if self._ended:
            # A held request may be a child process's, or on a connection whose end has not been reported yet.
            waits = quiet < (GRACE_S if self.in_phase(Phase.HELD, Phase.RUNNING) else max(GRACE_S, patience))
            if self.open_sessions and waits:
                yield f"{self.name} has ended; its connections have not"
            elif not self.open_sessions:
                self.over = True
                self.rouse()
                self.record(EventKind.FINISHED)
        elif not self.program.is_asleep():
            self._active_at = self._looked_at = time.monotonic()
            yield f"{self.name} is computing"
        elif self._is_reading(quiet):
            yield f"{self.name} has an answer to read"
        elif self.in_phase(Phase.CONNECTING, Phase.HELD, Phase.RUNNING):
            return
        elif not self._sleeps_for(LISTEN_S if self.listens else patience):
            yield f"{self.name} is asleep"

    def _sleeps_for(self, seconds: float) -> bool:
        """Count the time since the last look as sleep; return whether it is enough.

        It may wake up now and then: a look at which it does not sleep counts nothing, but takes nothing away.
        """
        now = time.monotonic()
        self._asleep += min(now - self._looked_at, MAX_SAMPLE_S)
        self._looked_at = now
        return self._asleep >= seconds

    def _is_reading(self, quiet: float) -> bool:
        """Return whether a program with several connections may still be working on an answer that has reached it.

        A sleeping program may not have woken up yet, or may be pausing briefly. It counts as asleep only if it has run
        since the answer arrived and has then been idle for `QUIET_S`. With one connection there is no doubt: its next
        request is there, or it is not.
        """
        answered = any(event.kind is EventKind.ENDED for event in self.events)
        if len(self.open_sessions) < 2 or quiet > GRACE_S or not answered:
            return False
        now, ran = time.monotonic(), self.program.ran()
        if ran != self._last_ran[0]:
            self._last_ran = (ran, now)
        return ran == self._ran_before_answer or now - self._last_ran[1] < QUIET_S
