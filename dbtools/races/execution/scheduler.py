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
from dbtools.races.execution.actor_state import ActorState
from dbtools.races.execution.session import Phase, Session
from dbtools.races.execution.wait_tracker import WaitTracker
from dbtools.races.schedule import SchedulingPoint
from dbtools.races.trace import End, Event, EventKind, Failure, Step, Trace

if TYPE_CHECKING:
    from dbtools.db.lock_probe import Probe
    from dbtools.races.execution.actor_process import Program
    from dbtools.races.execution.proxy import Proxy
    from dbtools.races.scenario import Limits
    from dbtools.races.schedule import Strategy

POLL_S = 0.001
"""How long to wait for news from the proxies before the server is asked which sessions are blocked."""


class Scheduler:
    """Runs the actors, and decides whose request goes to the server next."""

    def __init__(self, probe: Probe, limits: Limits) -> None:
        self.trace = Trace(())
        self.choices: list[tuple[SchedulingPoint, int]] = []
        """The scheduling points so far, each with the actor that was chosen."""
        self._actors: list[ActorState] = []
        self._waits = WaitTracker(probe, self._actors)
        self._changed = asyncio.Event()
        self._limits = limits
        self._ended_before: dict[Session, int] = {}
        """How many requests of the session had ended when its last step was released."""
        self._current: int | None = None

    def add(self, program: Program, proxy: Proxy) -> None:
        """Add an actor."""
        self._actors.append(ActorState(len(self._actors), program, proxy))
        self.trace.actors = (*self.trace.actors, proxy.actor)

    @property
    def openings(self) -> list[bytes]:
        """The first packet of every session: its user, its database and its settings."""
        return [session.opening for actor in self._actors for session in actor.sessions]

    def session_changed(self, session: Session) -> None:
        """Take notice of a change in a session. The proxy calls this before it passes an answer on to the program."""
        self._changed.set()
        if session.phase is Phase.IDLE:
            self._actor_of(session).expect_answer()

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
            if len(self.trace.steps) >= self._limits.steps:
                self.trace.stalled = f"It was ended after {self._limits.steps:,} steps."
                break
            # Requests that are no choice go first, one at a time and in the actors' order, so that traces are equal.
            trivial = [session for session in held if not session.choice]
            self._release(trivial[0] if trivial else self._choose(choose))
        for actor in self._actors:
            code = actor.program.code if actor.program.is_over() else None
            self.trace.ends.append(End(actor.program.actor.name, code, actor.program.output()))
        return self.trace

    def _admit_connections(self) -> bool:
        """Let the oldest new connection of each actor through; return whether there was one."""
        first = [] if self.trace.stalled else [actor.in_phase(Phase.CONNECTING)[:1] for actor in self._actors]
        for session in [session for sessions in first for session in sessions]:
            session.admit()
        return any(first)

    def _choose(self, choose: Strategy) -> Session:
        enabled = [actor.number for actor in self._actors if actor.in_phase(Phase.HELD)]
        point = SchedulingPoint(len(self.choices), tuple(enabled), self._current)
        number = choose(point)
        assert number in enabled
        self.choices.append((point, number))
        self._current = number
        return self._actors[number].in_phase(Phase.HELD)[0]

    def _release(self, session: Session) -> None:
        step = Step(len(self.trace.steps) + 1, session.actor, session.name, session.sql, session.choice)
        self.trace.steps.append(step)
        self.trace.events.append(Event(EventKind.RELEASED, session.actor, step.number))
        self._actor_of(session).steps[session] = step
        self._ended_before[session] = session.ended
        session.release()

    async def _wait_until_settled(self) -> None:
        """Return when every actor is settled, or the run has stalled or hangs."""
        began = time.monotonic()
        while True:
            self._record_ends()
            unsettled = self._unsettled()
            seconds = time.monotonic() - began
            if not (unsettled or self._waits.deadlock_check_pending or self._waits.may_end()):
                if self._is_over() or self._can_make_progress():
                    return
                if seconds > self._limits.hang:
                    self._record_hang()
                    return
            elif seconds > self._limits.step:
                self.trace.stalled = self._why_unsettled()
                return
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), POLL_S)
            except TimeoutError:
                self._waits.find_new()

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
            step.tag = session.tag
            step.transaction = session.transaction
            step.sqlstate = session.error.get("C", "")
            step.message = session.error.get("M", "")
            step.detail = deadlocks.get(session, session.error.get("D", ""))
            step.subject = session.error.get("n") or session.error.get("t", "")
            if session.phase is Phase.CLOSED and not step.sqlstate:
                step.sqlstate, step.message = "08006", "the connection was lost"
            actor.record(EventKind.ENDED, step.number)

    def _actor_of(self, session: Session) -> ActorState:
        return next(actor for actor in self._actors if actor.name == session.actor)

    def _is_over(self) -> bool:
        return all(actor.over for actor in self._actors)

    def _can_make_progress(self) -> bool:
        return any(actor.in_phase(Phase.CONNECTING, Phase.HELD) for actor in self._actors)

    def _record_hang(self) -> None:
        """Record a failure: every actor waits for a lock of another one, or sleeps with no request under way."""
        reasons = []
        for actor in [actor for actor in self._actors if not actor.over]:
            blocked = [session for session in actor.open_sessions if session in self._waits.blocked]
            reasons += [f"{session.name} waits for {' and '.join(self._waits.blocked[session])}" for session in blocked]
            if not blocked:
                reasons.append(f"{actor.name} sleeps with no request under way")
        self.trace.failures.append(Failure("hang", "hang", f"No actor can make progress: {', '.join(reasons)}."))

    def _unsettled(self) -> list[str]:
        """Return what is not settled, in words: all of it, or enough to know that something is not."""
        found: list[str] = []
        for actor in self._latest_first():
            # An actor without a request is always looked at, because it may begin to compute at any time.
            if not found or not actor.in_phase(Phase.CONNECTING, Phase.HELD, Phase.RUNNING):
                found += actor.unsettled(self._waits.blocked, self._limits.patience)
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
