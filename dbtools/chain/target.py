"""The database of a run, and the rules and waits that apply to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbtools.db.dsn import Dsn


@dataclass(frozen=True)
class GuardRules:
    """What a project or a flag adds to the guard."""

    allow_hosts: tuple[str, ...] = ()
    """Other machines whose databases may be destroyed: names as the URL has them, or addresses."""
    protect: tuple[str, ...] = ()
    """Patterns (`*`, `?`, `[...]`) of databases that may not: NAME or HOST/NAME, in any case."""


@dataclass(frozen=True)
class Waits:
    """How a run waits, in seconds."""

    lock: float = 300.0
    """For the seed lock, and then again for tables that others use; 0 tries once."""
    first_try: float = 0.25
    """The first blocking try for the seed lock."""
    longest_try: float = 5.0
    """The longest one: tries grow to a quarter of the time waited (see `lock`)."""
    reminder: float = 15.0
    """Between two reports of a wait that goes on."""
    sweep: float = 5.0
    """For readers of a replaced table, before its drop is left to the next reset."""

    @property
    def statement(self) -> float:
        """For any other lock that a statement of the work needs. Even with 0, the server's own short ones are met."""
        return max(self.lock, 10.0)

    def slice_after(self, waited: float) -> float:
        """Return how long the next try for the seed lock may block, after this long a wait."""
        return min(max(self.first_try, waited / 4), self.longest_try, self.lock - waited)

    def after(self, waited: float) -> Waits:
        """Return what is left of the wait for the seed lock."""
        return replace(self, lock=max(0.0, self.lock - waited))


@dataclass(frozen=True)
class Target:
    """The database, and how a run goes about changing it."""

    dsn: Dsn
    lock_key: int
    waits: Waits = field(default_factory=Waits)
    pool_size: int = 6
    schema: str = "public"
    in_place: bool = False
    """Refill the live schema itself, instead of filling a new one aside."""
    confirm: str | None = None
    """The database's name, typed by a person: one of the two things that open a database marked as production."""
    rules: GuardRules = field(default_factory=GuardRules)
    unprotected: bool = False
    """In place, no lock, and every statement commits by itself: the programs of the incident. For verify-concurrency,
    which has to show that the race is there before it shows that the lock ends it."""
