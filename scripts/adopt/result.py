"""What came out of driving a set-up: its figures, its failures, its row of the table."""

from __future__ import annotations

import statistics
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from dbtools.db.secrets import mask
from dbtools.errors import DbtoolsError
from scripts.adopt.processes import Failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scripts.adopt.setups import Setup

HEAD = (
    *("package", "server", "revisions", "tables", "rows", "lines", "own command", "reset cold", "reset warm"),
    *("digest twice", "reads failed", "of a bare drop", "checks failed"),
)


@dataclass
class Result:
    """A figure that was not reached is None, 0 or empty. `failures` says what failed, by check."""

    setup: Setup
    server: str = ""
    revisions: int = 0
    tables: int = 0
    rows: int = 0
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"own": [], "cold": [], "warm": []})
    digest: str = ""
    reads: int = 0
    reads_failed: int | None = None
    bare_drop_failed: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def check(self, name: str) -> Iterator[None]:
        """Note a failure in the block, and go on after it."""
        try:
            yield
        except (Failed, DbtoolsError, psycopg.Error) as error:
            self.failures[name] = mask(str(error))

    @property
    def row(self) -> Sequence[str]:
        """The cells below HEAD."""
        counts = (str(count) for count in (self.revisions, self.tables, self.rows, len(self.setup.table)))
        times = (f"{statistics.median(taken):.2f} s" if taken else "-" for taken in self.seconds.values())
        same = "-" if not self.digest else "no" if "digest" in self.failures else "equal"
        reads = "-" if self.reads_failed is None else f"{self.reads_failed} of {self.reads}"
        failures = ", ".join(self.failures) or "-"
        return (self.setup.name, self.server or "-", *counts, *times, same, reads, str(self.bare_drop_failed), failures)

    def to_json(self) -> dict[str, object]:
        """Return all figures, for a machine."""
        setup = {"name": self.setup.name, "pins": self.setup.pins, "table": self.setup.table}
        return setup | {name: value for name, value in vars(self).items() if name != "setup"}
