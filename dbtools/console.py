"""What a person sees: ticks and results on standard output, waiting and errors on standard error.

Plain text on purpose: six lines of ticks need no library, and nothing here has to be switched off for a pipe, a log or
NO_COLOR.
"""

from __future__ import annotations

import json
import sys
import traceback
from typing import TYPE_CHECKING, Any

from dbtools.db.dsn import mask
from dbtools.errors import DbtoolsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


class Console:
    """The chain's report, for people. With `quiet`, ticks go nowhere: standard output is kept for the result."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self.lines: list[str] = []
        """Everything that went, or would have gone, to standard output: the transcript."""

    def doing(self, text: str) -> None:
        """A phase begins."""
        self.say(text)

    def done(self, text: str) -> None:
        """Something is done."""
        self.say(f"✓ {text}")

    def note(self, text: str) -> None:
        """Something a person who waits wants to know."""
        print(text, file=sys.stderr, flush=True)

    def say(self, text: str = "") -> None:
        """A line of the result."""
        self.lines.append(text)
        if not self._quiet:
            print(text, flush=True)

    def data(self, value: dict[str, Any]) -> None:
        """The result for a machine: one JSON document."""
        print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows under headings in aligned columns; numbers to the right."""
    body = [tuple(row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(headings, *body, strict=True)]
    numeric = [all(cell[:1].isdigit() or cell == "-" for cell in column) for column in zip(*body, strict=True)]
    numeric = numeric or [False] * len(headings)
    lines = []
    for row in (headings, ["-" * width for width in widths], *body):
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def explain(error: DbtoolsError, *, debug: bool = False) -> str:
    """Return an error as people read it: what, why, what to do; with the traceback, masked, in `debug`."""
    trace = "".join(traceback.format_exception(error)) if debug else ""
    return mask(trace + str(error))  # the words may be those of a migration that shows its URL


def unexpected(error: Exception, *, debug: bool = False) -> str:
    """Return an error that is none of ours in the same form: the server's, where it broke off, or a bug."""
    words = mask(" ".join(str(error).split())).rstrip(".")
    ours = DbtoolsError(
        "Something went wrong that dbtools did not foresee.",
        f"{type(error).__name__}: {words}. What was not committed is rolled back by the server.",
        "Run it again with --debug to see where; if the server is well, please report it.",
    )
    ours.__cause__ = error
    return explain(ours, debug=debug)


def write_evidence(path: Path, title: str, facts: dict[str, str], transcript: Sequence[str], code: int) -> None:
    """Write a transcript as Markdown, fit for a pull request."""
    lines = [f"# {title}", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += ["```text", *transcript, f"=== EXIT: {code} ===", "```", ""]
    path.write_text("\n".join(lines), "utf-8")
