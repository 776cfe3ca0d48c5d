"""One simultaneous start of all processes, and what it left in the database."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from dbtools.checks.reader import Reads

if TYPE_CHECKING:
    from dbtools.checks.job import Result

DUPLICATE_KEY = "23505 "
CATALOG_DUPLICATE = "23505 pg_"
"""Two chains that create the same table simultaneously: a race too, but not the one to show."""
MAX_NAME_CHARACTERS = 60
"""How much of a failure's name is shown in a table: where nothing better is known, it is a line of output."""
COMPLETE, MIGRATED = "complete", "migrated"
"""What a round starts from: the whole content, or tables that the seed has not filled."""


@dataclass(frozen=True)
class Round:
    """One simultaneous start of all processes, and the content of the database afterwards."""

    results: tuple[Result, ...]
    digest: str
    same_digest: bool
    """Whether the content is as it should be; of own steps, what differs anyway is not compared."""
    start: str = COMPLETE
    differences: tuple[str, ...] = ()
    """How the content differs, in words."""
    excused: tuple[tuple[str, str], ...] = ()
    """Actions, and failures that they have also one after the other: those are no race."""
    reads: Reads = field(default_factory=Reads)
    """What a reader saw meanwhile; of the second arm only."""

    @property
    def failures(self) -> Counter[str]:
        """How often each failure occurred: "23505 invoices_pkey"."""
        return Counter(result.failure for result in self.results if result.failed)

    @property
    def failed(self) -> int:
        """How many processes ended with an error."""
        return sum(result.failed for result in self.results)

    @property
    def collisions(self) -> int:
        """How many processes ended with an error that they do not have one after the other."""
        return sum(result.failed and (result.action, result.failure) not in self.excused for result in self.results)

    @property
    def duplicates(self) -> int:
        """How many processes failed on a duplicate key in a table of the application."""
        return sum(
            count
            for name, count in self.failures.items()
            if name.startswith(DUPLICATE_KEY) and not name.startswith(CATALOG_DUPLICATE)
        )

    @property
    def processes(self) -> str:
        """The processes started: "3 seed, 2 reset"."""
        counts = Counter(result.action for result in self.results)
        return ", ".join(f"{count} {action}" for action, count in counts.items())

    @property
    def overlaps(self) -> int:
        """How many critical sections began before the previous one had ended, by the server's clock."""
        spans = sorted((result.acquired_at, result.released_at) for result in self.results if result.acquired_at)
        return sum(later[0] < earlier[1] for earlier, later in pairwise(spans))

    @property
    def found(self) -> str:
        """What failed and what differs, in one line."""
        return "; ".join(filter(None, (listed(self.failures), ", ".join(self.differences))))


def listed(failures: Counter[str]) -> str:
    """Return failures with how often each occurred: "23505 invoices_pkey x4"."""
    return ", ".join(f"{shorten(name, MAX_NAME_CHARACTERS)} x{count}" for name, count in sorted(failures.items()))


def shorten(text: str, limit: int) -> str:
    """Return the text, cut off where it has more characters than `limit`."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
