"""One run of a schedule: wait until every actor is settled, choose one, let its request through, record what happens.

An actor is *settled* in one of three cases: it has a request that the proxy holds or that is blocked in the server, and
is asleep itself; it has ended; or it has slept for `Limits.patience` with no request under way, and counts as away.
Whether a request is blocked is for pg_blocking_pids to say, never for a clock. Blocked sessions are asked about again
only when nothing else runs. Asked while a commit is under way, the same schedule could go on in two ways.

Deadlocks: the server looks for one `deadlock_timeout` after a wait began, and ends the session whose timer finds it.
The servers of the lab have 10 ms there, and after every new wait the scheduler pauses for twice that. So each earlier
timer has fired in vain, and the statement that closes the circle is the one that fails. The server may end it before
the scheduler has seen its wait: see `wait_tracker`.

After CHESS (Musuvathi et al., OSDI 2008), with the server's sessions in the place of threads, and its lock manager in
the place of the lock operations that CHESS intercepts.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from dbtools.db.deadlock import DEADLOCK
from dbtools.races.execution import wire
from dbtools.races.execution.actor_state import ActorState
from dbtools.races.execution.failures import hang
from dbtools.races.execution.session import Phase, Session
from dbtools.races.execution.turns import Turns
from dbtools.races.execution.wait_tracker import WaitTracker
from dbtools.races.trace import End, Event, EventKind, Step, Trace

if TYPE_CHECKING:
    from dbtools.db.lock_probe import Probe
    from dbtools.races.execution.actor_process import Program
    from dbtools.races.execution.observer import Observer
    from dbtools.races.execution.proxy import Proxy
    from dbtools.races.scenario import Limits
    from dbtools.races.schedule import Strategy

TIMEOUTS, INTERRUPTED = ("55P03", "57014"), "ProcessInterrupts"
"""How the server ends a request that takes longer than lock_timeout, statement_timeout or its program allow.

The last is the name of its routine. Where NOWAIT finds a lock taken, the code is the same, but the routine another one.
"""
LONG_S = 0.05
"""How long to wait before the server is asked which sessions sleep."""
POLL_S = 0.001
"""How long to wait for news from the proxies before the server is asked which sessions are blocked."""


class Scheduler:
    """Runs the actors, and decides whose request goes to the server next."""

    def __init__(
        self,
        probe: Probe,
        limits: Limits,
        *,
        deadline: float = float("inf"),
        patience: float = 0.0,
        serial: bool = False,
        observer: Observer | None = None,
    ) -> None:
        self._observer = observer
        self.trace = Trace(())
        self._actors: list[ActorState] = []
        self._waits = WaitTracker(probe, self._actors)
        self._changed = asyncio.Event()
        self.cut = False
        """The time was up before the run had ended."""
        self._limits = limits
        self._deadline = deadline
        # One after the other, a program is waited for as long as it may come back by itself.
        self._patience = max(patience, limits.patience, min(limits.hang, limits.step / 2) if serial else 0.0)
        self.turns = Turns(self._actors, self.trace, limits.hang, limits.patience, serial=serial)
        self._ended_before: dict[Session, int] = {}
        """How many requests of the session had ended when its last step was released."""

    def add(self, program: Program, proxy: Proxy) -> None:
        """Add an actor."""
        self._actors.append(ActorState(len(self._actors), program, proxy))
        self.trace.actors = (*self.trace.actors, proxy.actor)

    @property
    def openings(self) -> list[bytes]:
        """The first packet of every session: its user, its database and its settings."""
        return [session.opening for actor in self._actors for session in actor.sessions]

    @property
    def slept(self) -> float:
        """The longest that a program has slept by itself, in seconds."""
        return max((actor.slept for actor in self._actors), default=0.0)

    def session_changed(self, session: Session) -> None:
        """Take notice of a change in a session. The proxy calls this before it passes an answer on to the program."""
        self._changed.set()
        if session.phase is Phase.IDLE:
            self._actor_of(session).expect_answer()
        elif session.phase is Phase.HELD:
            self._actor_of(session).expect_request()

    async def run(self, choose: Strategy) -> Trace:
        """Run the actors until all have ended or none can make progress, and return the trace.

        `choose` returns one of the enabled actors.
        """
        while True:
            await self._wait_until_settled()
            if self._admit_connections():
                continue
            held = [session for actor in self._actors for session in actor.in_phase(Phase.HELD)]
            self._flush_events()
            if self.trace.stalled or not held:
                break
            if self.turns.are_in_vain():
                self.trace.failures.append(hang(self._actors, self._waits.blocked))
                break
            if len(self.trace.steps) >= self._limits.steps:
                self.trace.stalled = f"It was ended after {self._limits.steps:,} steps."
                break
            # One at a time, so that traces are equal.
            self._release(self.turns.trivial() or self.turns.choose(choose))
        self._observe()
        for actor in self._actors:
            code = actor.program.code if actor.program.is_over() else None
            self.trace.ends.append(End(actor.program.actor.name, code, actor.program.output()))
            if actor.starved:
                self.trace.starved = f"{actor.name} gave up waiting although another one could have gone on."
        return self.trace

    def _admit_connections(self) -> bool:
        """Let the oldest new connection of each actor in line through; return whether there was one."""
        actors = [] if self.trace.stalled else self.turns.in_line()
        first = [actor.in_phase(Phase.CONNECTING)[:1] for actor in actors]
        for session in [session for sessions in first for session in sessions]:
            session.admit()
        return any(first)

    def _release(self, session: Session) -> None:
        actor = self._actor_of(session)
        self._observe(session if session.choice else None)
        if session.choice:
            self.turns.take(actor, session)
            actor.rivals = self._can_another_go_on(actor)
        step = Step(len(self.trace.steps) + 1, session.actor, session.name, session.sql, session.choice)
        self.trace.steps.append(step)
        self.trace.events.append(Event(EventKind.RELEASED, session.actor, step.number))
        actor.steps[session] = step
        self._ended_before[session] = session.ended
        session.release()

    def _observe(self, following: Session | None = None) -> None:
        if self._observer is not None:
            sessions = [session for actor in self._actors for session in actor.sessions]
            self._observer.observe(self.trace, sessions, following)

    async def _wait_until_settled(self) -> None:
        """Return when every actor is settled, or the run has stalled or hangs."""
        began = time.monotonic()
        while True:
            self._record_ends()
            unsettled = self._unsettled()
            seconds = time.monotonic() - began
            if time.monotonic() > self._deadline:
                self.cut, self.trace.stalled = True, "The time was up."
                return
            if not (unsettled or self._waits.deadlock_check_pending or self._waits.may_end()):
                if self._is_over() or self._can_make_progress():
                    return
                if seconds > self._limits.hang:
                    self.trace.failures.append(hang(self._actors, self._waits.blocked))
                    return
            elif seconds > self._limits.step:
                self.trace.stalled = self._why_unsettled()
                return
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), POLL_S)
            except TimeoutError:
                self._waits.find_new()
                if seconds > LONG_S:
                    self._waits.find_asleep()

    def _record_ends(self) -> None:
        ended = [
            (actor, session)
            for actor in self._actors
            for session in actor.steps
            if session.ended > self._ended_before[session]
        ]
        deadlocks = {
            session: self._waits.record_deadlock(session.error.get("D", ""))
            for _, session in ended
            if session.error.get("C") == DEADLOCK
        }
        for actor, session in ended:
            self._waits.end(session)
            step = actor.steps.pop(session)
            session.record(step)
            step.detail = deadlocks.get(session, step.detail)
            actor.record(EventKind.ENDED, step.number)
            if step.choice:
                actor.polling.answered(session, step)
            if step.choice and not wire.is_end(step.sql):
                timed_out = step.sqlstate in TIMEOUTS and session.error.get("R") == INTERRUPTED
                actor.timed_out = timed_out and self._can_another_go_on(actor)
            for other in self._actors:
                if other.listens:
                    other.rouse()

    def _can_another_go_on(self, actor: ActorState) -> bool:
        blocked = {session.actor for session in self._waits.blocked}
        return any(other is not actor and not other.over and other.name not in blocked for other in self._actors)

    def _actor_of(self, session: Session) -> ActorState:
        return next(actor for actor in self._actors if actor.name == session.actor)

    def _is_over(self) -> bool:
        return all(actor.over or actor.left_behind for actor in self._actors)

    def _can_make_progress(self) -> bool:
        return any(actor.in_phase(Phase.CONNECTING, Phase.HELD) for actor in self._actors)

    def _unsettled(self) -> list[str]:
        """Return what is not settled, in words: all of it, or enough to know that something is not."""
        found: list[str] = []
        for actor in self._latest_first():
            # An actor without a request is always looked at, because it may begin to compute at any time.
            if not found or not actor.in_phase(Phase.CONNECTING, Phase.HELD, Phase.RUNNING):
                found += actor.unsettled(self._waits.blocked, self._waits.asleep, self._patience)
        return found

    def _latest_first(self) -> list[ActorState]:
        latest = self.trace.steps[-1].actor if self.trace.steps else ""
        return sorted(self._actors, key=lambda actor: actor.name != latest)

    def _why_unsettled(self) -> str:
        outsiders = self._waits.outsiders()
        outside = f" Blocked from outside, by {outsiders}." if outsiders else ""
        return f"After {self._limits.step:g} s: {'; '.join(self._unsettled())}.{outside}"

    def _flush_events(self) -> None:
        """Append the events since the last choice to the trace.

        They are grouped by actor, with the last choice's first: which of two actors was quicker is chance.
        """
        for actor in self._latest_first():
            self.trace.events.extend(actor.events)
            actor.events.clear()
