"""What growth has measured: for each chart the methods that are compared, and the seconds that each size took."""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import statistics
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from scripts.bench.measure import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FIGURES = ROOT / "build" / "bench" / "growth.json"
"""What was measured last."""


@dataclass
class Chart:
    """Methods over sizes. The first method is that of dbtools, and the last one its floor."""

    name: str
    size: str
    """What grows, as it heads a column: "rows"."""
    methods: Sequence[str]
    taken: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    """By method and size, the seconds that each round took."""
    cpu: dict[str, dict[int, float]] = field(default_factory=dict)
    """By method and number of waiters, the seconds of CPU that one takes in a second, server's part included."""
    outcomes: dict[str, dict[int, str]] = field(default_factory=dict)
    """By method and size, how it ends on a server with the default settings."""

    def add(self, method: str, size: int, seconds: float) -> None:
        """Note one measurement, and show it."""
        self.taken.setdefault(method, {}).setdefault(size, []).append(seconds)
        print(f"{self.name}, {size:,} {self.size}, {method}: {seconds:.3f} s", file=sys.stderr, flush=True)

    @property
    def sizes(self) -> list[int]:
        """All sizes, the smallest first."""
        return sorted(self.taken[self.methods[0]])

    def medians(self, method: str) -> list[float]:
        """Return the median of the rounds for each size, in seconds."""
        return [statistics.median(self.taken[method][size]) for size in self.sizes]

    def ratios(self, method: str) -> list[float]:
        """Return for each size the median beside that of the floor."""
        return [one / floor for one, floor in zip(self.medians(method), self.medians(self.methods[-1]), strict=True)]

    def exponents(self, method: str) -> list[float]:
        """Return for each size but the first how the time grew from the one before: 1 is linear, 0 not at all."""
        points = [*zip(self.sizes, self.medians(method), strict=True)]
        return [
            math.log(after / before) / math.log(large / small)
            for (small, before), (large, after) in itertools.pairwise(points)
        ]


@dataclass
class Figures:
    """All charts of one run, and where they were measured."""

    machine: str
    server: str
    charts: list[Chart]

    def write(self, path: Path) -> None:
        """Write them as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return what `write` wrote."""
        facts = json.loads(path.read_text("utf-8"))
        charts = [
            Chart(**{**chart, **{name: _numbered(chart[name]) for name in ("taken", "cpu", "outcomes")}})
            for chart in facts.pop("charts")
        ]
        return cls(charts=charts, **facts)


def _numbered(by_method: dict[str, dict[str, Any]]) -> dict[str, dict[int, Any]]:
    """Return what JSON had with texts for sizes."""
    return {method: {int(size): value for size, value in sizes.items()} for method, sizes in by_method.items()}


def this_machine() -> str:
    """Return what of this machine decides the figures, and how busy it is with other things."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, {platform.system()} {platform.machine()},"
        f" load average {os.getloadavg()[1]:.1f} before the run"
    )
