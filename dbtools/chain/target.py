"""The database of a run, and the rules under which it may be changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbtools.chain.guard import Rules

if TYPE_CHECKING:
    from dbtools.db.dsn import Dsn


@dataclass(frozen=True)
class Target:
    """The database, and the rules under which it may be changed."""

    dsn: Dsn
    lock_key: int
    lock_timeout: float = 300.0
    """Seconds to wait for the lock; 0 tries once."""
    pool_size: int = 6
    schema: str = "public"
    in_place: bool = False
    """Rebuild in the live schema, under the session lock, instead of building a new one aside."""
    confirm: str | None = None
    """The database's name, typed by a person: one of the two things that open a database marked as production."""
    rules: Rules = field(default_factory=Rules)
    unprotected: bool = False
    """In place, no lock, and every statement commits by itself: the programs of the incident. For verify-concurrency,
    which has to show that the race is there before it shows that the lock ends it."""
