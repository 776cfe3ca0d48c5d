"""What the statements of a run read, wrote, defined and locked, and which rows its transactions changed.

Reads are known by relation, as the server's parser locks it; changes by row, as they are after each commit. So "read
before it was written" is sure of the relation, and "wrote the same row" of the row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class AccessKind(StrEnum):
    """How a statement uses a relation."""

    READ = "read"
    SHARE = "share"
    """It reads rows and locks them in a mode that others may hold too: FOR SHARE, or the check of a foreign key."""
    WRITE = "write"
    DEFINE = "define"
    """It creates, alters or drops it."""
    LOCK = "lock"
    """It locks it and does nothing else (LOCK TABLE), or takes an advisory lock."""


@dataclass(frozen=True)
class Access:
    """A statement uses a relation, or takes an advisory lock."""

    step: int
    kind: AccessKind
    relation: str
    """With its schema, unless that is public; of a lock its name: "advisory lock 7"."""


@dataclass(frozen=True, eq=False)
class Change:
    """What one transaction has changed in one relation, seen once it had committed."""

    step: int
    """The step that committed it."""
    relation: str
    inserted: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The new rows by their keys: "1", "1, x", or where the table has no key a place, "(0,1)"."""
    updated: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    defined: bool = False
    """It has created, altered or dropped the relation."""

    @property
    def rows(self) -> frozenset[str]:
        """The keys of all rows that it has changed."""
        return frozenset(self.inserted) | self.updated | self.deleted


@dataclass
class Footprint:
    """What a run used and changed, in the order of its steps."""

    accesses: list[Access] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    answers: dict[int, int] = field(default_factory=dict)
    """A checksum of what the server answered to each step."""
    blind: bool = False
    """A program has locked a catalogue, so that the lab could not look."""
