"""Mulberry32: the pseudo-random stream behind every seeded row.

The generator is Tommy Ettinger's (2017, public domain). Its state is a counter that grows by a fixed odd
number, and an output is a hash of the counter alone. Output n is therefore a pure function of seed and n:
outputs can be taken in blocks, skipped at no cost and computed out of order, and are the same on every
machine.

It is not fit for secrets, and identifiers made from it are only as unique as their places in the stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")

INCREMENT = 0x6D2B79F5
MASK = 0xFFFFFFFF
BYTES_OF_UUID = 16

# RFC 4122, section 4.1.1: the top two bits of byte 8 are 1 and 0, so its first digit is one of four.
VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


class Mulberry32:
    """A stream of unsigned 32-bit outputs; every method takes its outputs from the same stream, in order.

    `seed` is any integer and counts modulo 2^32, so -1 and 4294967295 are the same stream.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & MASK

    def jump(self, n: int) -> None:
        """Skip n outputs, in constant time; a negative n goes back."""
        self._state = (self._state + n * INCREMENT) & MASK

    def draw(self) -> int:
        """Return the next output: 0 to 2^32 - 1."""
        return self.block(1)[0]

    def block(self, n: int) -> list[int]:
        """Return the next n outputs."""
        # "for x in (expression,)" compiles to a plain assignment, and a literal mask saves a look-up of a
        # global: together they make this the fastest form of the loop that was measured.
        return [
            t ^ (t >> 14)
            for s in self._states(n)
            for t in (((s ^ (s >> 15)) * (s | 1)) & 0xFFFFFFFF,)
            for t in (t ^ ((t + (t ^ (t >> 7)) * (t | 61)) & 0xFFFFFFFF),)
        ]

    def random(self) -> float:
        """Return a float in [0, 1): one output divided by 2^32."""
        return self.draw() / 2**32

    def index(self, size: int) -> int:
        """Return an integer in [0, size), from one output; size is at most 2^20.

        It is floor(output / 2^32 * size), computed in integers: both agree while the product fits 53 bits.
        """
        return self.draw() * size >> 32

    def indices(self, n: int, size: int) -> list[int]:
        """Return n integers in [0, size), each as `index` does."""
        return [output * size >> 32 for output in self.block(n)]

    def randint(self, low: int, high: int) -> int:
        """Return an integer in [low, high], both included, from one output."""
        return low + self.index(high - low + 1)

    def randints(self, n: int, low: int, high: int) -> list[int]:
        """Return n integers in [low, high], each as `randint` does."""
        size = high - low + 1
        return [low + (output * size >> 32) for output in self.block(n)]

    def choices(self, n: int, pool: Sequence[T]) -> list[T]:
        """Return n items of the pool, each found as `index` does; an item may come up again."""
        return [pool[position] for position in self.indices(n, len(pool))]

    def shuffled(self, items: Iterable[T]) -> list[T]:
        """Return the items in a random order: sorted by one output each, equal outputs in the order given."""
        pool = list(items)
        keys = self.block(len(pool))
        return [pool[position] for position in sorted(range(len(pool)), key=keys.__getitem__)]

    def uuid4(self) -> str:
        """Return an RFC 4122 version-4 UUID in lower case, from sixteen outputs."""
        return self.uuid4s(1)[0]

    def uuid4s(self, n: int) -> list[str]:
        """Return n UUIDs: byte i of each is floor(output / 2^32 * 256), then version and variant are set."""
        digits = self._high_bytes(n * BYTES_OF_UUID).hex()
        return [
            f"{digits[i : i + 8]}-{digits[i + 8 : i + 12]}-4{digits[i + 13 : i + 16]}"
            f"-{VARIANT[digits[i + 16]]}{digits[i + 17 : i + 20]}-{digits[i + 20 : i + 32]}"
            for i in range(0, len(digits), 2 * BYTES_OF_UUID)
        ]

    def _high_bytes(self, n: int) -> bytes:
        # The last step of the hash, t ^ t >> 14, leaves the top fourteen bits alone: bytes do without it.
        return bytes(
            [
                (t ^ (t + (t ^ (t >> 7)) * (t | 61))) >> 24 & 0xFF
                for s in self._states(n)
                for t in (((s ^ (s >> 15)) * (s | 1)) & 0xFFFFFFFF,)
            ]
        )

    def _states(self, n: int) -> list[int]:
        first = self._state + INCREMENT
        self.jump(n)
        return [s & 0xFFFFFFFF for s in range(first, first + n * INCREMENT, INCREMENT)]
