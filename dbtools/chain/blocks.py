"""The blocks of a load: which ones a process adds, and who of its sessions gets the next."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.errors import UNCHANGED, ConfigurationError
from dbtools.words import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.application import Load


@dataclass(frozen=True)
class Share:
    """The part of a load that one process adds: number 3 of 8, counted from 1."""

    number: int = 1
    of: int = 1

    def blocks(self, count: int) -> range:
        """Return the blocks of this share; together the shares have each of the `count` blocks once.

        Raises:
            ConfigurationError: There are more shares than blocks, and this one has none.
        """
        found = range(count * (self.number - 1) // self.of, count * self.number // self.of)
        if not found:
            raise ConfigurationError(
                f"There is nothing to load for share {self.number} of {self.of}.",
                f"The load has {number_of(count, 'block')}, and a share is of whole blocks.",
                f"Load in {number_of(count, 'share')} or fewer, or at a larger scale.",
                UNCHANGED,
            )
        return found


class Job:
    """The blocks of a share, dealt to whoever asks next, and what has been added so far."""

    def __init__(self, content: Load, blocks: range) -> None:
        self.content = content
        self.size = len(blocks)
        self.done = 0
        """Blocks that are in, though not committed."""
        self.rows: Counter[str] = Counter()
        """Rows that are in, by table."""
        self.bytes = 0
        self.over = threading.Event()
        """Set where the run has failed or was interrupted."""
        self._blocks = iter(blocks)
        self._lock = threading.Lock()

    def deal(self) -> Iterator[int]:
        """Yield blocks that nobody else gets, until there are none, or the run is over."""
        while not self.over.is_set():
            with self._lock:
                number = next(self._blocks, None)
            if number is None:
                return
            yield number

    def add(self, rows: Counter[str], size: int) -> None:
        """Note that a block is in."""
        with self._lock:
            self.done += 1
            self.rows += rows
            self.bytes += size
