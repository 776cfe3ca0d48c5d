"""The phases of a run: what is told of them, how long they take, and what their errors say of the database's state."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from dbtools.errors import ChainFailed, DbtoolsError, TransactionEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from dbtools.db.blockers import Holder

UNTOUCHED = "The transaction was rolled back: the database is as it was before."


class Report(Protocol):
    """Who is told what the chain does."""

    def doing(self, text: str) -> None:
        """A phase begins."""

    def done(self, text: str) -> None:
        """Something is done: a tick."""

    def note(self, text: str) -> None:
        """Something a person who waits wants to know; no part of the record."""


@dataclass
class Outcome:
    """What a run did, by the server's own clock: the critical section lies between the two times."""

    waited: float = 0.0
    """Seconds waited for the lock."""
    acquired_at: str = ""
    released_at: str = ""
    rows: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds each phase took."""


@contextmanager
def phase(name: str, state: str, outcome: Outcome) -> Iterator[None]:
    """Time a phase, and turn what goes wrong in it into an error that says what state the database is in."""
    import psycopg

    started = time.monotonic()
    try:
        yield
    except TransactionEnded:
        raise
    except ChainFailed as error:
        why = error.why.removesuffix(" Nothing was changed.")
        raise ChainFailed(error.what, f"{why} {state}", error.hint) from error
    except DbtoolsError:
        raise
    except psycopg.Error as error:
        raise ChainFailed(
            f"The {name} phase failed.", f"{' '.join(str(error).split()).rstrip('.')}. {state}", hint(error)
        ) from error
    finally:
        outcome.seconds[name] = round(outcome.seconds.get(name, 0) + time.monotonic() - started, 3)


def clock(connection: psycopg.Connection) -> str:
    """Return the server's time, in UTC."""
    row = connection.execute(
        "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
    ).fetchone()
    assert row is not None
    return str(row[0])


def waiting(report: Report, key: int) -> Callable[[Holder | None], None]:
    """Return who tells a person for whom the seed lock is waited."""

    def tell(holder: Holder | None) -> None:
        held = f"held by {holder}" if holder else "changing hands"
        report.note(f"Waiting for the seed advisory lock (key={key}), {held}")

    return tell


def draining(report: Report) -> Callable[[Holder | None], None]:
    """Return who tells a person that an earlier run's work is waited for."""

    def tell(holder: Holder | None) -> None:
        report.note(f"Waiting for the work of a run that lost the lock: {holder or 'ending'}")

    return tell


def hint(error: psycopg.Error) -> str:
    """Return what to do about what the server said."""
    match error.sqlstate:
        case "42P01":
            return "The tables are not there: run invoke migrate, or invoke reset."
        case "42501":
            return "Connect as the role that owns the database, or grant it the right."
        case "53100":
            return "Make room on the server's disk; for a moment a reset needs the old and the new tables side by side."
        case "53200":
            return "Raise max_locks_per_transaction on the server (it needs a restart), or drop some tables by hand."
        case "23505":
            return "Rows with these keys are there already: run invoke reset, which starts from nothing."
        case None | "57P01" | "57P02" | "08006":
            return "The connection to the server broke; once it is back, run this again."
    return "Read the server's answer above; --debug shows the traceback."


def in_use(report: Report) -> Callable[[Holder | None], None]:
    """Return what tells a person whose transaction uses the tables."""
    return lambda user: report.note(f"Waiting for the tables, used by the open transaction of {user}")
