"""One run of a schedule: wait until all is settled, choose an actor, let its request through, write it down.

A choice is made only when every actor is *settled*: it has a request at the gate or blocked in the server and is asleep
itself, or it has ended, or it sleeps for `Limits.patience` with nothing under way and counts as *away*. Blocked is what
pg_blocking_pids says, never what a clock says. Sessions that were blocked are asked again only when nothing runs any
more; asked while a commit is under way, the same schedule would go now this way, now that.

Deadlocks: the server looks for one `deadlock_timeout` after a wait began, and ends the session whose timer finds it.
The servers of the lab have 10 ms there, and every new wait is given twice that. So each earlier timer has fired in
vain, and it is the statement that closes the circle that fails.

After CHESS (Musuvathi et al., OSDI 2008), with a server's sessions in the place of threads and the server's lock
manager as the judge of who is blocked.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from typing import TYPE_CHECKING

import psycopg

from dbtools.races.execution.actor_state import ActorState
from dbtools.races.execution.proxy import Phase, Proxy, Session
from dbtools.races.schedule import SchedulingPoint
from dbtools.races.trace import End, Event, EventKind, Failure, Step, Trace

if TYPE_CHECKING:
    from dbtools.db.lock_probe import Probe
    from dbtools.races.execution.actor_process import Program
    from dbtools.races.scenario import Limits
    from dbtools.races.schedule import Strategy

DEADLOCK_TIMEOUT = 0.01
"""Seconds: `deadlock_timeout` of the lab's servers."""
LOOK = 0.001
"""Seconds between two looks at what runs."""


class Scheduler:
    """The actors of one run, and the one who lets them through."""

    def __init__(self, probe: Probe, limits: Limits) -> None:
        self.trace = Trace(())
        self.choices: list[tuple[SchedulingPoint, int]] = []
        """Every choice: where, and which actor it fell on."""
        self._lanes: list[ActorState] = []
        self._probe = probe
        self._changed = asyncio.Event()
        self._limits = limits
        self._steps: dict[Session, Step] = {}
        self._ended: Counter[Session] = Counter()
        self._blocked: dict[Session, tuple[str, ...]] = {}
        self._quiet_at = 0.0
        self._current: int | None = None

    def add(self, program: Program, proxy: Proxy) -> None:
        """Add an actor."""
        self._lanes.append(ActorState(len(self._lanes), program, proxy))
        self.trace.actors = (*self.trace.actors, proxy.actor)

    @property
    def openings(self) -> list[bytes]:
        """The packets that the programs' connections have begun with."""
        return [one.opening for lane in self._lanes for one in lane.sessions]

    def notice(self, session: Session) -> None:
        """Take note that a session has changed; at the end of a request its program does not know of it yet."""
        self._changed.set()
        if session.phase is Phase.IDLE:
            self._lane(session).about_to_hear()

    async def play(self, choose: Strategy) -> Trace:
        """Run to the end, or to where it cannot go on, and return what happened.

        `choose` returns one of the enabled actors.
        """
        while True:
            await self._settle()
            if self._admit():
                continue
            held = [one for lane in self._lanes for one in lane.in_phase(Phase.HELD)]
            self._write_down()
            if self.trace.stalled or not held:
                break
            if len(self.trace.steps) >= self._limits.steps:
                self.trace.stalled = f"It was ended after {self._limits.steps:,} steps."
                break
            # What is no choice goes first, one at a time and in the actors' order, so that traces are equal.
            trivial = [one for one in held if not one.choice]
            self._release(trivial[0] if trivial else self._ask(choose))
        for lane in self._lanes:
            code = lane.program.code if lane.program.is_over() else None
            self.trace.ends.append(End(lane.program.actor.name, code, lane.program.output()))
        return self.trace

    def _admit(self) -> bool:
        """Let one new connection of each actor through, where one waits for that."""
        waiting = [] if self.trace.stalled else [lane.in_phase(Phase.CONNECTING)[:1] for lane in self._lanes]
        for session in [one for first in waiting for one in first]:
            session.admit()
        return any(waiting)

    def _ask(self, choose: Strategy) -> Session:
        enabled = [lane.number for lane in self._lanes if lane.in_phase(Phase.HELD)]
        point = SchedulingPoint(len(self.choices), tuple(enabled), self._current)
        number = choose(point)
        assert number in enabled
        self.choices.append((point, number))
        self._current = number
        return self._lanes[number].in_phase(Phase.HELD)[0]

    def _release(self, session: Session) -> None:
        step = Step(len(self.trace.steps) + 1, session.actor, session.name, session.sql, session.choice)
        self.trace.steps.append(step)
        self.trace.events.append(Event(EventKind.RELEASED, session.actor, step.number))
        self._steps[session] = step
        self._ended[session] = session.ended
        session.release()
        self._quiet_at = 0.0

    async def _settle(self) -> None:
        """Return when every actor is settled, or the run has stalled or hangs."""
        began = time.monotonic()
        while True:
            self._note_ends()
            busy = self._busy()
            now = time.monotonic()
            if not busy and now >= self._quiet_at and not (self._blocked and self._wake()):
                if self._is_over() or self._can_go_on():
                    return
                if now - began > self._limits.hang:
                    self._hang()
                    return
            elif now - began > self._limits.step:
                self.trace.stalled = self._why()
                return
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), LOOK)
            except TimeoutError:
                self._probe_running()

    def _note_ends(self) -> None:
        for session in [one for one in self._steps if one.ended > self._ended[one]]:
            step = self._steps.pop(session)
            lane = self._lane(session)
            if self._blocked.pop(session, None):
                lane.note(EventKind.WOKEN, step.number)
            step.tag = session.tag
            step.transaction = session.transaction
            step.sqlstate = session.error.get("C", "")
            step.message = session.error.get("M", "")
            step.detail = self._named(session.error.get("D", ""))
            step.subject = session.error.get("n") or session.error.get("t", "")
            if session.phase is Phase.CLOSED and not step.sqlstate:
                step.sqlstate, step.message = "08006", "the connection was lost"
            lane.note(EventKind.ENDED, step.number)

    def _named(self, detail: str) -> str:
        """Return the server's words with names for its numbers, which are others in every run."""
        names = {str(one.pid): one.name for lane in self._lanes for one in lane.sessions}
        detail = re.sub(r"\b[Pp]rocess (\d+)", lambda found: names.get(found[1], "another process"), detail)
        return re.sub(r"\btransaction \d+", "transaction", detail)

    def _probe_running(self) -> None:
        """Ask who among those that run is blocked by others of this run."""
        running = {one.pid: one for one in self._steps if one.phase is Phase.RUNNING and one not in self._blocked}
        if not running:
            return
        for pid, on in self._blockers(running).items():
            session = running[pid]
            lock = self._probe.wanted(pid)
            if session.phase is not Phase.RUNNING or session.ended > self._ended[session]:
                continue
            self._blocked[session] = on
            self._quiet_at = time.monotonic() + 2 * DEADLOCK_TIMEOUT
            self._lane(session).note(EventKind.BLOCKED, self._steps[session].number, on, lock)

    def _wake(self) -> bool:
        """Return whether somebody who was blocked is so no more, or waits in a circle, which the server is to break."""
        waiting = {one.pid: one for one in self._blocked}
        found = self._blockers(waiting)
        woken = [one for pid, one in waiting.items() if pid not in found]
        self._blocked = {one: found.get(pid, ()) for pid, one in waiting.items()}
        for session in woken:
            del self._blocked[session]
            if session in self._steps:
                self._lane(session).note(EventKind.WOKEN, self._steps[session].number)
        return bool(woken) or self._waits_in_circle()

    def _waits_in_circle(self) -> bool:
        names = {session.name: on for session, on in self._blocked.items()}
        for start, on in names.items():
            seen, ahead = set[str](), [*on]
            while ahead:
                one = ahead.pop()
                if one == start:
                    return True
                if one not in seen:
                    seen.add(one)
                    ahead += names.get(one, ())
        return False

    def _blockers(self, sessions: dict[int, Session]) -> dict[int, tuple[str, ...]]:
        """Return, for those of the sessions that sessions of this run block, by which."""
        try:
            found = self._probe.blockers(sessions)
        except psycopg.errors.LockNotAvailable:
            return {}  # it waits itself, for somebody who has locked a catalogue: ask again
        names = {one.pid: one.name for lane in self._lanes for one in lane.sessions}
        within = {pid: tuple(names[one] for one in on if one in names) for pid, on in found.items()}
        return {pid: on for pid, on in within.items() if on}

    def _lane(self, session: Session) -> ActorState:
        return next(one for one in self._lanes if one.name == session.actor)

    def _is_over(self) -> bool:
        return all(lane.over for lane in self._lanes)

    def _can_go_on(self) -> bool:
        return any(lane.in_phase(Phase.CONNECTING, Phase.HELD) for lane in self._lanes)

    def _hang(self) -> None:
        """Write down that nobody can go on: each waits for a lock of another, or sleeps with nothing under way."""
        said = []
        for lane in [one for one in self._lanes if not one.over]:
            blocked = [one for one in lane.live if one in self._blocked]
            said += [f"{one.name} waits for {' and '.join(self._blocked[one])}" for one in blocked]
            if not blocked:
                said.append(f"{lane.name} sleeps with nothing under way")
        self.trace.failures.append(Failure("hang", "hang", f"Nobody can go on: {', '.join(said)}."))

    def _busy(self) -> list[str]:
        """Return what is not settled, in words: all of it, or enough to know that something is not."""
        found: list[str] = []
        for lane in self._latest_first():
            # One with a request under way is looked at last; one without may do anything meanwhile.
            if not found or not lane.in_phase(Phase.CONNECTING, Phase.HELD, Phase.RUNNING):
                found += lane.busy(self._blocked, self._limits.patience)
        return found

    def _latest_first(self) -> list[ActorState]:
        latest = self.trace.steps[-1].actor if self.trace.steps else ""
        return sorted(self._lanes, key=lambda lane: lane.name != latest)

    def _why(self) -> str:
        running = [one for one in self._steps if one.phase is Phase.RUNNING and one not in self._blocked]
        outside = ""
        if running:
            found = self._probe.blockers([one.pid for one in running])
            on = sorted({pid for one in found.values() for pid in one})
            outside = f" Blocked from outside, by {', '.join(self._probe.describe(on).values())}." if on else ""
        return f"After {self._limits.step:g} s: {'; '.join(self._busy())}.{outside}"

    def _write_down(self) -> None:
        """Put the events since the last choice into the trace, whose they are in the actors' order.

        Who was let through comes first; what others did in the same moment has no order that is the same every time.
        """
        for lane in self._latest_first():
            self.trace.events.extend(lane.events)
            lane.events.clear()
