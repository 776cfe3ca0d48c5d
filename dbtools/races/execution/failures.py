"""What went wrong in a run: a hang, programs that failed, and invariants that do not hold at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from dbtools.db.deadlock import DEADLOCK
from dbtools.races.execution.session import Phase
from dbtools.races.render.sanitize import output
from dbtools.races.trace import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dbtools.application import Invariant
    from dbtools.races.execution.actor_state import ActorState
    from dbtools.races.execution.session import Session
    from dbtools.races.trace import Trace

ABORTED = "25P02"
"""The SQLSTATE of requests in a transaction that has failed already."""


def hang(actors: Iterable[ActorState], blocked: Mapping[Session, Iterable[str]]) -> Failure:
    """Return the failure in which every actor waits for a lock of another one, or has no request under way.

    `blocked` are the sessions that wait, and for whom.
    """
    reasons = []
    for actor in [actor for actor in actors if not actor.over]:
        waiting = [session for session in actor.open_sessions if session in blocked]
        reasons += [f"{session.name} waits for {' and '.join(blocked[session])}" for session in waiting]
        held = actor.in_phase(Phase.HELD)
        reasons += [f"{session.name} asks again and again: {session.sql}" for session in held]
        if not waiting and not held:
            reasons.append(f"{actor.name} sleeps with no request under way")
    return Failure("hang", "hang", f"No actor can make progress: {', '.join(reasons)}.")


def failed_programs(trace: Trace) -> Iterator[Failure]:
    """Yield why programs failed: their last failed request, or else their exit status.

    Where that met a transaction that had failed before, the request is named that has made it fail.
    """
    for end in trace.ends:
        if not end.code:
            continue
        failed = [step for step in trace.steps if step.actor == end.actor and step.sqlstate]
        if failed:
            step = next((step for step in reversed(failed) if step.sqlstate != ABORTED), failed[-1])
            name = f"{step.sqlstate} {step.subject}".strip()
            detail = f" ({' '.join(step.detail.split())})" if step.detail and step.sqlstate == DEADLOCK else ""
            yield Failure("error", name, f"{end.actor}: {step.message}{detail}", step.number, end.actor)
        else:
            last = [line.strip() for line in output(end.output) if line.strip()][-1:] or [""]
            detail = f"{end.actor} ended with exit code {end.code}. {last[0]}".strip()
            yield Failure("exit", f"exit {end.code}", detail, actor=end.actor)


def broken_invariants(control: psycopg.Connection, invariants: Iterable[Invariant]) -> Iterator[Failure]:
    """Yield the invariants whose queries return rows, or cannot be run."""
    for invariant in invariants:
        try:
            rows = control.execute(invariant.query).fetchall()
        except psycopg.Error as error:
            yield Failure("invariant", invariant.name, f"Its query failed: {error.diag.message_primary}")
            continue
        if rows:
            yield Failure("invariant", invariant.name, f"Broken by {len(rows)}, such as {rows[0]}")
