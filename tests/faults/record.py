"""The rows that were played: their figures, as one table and as JSON."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Protocol

import pytest

from dbtools.console import table
from dbtools.errors import DbtoolsError
from tests.faults.figures import Figure, Skipped

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Play(Protocol):
    """Measures a row under a title for people; fails the test when a figure is off."""

    def __call__(self, title: str, figures: Iterable[Figure], /) -> None:
        """Measure it."""


HEADINGS = ("fault", "figure", "measured", "required", "")


@dataclass
class Row:
    """One fault: what was measured, and for how long."""

    name: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def off(self) -> list[str]:
        """The figures that are not what is required, a line each."""
        return [
            f"{self.title}: {figure.name}: {figure.text} (required: {figure.required or 'not skipped'})"
            for figure in self.figures
            if not figure.holds
        ]


class Record:
    """The rows of one session of tests."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def play(self, name: str, title: str, figures: Iterable[Figure]) -> None:
        """Measure a row; fail the test with all figures that are off.

        The figures of a row that breaks off are kept. A row that this machine cannot show is skipped, and fails where
        CI is set.
        """
        row = Row(name, title)
        self.rows.append(row)
        started = time.monotonic()
        skipped = ""
        try:
            row.figures.extend(figures)
        except Skipped as error:
            skipped = str(error)
            row.figures.append(Figure("skipped", skipped, holds=not os.environ.get("CI")))
        except Exception as error:
            words = " ".join(str(error).split()) if isinstance(error, DbtoolsError) else f"{error!r}"
            row.figures.append(Figure("broke off", words, "", "0", holds=False))
            raise AssertionError("\n".join(row.off)) from error
        finally:
            row.seconds = round(time.monotonic() - started, 1)
        if row.off:
            pytest.fail("\n".join(row.off), pytrace=False)
        if skipped:
            pytest.skip(skipped)

    def table(self) -> str:
        """Return a line a figure, with what is required of it."""
        lines = [
            (
                "" if number else row.title,
                figure.name,
                figure.cell,
                figure.required or "-",
                "" if figure.holds else "OFF",
            )
            for row in self.rows
            for number, figure in enumerate(row.figures)
        ]
        return table(HEADINGS, lines)

    def write(self, path: Path, *, full: bool) -> None:
        """Write all figures as JSON."""
        rows = [
            {"fault": row.name, "seconds": row.seconds, "figures": [asdict(figure) for figure in row.figures]}
            for row in self.rows
        ]
        off = [line for row in self.rows for line in row.off]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"full": full, "off": off, "rows": rows}, indent=2), "utf-8")
