"""Dates and times as text, from day offsets and minutes: no clock, no locale, no time zone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.errors import ConfigurationError

if TYPE_CHECKING:
    import datetime as dt

FIRST_YEAR, LAST_YEAR = 1900, 9900

MINUTES = tuple(f" {minute // 60:02}:{minute % 60:02}:00" for minute in range(24 * 60))
"""The time of day after so many minutes, to be put behind a date."""


class Days(dict[int, str]):
    """The day so many days after (or, negative, before) the as-of date, as "2026-11-23".

    A table that fills itself: the rows of a run share some hundreds of days, and formatting one for each
    of the tens of thousands of timestamps would cost more than all else that is done for a row.

    Raises:
        ConfigurationError: The as-of date is so far from now that birthdays or appointments may not exist.
    """

    def __init__(self, as_of: dt.date) -> None:
        super().__init__()
        if not FIRST_YEAR <= as_of.year <= LAST_YEAR:
            raise ConfigurationError(
                f"GroomBook's rows cannot be generated as of {as_of}.",
                f"The year must lie between {FIRST_YEAR} and {LAST_YEAR}, so that every row's dates exist.",
                "Give a date such as 2026-11-23, or none for today.",
            )
        self._ordinal = as_of.toordinal()
        self._from_ordinal = as_of.fromordinal

    def __missing__(self, offset: int) -> str:
        day = self[offset] = str(self._from_ordinal(self._ordinal + offset))[:10]
        return day

    def at(self, offset: int, minute: int) -> str:
        """Return a timestamp without time zone: "2026-11-23 08:15:00"."""
        return self[offset] + MINUTES[minute]

    def at_utc(self, offset: int, minute: int) -> str:
        """Return a timestamp with time zone; the zone is given, so that the server's own cannot leak in."""
        return f"{self[offset]}{MINUTES[minute]}+00"
