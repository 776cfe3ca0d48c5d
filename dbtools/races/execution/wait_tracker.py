"""The waits of one run: which sessions are blocked by which others, recorded as they begin and end.

The scheduler polls for them, so it may miss a short one. The last wait of a deadlock is short: the server breaks the
deadlock `DEADLOCK_TIMEOUT_S` after it began. But the error lists the waits of the circle, so they are recorded from it,
and the trace does not depend on which came first, the poll or the error.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg

from dbtools.db.deadlock import parse_deadlock
from dbtools.db.lock_probe import PREPARED
from dbtools.races.execution.session import Phase, Session
from dbtools.races.trace import EventKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dbtools.db.lock_probe import Probe
    from dbtools.races.execution.actor_state import ActorState

DEADLOCK_TIMEOUT_S = 0.01
"""`deadlock_timeout` of the lab's servers."""


class WaitTracker:
    """The sessions of a run that are blocked by others of it."""

    def __init__(self, probe: Probe, actors: Sequence[ActorState]) -> None:
        self.blocked: dict[Session, tuple[str, ...]] = {}
        """Each blocked session, with the names of those that block it."""
        self.asleep: set[Session] = set()
        """The running sessions that were in pg_sleep when they were looked at last."""
        self._probe = probe
        self._actors = actors
        self._began = 0.0

    @property
    def deadlock_check_pending(self) -> bool:
        """Whether the server may not have looked for a deadlock yet since the last wait began."""
        return time.monotonic() < self._began + 2 * DEADLOCK_TIMEOUT_S

    def find_new(self) -> None:
        """Record the running sessions that the server calls blocked by others of this run."""
        running = {session.pid: (actor, session) for actor, session in self._running()}
        for pid, on in (self._blockers(running) or {}).items():
            actor, session = running[pid]
            self.blocked[session] = on
            self._began = time.monotonic()
            actor.record(EventKind.BLOCKED, actor.steps[session].number, on, self._probe.awaited_lock(pid))

    def find_asleep(self) -> None:
        """Find the running sessions that sleep in the server."""
        running = {session.pid: session for _, session in self._running()}
        self.asleep = {running[pid] for pid in (self._probe.sleeping(running) if running else ())}

    def may_end(self) -> bool:
        """Record which waits are over; return whether any was, or the server is going to break a deadlock."""
        if not self.blocked:
            return False
        blockers = self._blockers([session.pid for session in self.blocked])
        if blockers is None:
            return True
        woken = [session for session in self.blocked if session.pid not in blockers]
        for session in woken:
            self.end(session)
        self.blocked = {session: blockers[session.pid] for session in self.blocked}
        return bool(woken) or self._is_circle()

    def end(self, session: Session) -> None:
        """Record that a session is blocked no longer, if it was."""
        if self.blocked.pop(session, None):
            actor = next(actor for actor in self._actors if session in actor.steps)
            actor.record(EventKind.WOKEN, actor.steps[session].number)

    def record_deadlock(self, detail: str) -> str:
        """Record the waits that the detail of an error lists; return it with names in the place of numbers.

        Whether the poll has seen the last wait is chance: all of it, all but the lock's name, or nothing.
        """
        names = {session.pid: session.name for actor in self._actors for session in actor.sessions}
        waiting = {session.pid: (actor, session) for actor in self._actors for session in actor.steps}
        lines = []
        for wait in parse_deadlock(detail):
            lock, on = self._probe.deadlock_lock(wait), names.get(wait.blocker, "another process")
            wanted = lock if lock.startswith(wait.mode) else f"{wait.mode} on {lock}"
            lines.append(f"{names.get(wait.pid, 'another process')} waits for {wanted}; blocked by {on}.")
            if wait.pid in waiting and wait.blocker in names:
                actor, session = waiting[wait.pid]
                if actor.correct_wait(actor.steps[session].number, (on,), lock, known=session in self.blocked):
                    self.blocked[session] = (on,)
        return "\n".join(lines) or detail

    def outsiders(self) -> str:
        """Return the sessions outside of this run that block sessions of it, in words, or ""."""
        running = [session.pid for _, session in self._running()]
        found = self._probe.blockers(running) if running else {}
        return ", ".join(self._probe.describe(sorted({pid for on in found.values() for pid in on})).values())

    def _running(self) -> list[tuple[ActorState, Session]]:
        every = [(actor, session) for actor in self._actors for session in actor.steps]
        return [
            (actor, session)
            for actor, session in every
            if session.phase is Phase.RUNNING and session not in self.blocked
        ]

    def _blockers(self, pids: Collection[int]) -> dict[int, tuple[str, ...]] | None:
        """Return which of these sessions are blocked by sessions of this run, and by which; None where it is unknown.

        It is unknown while the probe itself waits, for a session that has locked a catalogue.
        """
        try:
            found = self._probe.blockers(pids) if pids else {}
        except psycopg.errors.LockNotAvailable:
            return None
        names = {session.pid: session.name for actor in self._actors for session in actor.sessions}
        names[PREPARED] = "a prepared transaction"
        within = {pid: tuple(names[blocker] for blocker in on if blocker in names) for pid, on in found.items()}
        return {pid: on for pid, on in within.items() if on}

    def _is_circle(self) -> bool:
        """Return whether blocked sessions wait for each other in a circle."""
        waiting = {session.name: {*on} for session, on in self.blocked.items()}
        while free := [name for name, on in waiting.items() if not on & waiting.keys()]:
            for name in free:
                del waiting[name]
        return bool(waiting)
