"""What went wrong in a run: programs that failed, and invariants that do not hold at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from dbtools.db.deadlock import DEADLOCK
from dbtools.races.render.sanitize import output
from dbtools.races.trace import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dbtools.application import Invariant
    from dbtools.races.trace import Trace

ABORTED = "25P02"
"""The SQLSTATE of requests in a transaction that has failed already."""


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
