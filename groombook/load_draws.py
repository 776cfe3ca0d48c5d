"""Mulberry32 for many clients at once: each client draws from a place of its own in the one stream.

An output is a hash of a counter (see `groombook.prng`), so any part of the stream can be computed by itself. A client's
place follows from its number alone: whoever computes a range of clients, in whichever order, gets the same outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from groombook.prng import BYTES_OF_UUID, INCREMENT, MASK

if TYPE_CHECKING:
    from numpy.typing import NDArray

Numbers: TypeAlias = "NDArray[np.intp]"
Texts: TypeAlias = "NDArray[np.bytes_]"

_PAIRS = np.array([f"{byte:02x}".encode() for byte in range(256)]).view(np.uint16)
"""The two hexadecimal digits of a byte, as the two bytes of an integer."""
_DASHES = (8, 13, 18, 23)
_DIGITS = [place for place in range(36) if place not in _DASHES]


class Draws:
    """What some clients draw: a row for each client, a column for each draw.

    Every method takes the next outputs of each client, in the order of the code, as those of `Mulberry32` do.
    """

    def __init__(self, seed: int, places: Numbers) -> None:
        """`places` are the numbers of outputs before the first one of each client."""
        states = (places.astype(np.uint64) * np.uint64(INCREMENT) + np.uint64(seed & MASK)) & np.uint64(MASK)
        self._states = states.astype(np.uint32)[:, None]
        self.taken = 0
        """How many outputs each client has drawn."""

    def block(self, n: int) -> NDArray[np.uint32]:
        """Return the next n outputs of each client."""
        steps = np.arange(self.taken + 1, self.taken + n + 1, dtype=np.uint32) * np.uint32(INCREMENT)
        self.taken += n
        s = self._states + steps  # integers of 32 bits wrap, as the generator wants it
        t = (s ^ s >> np.uint32(15)) * (s | np.uint32(1))
        t ^= t + (t ^ t >> np.uint32(7)) * (t | np.uint32(61))
        outputs: NDArray[np.uint32] = t ^ t >> np.uint32(14)
        return outputs

    def indices(self, n: int, size: int | Numbers) -> Numbers:
        """Return n integers in [0, size) for each client; size may be a column with one for each client."""
        return (self.block(n).astype(np.uint64) * np.asarray(size, np.uint64) >> np.uint64(32)).astype(np.intp)

    def randints(self, n: int, low: int, high: int) -> Numbers:
        """Return n integers in [low, high] for each client."""
        return low + self.indices(n, high - low + 1)

    def choices(self, n: int, pool: Texts) -> Texts:
        """Return n items of the pool for each client."""
        return pool[self.indices(n, len(pool))]

    def shuffled(self, n: int) -> Numbers:
        """Return the numbers below n in a random order for each client."""
        return np.argsort(self.block(n), axis=1, kind="stable")

    def uuids(self, n: int) -> Texts:
        """Return n version-4 UUIDs for each client, from sixteen outputs each."""
        drawn = (self.block(n * BYTES_OF_UUID) >> np.uint32(24)).astype(np.uint8).reshape(-1, BYTES_OF_UUID)
        drawn[:, 6] = drawn[:, 6] & 0x0F | 0x40
        drawn[:, 8] = drawn[:, 8] & 0x3F | 0x80
        text = np.full((len(drawn), 36), ord("-"), np.uint8)
        text[:, _DIGITS] = _PAIRS[drawn].view(np.uint8)
        return text.view("S36").reshape(-1, n)
