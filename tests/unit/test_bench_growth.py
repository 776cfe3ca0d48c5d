"""Figures of growth: what is computed from them, and the page that has them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from scripts.bench.growth.figures import Chart, Figures
from scripts.bench.growth.page import BEGIN, END, rendered

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
MAX_PICTURE_BYTES = 60_000
TABLE = """
| rows | 10 | 100 |
| --- | --: | --: |
| dbtools beside floor | 2.0 | 4.0 |
| exponent, dbtools |  | 1.30 |
| exponent, floor |  | 1.00 |
| CPU of a waiter, ms a second, dbtools | 2.5 | 1.2 |
| default settings, dbtools | done | out of locks |
| measurements | 3 | 3 |
"""


def figures() -> Figures:
    chart = Chart("reset", "rows", ("dbtools", "floor"))
    for size, seconds in ((10, (2.0, 1.0, 9.0)), (100, (40.0, 50.0, 30.0))):
        for one in seconds:
            chart.add("dbtools", size, one)
    for size in (10, 100):
        chart.add("floor", size, size / 10)
    chart.cpu["dbtools"] = {10: 0.0025, 100: 0.0012}
    chart.outcomes["dbtools"] = {10: "done", 100: "out of locks"}
    return Figures("a machine", "16.14", [chart])


def test_medians_ratios_and_exponents(tmp_path: Path) -> None:
    figures().write(tmp_path / "made" / "growth.json")
    read = Figures.read(tmp_path / "made" / "growth.json")
    (chart,) = read.charts
    assert chart.medians("dbtools") == [2.0, 40.0]
    assert chart.ratios("dbtools") == [2.0, 4.0]
    assert chart.exponents("floor") == [pytest.approx(1.0)]
    assert rendered(f"a\n{BEGIN}\nold\n{END}\nb\n", read) == (
        f"a\n{BEGIN}\n\nPostgreSQL 16.14; each time is a median, of as many measurements as a table's last line says."
        f"\nOn a machine.\n{TABLE}\n{END}\nb\n"
    )


def test_the_page_has_a_table_for_each_chart_and_pictures_that_are_small() -> None:
    page = (DOCS / "growth.md").read_text("utf-8")
    tables = page.partition(BEGIN)[2].partition(END)[0]
    assert tables.count("| --- |") == len(("reset", "clone", "load", "waiters", "tables"))
    pictures = sorted(DOCS.glob("growth-*.png"))
    assert [path.name for path in pictures if f"({path.name})" in page] == [path.name for path in pictures]
    assert len(pictures) == page.count("](growth-") == 3
    for path in pictures:
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG")
        assert len(data) < MAX_PICTURE_BYTES
        assert min(struct.unpack(">II", data[16:24])) > 300  # pixels
