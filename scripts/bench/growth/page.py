"""The tables of docs/growth.md: ratios and exponents, made from the figures of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.bench.growth.figures import Chart, Figures

BEGIN = "<!-- From here on written by nox -s bench -- growth --plot. -->"
END = "<!-- To here. -->"


def rendered(page: str, figures: Figures) -> str:
    """Return the page with what is between the marks made anew."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    where = (
        f"PostgreSQL {figures.server}; each time is a median, of as many measurements as a table's last line says."
        f"\nOn {figures.machine}."
    )
    tables = "\n\n".join("\n".join(_table(chart)) for chart in figures.charts)
    return f"{before}{BEGIN}\n\n{where}\n\n{tables}\n\n{END}{after}"


def _table(chart: Chart) -> Iterator[str]:
    """Yield the lines of a chart's table, a size a column."""
    floor = chart.methods[-1]
    yield _line(chart.size, [f"{size:,}" for size in chart.sizes])
    yield _line("---", ["--:"] * len(chart.sizes))
    for method in chart.methods[:-1]:
        yield _line(f"{method} beside {floor}", [f"{ratio:.1f}" for ratio in chart.ratios(method)])
    for method in chart.methods:
        yield _line(f"exponent, {method}", ["", *(f"{exponent:.2f}" for exponent in chart.exponents(method))])
    for method, used in chart.cpu.items():
        yield _line(f"CPU of a waiter, ms a second, {method}", [f"{1000 * used[size]:.1f}" for size in chart.sizes])
    for method, ends in chart.outcomes.items():
        yield _line(f"default settings, {method}", [ends[size] for size in chart.sizes])
    yield _line("measurements", [str(len(chart.taken[chart.methods[0]][size])) for size in chart.sizes])


def _line(title: str, cells: list[str]) -> str:
    return f"| {' | '.join([title, *cells])} |"
