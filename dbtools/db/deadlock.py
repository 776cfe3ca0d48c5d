"""What the server says about a deadlock that it ends: which session waited for which lock of which other.

The detail of an error 40P01 has a line for each session in the circle, the failed one first:

    Process 4711 waits for ShareLock on transaction 738; blocked by process 4712.
    Process 4712 waits for AccessExclusiveLock on relation 16385 of database 16384; blocked by process 4711.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEADLOCK = "40P01"
"""The SQLSTATE."""
_LINE = re.compile(r"Process (\d+) waits for (\w+) on (.+); blocked by process (\d+)\.")


@dataclass(frozen=True)
class DeadlockWait:
    """One wait of the circle."""

    pid: int
    """The backend that waited."""
    mode: str
    """The mode it wanted: ShareLock."""
    lock: str
    """The lock in the server's words, with numbers: "transaction 738"."""
    blocker: int
    """The backend that it waited for."""


def parse_deadlock(detail: str) -> list[DeadlockWait]:
    """Return the waits that an error's detail lists; none where it is in another language."""
    found = (_LINE.fullmatch(line) for line in detail.splitlines())
    return [DeadlockWait(int(line[1]), line[2], line[3], int(line[4])) for line in found if line]
