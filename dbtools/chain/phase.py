"""The phases of a run: how long they take, and what their errors say of the database's state."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbtools.db.connect import CONNECTION_LOST
from dbtools.db.lock_room import is_full
from dbtools.db.pooler import refusal
from dbtools.db.sql import scalar
from dbtools.errors import ChainFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

ROLLED_BACK = "The transaction was rolled back: the database is as it was before."
NOT_COMMITTED = "Nothing was committed: the server rolls the transaction back, and the database is as it was before."
"""Where the connection was lost: what the server has done by now cannot be seen from here."""
COMMIT_UNKNOWN = "Whether it took place is not known: the database is the old one or the new one."


@dataclass
class Outcome:
    """What a run did. The critical section lies between the two times, which are the server's."""

    action: str = ""
    """What was asked for: "reset", "seed", "migrate"."""
    waited: float = 0.0
    """Seconds waited for the lock."""
    acquired_at: str = ""
    released_at: str = ""
    rows: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds each phase took."""


@contextmanager
def phase(name: str, state: str, outcome: Outcome) -> Iterator[None]:
    """Time a phase; where it fails, `state` is what its error says of the database. An interruption gets it as a note.

    Raises:
        ChainFailed: The server refused a statement of the block, or the block raised it.
        ConfigurationError: A pooler in statement mode refused its transaction.
    """
    import psycopg

    started = time.monotonic()
    try:
        yield
    except ChainFailed as error:
        error.state = _state(error.__cause__, state)
        raise
    except psycopg.Error as error:
        if refused := refusal(error):
            raise refused from error
        reason = " ".join(str(error).split()).rstrip(".")
        advice = hint(error, outcome.action)
        raise ChainFailed(f"The {name} phase failed.", f"{reason}.", advice, _state(error, state)) from error
    except KeyboardInterrupt as error:
        error.add_note(f"In the {name} phase. {state}")
        raise
    finally:
        outcome.seconds[name] = round(outcome.seconds.get(name, 0) + time.monotonic() - started, 3)


def _state(cause: BaseException | None, state: str) -> str:
    import psycopg

    broke = isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None
    return NOT_COMMITTED if broke and state == ROLLED_BACK else state


def commit(work: psycopg.Connection, outcome: Outcome) -> None:
    """Commit the open transaction of `work`.

    Raises:
        ChainFailed: The server refused, so the transaction was rolled back; or its answer was lost.
    """
    try:
        with phase("commit", COMMIT_UNKNOWN, outcome):
            work.commit()
    except ChainFailed as error:
        if was_refused(error):
            error.state = ROLLED_BACK
        raise


def was_refused(error: ChainFailed) -> bool:
    """Return whether a commit failed by the server's word, so that nothing of it is there; else its fate is unknown."""
    return getattr(error.__cause__, "sqlstate", None) not in CONNECTION_LOST


def server_time(connection: psycopg.Connection) -> str:
    """Return the server's time, in UTC."""
    return str(scalar(connection, "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"))


def hint(error: psycopg.Error, action: str = "") -> str:
    """Return what to do about the server's answer to a statement of `action`."""
    match error.sqlstate:
        case "42P01" if action == "reset":
            return "The migrations create no such table: correct them, or the rows of the application."
        case "23505" if action == "reset":
            return "The rows of the application repeat a key, or one that the migrations insert: correct either."
        case "23505" if action == "load":
            return (
                "These blocks, or other rows with their keys, are there already: invoke reset, or load another share."
            )
        case "0A000" if "row-level security" in str(error):
            return "Connect as a role with BYPASSRLS, or: alter table TABLE no force row level security."
        case "42704" if "role " in str(error):
            return "The content names this role in a grant: create role NAME; with that name, then run this again."
        case "42P01":
            return "The tables are not there: run invoke migrate, or invoke reset."
        case "42501":
            return "Connect as the role that owns the database, or grant it the right."
        case "55P03":
            return "Another session uses something that it needs: end that session, or raise lock-timeout."
        case "53100":
            return "Make room on the server's disk; for a moment a reset needs the old and the new tables side by side."
        case "53200" if is_full(error):
            return (
                "Raise max_locks_per_transaction on the server, which takes a restart, or run this when less goes on."
            )
        case "53200":
            return "Give the server more memory, or run this again when it has less to do."
        case "23505":
            return "The rows repeat a key, or another program inserted one meanwhile: correct them, or run this again."
        case code if code in CONNECTION_LOST:
            return "The connection to the server broke; once it is back, run this again."
    return "Read the server's answer above; --debug shows the traceback."
