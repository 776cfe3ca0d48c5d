"""Draw the pictures of docs/growth.md, and write its tables, from the figures that were measured last.

nox -s plots    in an environment of its own, which has matplotlib; nox -s bench -- growth --plot measures before
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import EngFormatter, FixedLocator, LogLocator, NullFormatter
from PIL import Image

from scripts.bench.growth.figures import FIGURES, Chart, Figures
from scripts.bench.growth.page import rendered
from scripts.bench.measure import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

DOCS = ROOT / "docs"
PANEL_INCHES, DPI = (4.6, 3.9), 90
COLOURS = 64
"""Of a picture's palette: few bytes, and no difference to be seen."""
LINES = (("#1f5fa8", "o", "-"), ("#b3541e", "s", "-"))
"""Colour, marker and dash of dbtools' methods."""
FLOOR = ("#6b6b6b", "^", "--")


def main() -> int:
    """Draw and write; return the exit code."""
    if not FIGURES.is_file():
        print("Nothing was measured yet: nox -s bench -- growth --plot", file=sys.stderr)
        return 1
    figures = Figures.read(FIGURES)
    charts = {chart.name: chart for chart in figures.charts}
    missing = {"reset", "clone", "load", "waiters", "tables"} - charts.keys()
    if missing:
        print(f"Not measured: {', '.join(sorted(missing))}. Run it without --only.", file=sys.stderr)
        return 1
    mpl.use("agg")
    mpl.rcParams |= {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    _picture("rows", [_times(charts["reset"]), _times(charts["clone"]), _times(charts["load"])])
    _picture("waiters", [_times(charts["waiters"], "time until the last has ended"), _cpu(charts["waiters"])])
    _picture("tables", [_times(charts["tables"])])
    page = DOCS / "growth.md"
    page.write_text(rendered(page.read_text("utf-8"), figures), "utf-8")
    return 0


def _picture(name: str, panels: list[Callable[[Axes], None]]) -> None:
    """Draw panels side by side."""
    width, height = PANEL_INCHES
    figure, axes = plt.subplots(1, len(panels), figsize=(width * len(panels), height), layout="constrained")
    for axis, draw in zip([axes] if len(panels) == 1 else axes, panels, strict=True):
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.grid(visible=True, color="#e4e4e4", linewidth=0.6)
        axis.set_axisbelow(True)
        draw(axis)
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.legend(frameon=False, fontsize=8)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI, facecolor="white")
    plt.close(figure)
    path = DOCS / f"growth-{name}.png"
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1000} kB")


def _prepare(axis: Axes, chart: Chart, unit: str, label: str) -> None:
    """Name the axes, and mark the sizes that were measured."""
    axis.set_title(chart.name)
    axis.set_xlabel(chart.size)
    axis.xaxis.set_major_locator(FixedLocator(chart.sizes))
    axis.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
    axis.xaxis.set_minor_locator(FixedLocator([]))
    axis.set_ylabel(label)
    axis.yaxis.set_major_formatter(EngFormatter(unit))


def _styles(chart: Chart) -> list[tuple[str, tuple[str, str, str]]]:
    return [*zip(chart.methods[:-1], LINES, strict=False), (chart.methods[-1], FLOOR)]


def _times(chart: Chart, label: str = "time") -> Callable[[Axes], None]:
    """Return what draws the times of a chart, and what a linear growth from its largest size would be."""

    def draw(axis: Axes) -> None:
        for method, (colour, marker, dash) in _styles(chart):
            exponent = chart.exponents(method)[-1]
            text = f"{method} (n^{exponent:.2f} at the end)"
            axis.plot(chart.sizes, chart.medians(method), dash, color=colour, marker=marker, markersize=5, label=text)
            refused = [size for size in chart.sizes if chart.outcomes.get(method, {}).get(size, "done") != "done"]
            heights = [chart.medians(method)[chart.sizes.index(size)] for size in refused]
            axis.plot(refused, heights, linestyle="", marker="x", color="#c00000", markersize=11, markeredgewidth=2)
        if any(end != "done" for ends in chart.outcomes.values() for end in ends.values()):
            title = "out of locks with the default settings"
            axis.plot([], [], linestyle="", marker="x", color="#c00000", markersize=9, markeredgewidth=2, label=title)
        bottom = axis.get_ylim()[0]
        last, top = chart.sizes[-1], chart.medians(chart.methods[0])[-1]
        first = max(chart.sizes[0], last * bottom / top)
        axis.plot([first, last], [top * first / last, top], ":", color="#9a9a9a", linewidth=1, label="linear: n^1")
        axis.set_ylim(bottom=bottom)
        _prepare(axis, chart, "s", label)

    return draw


def _cpu(chart: Chart) -> Callable[[Axes], None]:
    """Return what draws the CPU time of a waiter."""

    def draw(axis: Axes) -> None:
        for method, (colour, marker, dash) in _styles(chart):
            used = [chart.cpu[method][size] for size in chart.sizes]
            axis.plot(chart.sizes, used, dash, color=colour, marker=marker, markersize=5, label=method)
        _prepare(axis, chart, "s", "CPU time of a waiter in a second")

    return draw


if __name__ == "__main__":
    sys.exit(main())
