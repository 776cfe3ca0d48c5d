"""What a run tells the person who started it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.db.blockers import Blocker

    Waiting = Callable[[Blocker | None], None]
    """Told which session a run waits for, None where that cannot be seen."""


class Report(Protocol):
    """Receives the progress of a run."""

    def doing(self, text: str) -> None:
        """A phase begins."""

    def done(self, text: str, **facts: object) -> None:
        """Something is done: a tick. `facts` (key, backend, waited, rows …) are for a log that machines read."""

    def note(self, text: str) -> None:
        """News for a person who waits; not part of the record."""


class NullReport:
    """A report that nobody reads."""

    def doing(self, text: str) -> None:
        """Ignored."""

    def done(self, text: str, **facts: object) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""


def lock_taken(report: Report, key: int, backend: int, waited: float) -> None:
    """Report that the server process `backend` holds the seed lock, after so many seconds."""
    report.done(f"Acquired seed advisory lock (key={key})", key=key, backend=backend, waited=round(waited, 3))


def lock_released(report: Report, key: int, rows: int) -> None:
    """Report that the work under the seed lock is committed and the lock free."""
    report.done("Released seed advisory lock", key=key, rows=rows)


def waiting_for_lock(report: Report, key: int) -> Waiting:
    """Return a callback that reports which session holds the seed lock."""

    def tell(blocker: Blocker | None) -> None:
        held = f"held by {blocker}" if blocker else "changing hands"
        report.note(f"Waiting for the seed advisory lock (key={key}), {held}")

    return tell


def waiting_for_earlier_run(report: Report) -> Waiting:
    """Return a callback that reports which earlier run, its lock lost, is still at work."""
    return lambda blocker: report.note(f"Waiting for the work of a run that lost the lock: {blocker or 'ending'}")


def waiting_for_tables(report: Report) -> Waiting:
    """Return a callback that reports whose open transaction uses the tables."""
    return lambda blocker: report.note(f"Waiting for the tables, used by the open transaction of {blocker}")
