"""The phases of a run: how long they take, and what their errors say of the database's state."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbtools.db.sql import scalar
from dbtools.errors import ChainFailed, TransactionEnded

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

ROLLED_BACK = "The transaction was rolled back: the database is as it was before."


@dataclass
class Outcome:
    """What a run did. The critical section lies between the two times, which are the server's."""

    waited: float = 0.0
    """Seconds waited for the lock."""
    acquired_at: str = ""
    released_at: str = ""
    rows: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds each phase took."""


@contextmanager
def phase(name: str, state: str, outcome: Outcome) -> Iterator[None]:
    """Time a phase; where it fails, `state` is what its error says of the database.

    Raises:
        ChainFailed: The server refused a statement of the block, or the block raised it.
    """
    import psycopg

    started = time.monotonic()
    try:
        yield
    except TransactionEnded:  # its state is not for us to say
        raise
    except ChainFailed as error:
        error.state = state
        raise
    except psycopg.Error as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ChainFailed(f"The {name} phase failed.", f"{reason}.", hint(error), state) from error
    finally:
        outcome.seconds[name] = round(outcome.seconds.get(name, 0) + time.monotonic() - started, 3)


def server_time(connection: psycopg.Connection) -> str:
    """Return the server's time, in UTC."""
    return str(scalar(connection, "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"))


def hint(error: psycopg.Error) -> str:
    """Return what to do about the server's answer."""
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
