"""The output for people: ticks and results on standard output, waiting and errors on standard error.

It is plain text on purpose: six lines of ticks need no library, and a pipe, a log or NO_COLOR needs no special case.
"""

from __future__ import annotations

import json
import sys
import traceback
from typing import TYPE_CHECKING, Any

from dbtools.db.secrets import mask
from dbtools.errors import DbtoolsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


class Console:
    """The chain's report, for people. With `quiet`, only `data` writes to standard output."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.lines: list[str] = []
        """The transcript: all lines for standard output, with `quiet` as well."""

    def doing(self, text: str) -> None:
        """Print that a phase begins."""
        self.say(text)

    def done(self, text: str) -> None:
        """Print a tick and what is done."""
        self.say(f"✓ {text}")

    def note(self, text: str) -> None:
        """Print a line to standard error: a wait, or progress."""
        print(text, file=sys.stderr, flush=True)

    def say(self, text: str = "") -> None:
        """Print a line of the result."""
        self.lines.append(text)
        if not self.quiet:
            print(text, flush=True)

    def data(self, value: dict[str, Any]) -> None:
        """Print the result as one JSON document, for a machine."""
        print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows under headings in aligned columns, numbers to the right."""
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
    """Return an error as text for people: what, why, what to do. With `debug`, the traceback precedes it.

    Passwords are masked.
    """
    trace = "".join(traceback.format_exception(error)) if debug else ""
    return mask(trace + str(error))  # the text may come from a migration that shows its URL


def unexpected(error: Exception, *, debug: bool = False) -> str:
    """Format an unexpected exception (from the server, or a bug) like a DbtoolsError."""
    message = mask(" ".join(str(error).split())).rstrip(".")
    ours = DbtoolsError(
        "Unexpected error.",
        f"{type(error).__name__}: {message}. What was not committed is rolled back by the server.",
        "Run it again with --debug to see where. If the server is healthy, please report it.",
    )
    ours.__cause__ = error
    return explain(ours, debug=debug)


def write_evidence(path: Path, title: str, facts: dict[str, str], transcript: Sequence[str], code: int) -> None:
    """Write a transcript as Markdown, fit for a pull request."""
    lines = [f"# {title}", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += ["```text", *transcript, f"=== EXIT: {code} ===", "```", ""]
    path.write_text("\n".join(lines), "utf-8")
