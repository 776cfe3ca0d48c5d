"""How much of a column is left out where contents are compared."""

from __future__ import annotations

import re
from enum import IntEnum

HIDDEN = "…"
"""Stands for a value that is not compared."""
_TIME = (
    r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?: ?(?:Z|[+-]\d\d(?::?\d\d)?)\b)?"
    r"|\b\d\d:\d\d:\d\d(?:[.,]\d+)?"
)
TIMES = re.compile(_TIME)
VARYING = re.compile(rf"{_TIME}|[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}|\d{{9,}}(?:\.\d+)?", re.IGNORECASE)
"""What may vary within a text: times, UUIDs, seconds since 1970."""


class Mask(IntEnum):
    """How much of a column is left out."""

    NONE = 0
    TIMES = 1
    """Times, UUIDs and long numbers, in values that the start state does not have."""
    NEW = 2
    """Values that the start state does not have."""
    ALL = 3
