"""Figures: what was measured, beside what is required of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

WIDEST = 80
"""Characters of a cell; what is longer is whole in the JSON, and in the test's failure where it is off."""


@dataclass(frozen=True)
class Figure:
    """One measured value. Without a requirement it is there to be read."""

    name: str
    value: float | str
    unit: str = ""
    required: str = ""
    holds: bool = True

    @property
    def text(self) -> str:
        """The value as people read it."""
        number = f"{self.value:.3g}" if isinstance(self.value, float) and self.value < 100 else self.value
        number = f"{number:.0f}" if isinstance(number, float) else number
        return f"{number} {self.unit}".rstrip()

    @property
    def cell(self) -> str:
        """The same, cut to fit into a table."""
        return self.text if len(self.text) <= WIDEST else f"{self.text[:WIDEST]}..."


class Skipped(Exception):
    """This machine lacks what the fault needs; says what."""


def shown(name: str, value: float | str, unit: str = "") -> Figure:
    """A figure of which nothing is required."""
    return Figure(name, value, unit)


def exactly(name: str, value: float | str, wanted: float | str) -> Figure:
    """A figure that has to be this one."""
    return Figure(name, value, "", f"{wanted}", value == wanted)


def at_most(name: str, value: float, limit: float, unit: str = "") -> Figure:
    """A figure that must not be greater."""
    return Figure(name, value, unit, f"<= {limit:g} {unit}".rstrip(), value <= limit)


def at_least(name: str, value: float, limit: float, unit: str = "") -> Figure:
    """A figure that must not be less."""
    return Figure(name, value, unit, f">= {limit:g} {unit}".rstrip(), value >= limit)


def none(name: str, found: Collection[object]) -> Figure:
    """How many were found, of which there must not be any; the first is shown."""
    first = f": {' '.join(str(next(iter(found))).split())}" if found else ""
    return Figure(name, f"{len(found)}{first}", "", "0", not found)
