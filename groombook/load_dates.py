"""Timestamps of `groombook.generate_dates` as arrays of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from groombook.generate_dates import MINUTES
from groombook.load_text import joined, pool

if TYPE_CHECKING:
    from groombook.generate_dates import Days
    from groombook.load_draws import Numbers, Texts

_MINUTES = pool(MINUTES)


class Calendar:
    """The days from `first` to `last`, counted from the as-of date, as text."""

    def __init__(self, days: Days, first: int, last: int) -> None:
        self._first = first
        self._days = pool(days[offset] for offset in range(first, last + 1))

    def at(self, day: Numbers, minute: Numbers | int) -> Texts:
        """Return a timestamp without time zone for each day, at one minute of it or each at its own."""
        assert day.min() >= self._first  # else it would count from the end
        return joined(self._days[day - self._first], _MINUTES[np.broadcast_to(np.asarray(minute), day.shape)])
