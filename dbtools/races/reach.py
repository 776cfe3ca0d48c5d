"""What a choice reads and writes, and which choices commute: neither writes what the other one reads or writes."""

from __future__ import annotations

from dataclasses import dataclass, replace

CLOCK = 0
"""Stands among the tables for the server's clock. Those that read it do not commute: who is later may matter."""


@dataclass(frozen=True)
class Reach:
    """The tables that a choice reads, and those whose rows it writes, locks or makes visible; by their numbers."""

    reads: frozenset[int] = frozenset()
    writes: frozenset[int] = frozenset()
    timed: bool = False
    """It reads when its transaction began."""

    def with_clock(self) -> Reach:
        """Return the same, where the clock is read as well."""
        return replace(self, writes=self.writes | {CLOCK})


def commute(one: Reach | None, other: Reach | None) -> bool:
    """Return whether two choices surely do the same in either order."""
    if one is None or other is None:
        return False
    return not (one.writes & (other.reads | other.writes) or one.reads & other.writes)
