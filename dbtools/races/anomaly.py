"""The anomaly of a failing run: its name, and what bears the name out. `naming` finds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbtools.races.dependencies import Dependency


@dataclass(frozen=True)
class Anomaly:
    """What a failing run is called, and why."""

    name: str
    """Such as "lost update"."""
    why: str
    """What makes it one, in a sentence or two."""
    dependencies: tuple[Dependency, ...] = ()
    """Those that bear it out."""
    inserted: str = ""
    """The relation into which both have inserted what each had found missing; "" in other anomalies."""
    lines: tuple[str, ...] = ()
    """What bears it out where that is no dependency: who waited for whom."""

    @property
    def evidence(self) -> list[str]:
        """What bears the name out, in lines."""
        return [*(str(dependency) for dependency in self.dependencies), *self.lines]
