"""Divides the schedules of a scenario among shards that know nothing of each other.

Every shard runs the programs one after the other, and the schedules without a preemption. From these alone it knows
every schedule's first preemption, and deals the places of it out in turn, as cards: 1 to the first shard, 2 to the
second. A shard runs what begins with a place of its own. So each schedule with a preemption belongs to one shard, as
long as the programs do the same in all of them; the number and the checksum of what was dealt tell whether they did.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.races.schedule import written

if TYPE_CHECKING:
    from dbtools.races.schedule import Schedule


@dataclass(frozen=True, order=True)
class Shard:
    """One of several parts of an exploration."""

    number: int = 1
    """From 1 on."""
    of: int = 1

    def has(self, position: int) -> bool:
        """Return whether what is dealt out at this position, from 0 on, is this shard's."""
        return position % self.of == self.number - 1

    def __str__(self) -> str:
        return f"shard {self.number} of {self.of}"


WHOLE = Shard()
"""The only shard of an exploration that is not divided."""


@dataclass
class Deal:
    """Deals out the schedules that end with their first preemption."""

    shard: Shard = WHOLE
    count: int = 0
    """How many were dealt, to any shard."""
    checksum: int = 0
    """Of all of them, in their order."""

    def takes(self, schedule: Schedule) -> bool:
        """Return whether the next schedule is this shard's."""
        self.checksum = zlib.crc32(written(schedule).encode("ascii"), self.checksum)
        self.count += 1
        return self.shard.has(self.count - 1)
