"""How times grow with rows, waiting seeders and tables, as tables, and as JSON for the pictures in docs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.console import table
from dbtools.server.sources import find_binaries
from scripts.bench.growth.figures import FIGURES, Chart, Figures, this_machine
from scripts.bench.growth.load import measure_load
from scripts.bench.growth.rows import measure_rows
from scripts.bench.growth.tables import measure_tables
from scripts.bench.growth.waiters import measure_waiters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUBJECTS = ("rows", "load", "waiters", "tables")
GROWTH_ROUNDS = 3


def bench_growth(rounds: int, *, full: bool, only: Sequence[str]) -> None:
    """Measure `only` some of SUBJECTS; print tables, and write the figures."""
    machine, charts = this_machine(), []
    for chart in _measure(rounds, full=full, only=only):
        charts.append(chart)
        print(_shown(chart), end="\n\n", flush=True)
    figures = Figures(machine, find_binaries().check_version(), charts)
    figures.write(FIGURES)
    print(f"Figures: {FIGURES}")


def _measure(rounds: int, *, full: bool, only: Sequence[str]) -> Iterator[Chart]:
    if "rows" in only:
        yield from measure_rows(rounds, full=full)
    if "load" in only:
        yield measure_load(rounds, full=full)
    if "waiters" in only:
        yield measure_waiters(rounds)
    if "tables" in only:
        yield measure_tables(rounds)


def _shown(chart: Chart) -> str:
    """Return a chart as a table, a size a line."""
    columns: dict[str, Sequence[str]] = {chart.size: [f"{size:,}" for size in chart.sizes]}
    for method in chart.methods:
        columns[method] = [f"{median:.3f} s" for median in chart.medians(method)]
    for method in chart.methods[:-1]:
        columns[f"{method} / floor"] = [f"{ratio:.2f}" for ratio in chart.ratios(method)]
    for method in chart.methods:
        columns[f"exponent, {method}"] = ["-", *(f"{exponent:.2f}" for exponent in chart.exponents(method))]
    for method, used in chart.cpu.items():
        columns[f"CPU of a waiter a second, {method}"] = [f"{1000 * used[size]:.1f} ms" for size in chart.sizes]
    for method, ends in chart.outcomes.items():
        columns[f"default settings, {method}"] = [ends[size] for size in chart.sizes]
    return table([*columns], [*zip(*columns.values(), strict=True)])
