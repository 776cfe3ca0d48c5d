"""Whose turn it is: the scheduling points of a run, the choices made there, and who has yielded.

What is no choice goes first, in the actors' order. One after the other, it waits for its actor's turn as well: a BEGIN
fixes now(), and a program reads its own clock once it is connected, so neither may come before the work of those that
go first.

An actor that polls has yielded once it has asked and nobody else has got on since (see `polling`). Where all that could
go on have yielded, they ask in turn; if that goes on for `Limits.hang`, nobody can make progress.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dbtools.races.execution.session import Phase, Session
from dbtools.races.schedule import SchedulingPoint
from dbtools.races.trace import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtools.races.execution.actor_state import ActorState
    from dbtools.races.schedule import Strategy
    from dbtools.races.trace import Trace


class Turns:
    """The choices of one run. `patience`: for how many seconds a program must have polled to yield, if they go
    one after the other (`serial`).
    """

    def __init__(
        self, actors: Sequence[ActorState], trace: Trace, hang: float, patience: float, *, serial: bool
    ) -> None:
        self.choices: list[tuple[SchedulingPoint, int]] = []
        """The scheduling points so far, each with the actor that was chosen."""
        self.overtaken = False
        """Somebody went on while another one slept that had begun."""
        self._actors = actors
        self._trace = trace
        self._hang = hang
        self._patience = patience if serial else 0.0
        self._serial = serial
        self._current: int | None = None
        self._progress = 0
        """How many choices were no polls."""
        self._progressed_at = time.monotonic()

    def in_line(self) -> Sequence[ActorState]:
        """Return the actors that may do what is no choice: all, or one after the other the first that can go on."""
        if not self._serial:
            return self._actors
        yielded = self._yielded()
        ready = (actor for actor in self._actors if actor.in_phase(Phase.CONNECTING, Phase.HELD))
        return [actor for actor in ready if actor.number not in yielded][:1] or self._actors

    def trivial(self) -> Session | None:
        """Return the request that goes next without a choice, if there is one."""
        held = (session for actor in self.in_line() for session in actor.in_phase(Phase.HELD))
        return next((session for session in held if not session.choice), None)

    def choose(self, strategy: Strategy) -> Session:
        """Return the session whose request goes to the server next."""
        enabled, yielded = self._enabled(), self._yielded()
        if yielded == enabled:  # they ask in turn, which is no choice
            after = -1 if self._current is None else self._current
            enabled, yielded = [next((number for number in yielded if number > after), yielded[0])], []
        requests = tuple(self._actors[number].in_phase(Phase.HELD)[0].sql for number in enabled)
        point = SchedulingPoint(len(self.choices), tuple(enabled), self._current, tuple(yielded), requests)
        number = strategy(point)
        assert number in enabled
        self.choices.append((point, number))
        if number != self._current is not None:
            left = self._actors[self._current]
            if left.number in yielded or not (left.over or left.in_phase(Phase.HELD, Phase.RUNNING)):
                self._trace.events.append(Event(EventKind.YIELDED, left.name))
        self._current = number
        self.overtaken = self.overtaken or any(actor.dozes for actor in self._actors if actor.polling.begun)
        return self._actors[number].in_phase(Phase.HELD)[0]

    def take(self, actor: ActorState, session: Session) -> None:
        """Take notice that a choice goes to the server."""
        if not actor.polling.polls(session):
            self._progress += 1
            self._progressed_at = time.monotonic()
        actor.polling.asked(session, self._progress)

    def are_in_vain(self) -> bool:
        """Return whether for too long nobody has done anything but poll."""
        return time.monotonic() >= self._progressed_at + self._hang and self._yielded() == self._enabled()

    def _enabled(self) -> list[int]:
        return [actor.number for actor in self._actors if actor.in_phase(Phase.HELD)]

    def _yielded(self) -> list[int]:
        """Return the actors with a held request that poll, and have asked since anybody else got on."""
        return [
            actor.number
            for actor in self._actors
            for session in actor.in_phase(Phase.HELD)[:1]
            if actor.polling.has_yielded(session, self._progress, self._patience)
        ]
