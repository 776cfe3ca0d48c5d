"""The output: ticks and results on standard output, waiting and errors on standard error.

It is plain text on purpose: six lines of ticks need no library, and a pipe, a log or NO_COLOR needs no special case.
With DBTOOLS_LOG=json every line is a JSON object instead, all of them on standard output (docs/containers.md).
"""

from __future__ import annotations

import codecs
import datetime as dt
import json
import os
import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dbtools.db.secrets import mask
from dbtools.errors import UNCHANGED, ConfigurationError, DbtoolsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_PLAIN = {"✓": "OK", "✗": "FAILED", "·": "-", "…": "...", "→": "->", "│": "|", "┌": ",", "└": "`", "■": "#"}
"""What stands for a character that the stream's encoding has not; "?" for any other."""


_COMMAND = re.compile(r"\binvoke (?=[a-z])")


def _plainly(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(_PLAIN.get(character, "?") for character in error.object[error.start : error.end]), error.end


codecs.register_error("dbtools", _plainly)


def program() -> str:
    """Return how this program was called: "invoke", "dbtools", "python -m dbtools"."""
    called = Path(sys.argv[0])
    return f"python -m {called.parent.name}" if called.name == "__main__.py" else called.name


def as_typed(text: str) -> str:
    """Return a text in which commands that begin with `invoke` begin with `dbtools`, where that is what was called."""
    called = program()
    return _COMMAND.sub(f"{called} ", text) if called.rpartition(" ")[2] == "dbtools" else text


def accept_any_text() -> None:
    """Let standard output and error take any text, whatever their encoding: a tick must not end a run."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a program that runs a task may have put another one there
        if reconfigure is not None:
            reconfigure(errors="dbtools")


def logs_json() -> bool:
    """Return whether DBTOOLS_LOG asks for JSON lines.

    Raises:
        ConfigurationError: It asks for something else.
    """
    wanted = os.environ.get("DBTOOLS_LOG", "")
    if wanted not in ("", "text", "json"):
        raise ConfigurationError(f"DBTOOLS_LOG is not known: {wanted!r}.", "", "Set it to json, or to text.", UNCHANGED)
    return wanted == "json"


def log(level: str, event: str, message: str, **facts: object) -> None:
    """Print one line of a log for machines. Passwords are masked."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"time": now, "level": level, "event": event, "message": mask(message), "pid": os.getpid(), **facts}
    print(json.dumps(line, ensure_ascii=False, default=str), flush=True)


class Console:
    """The chain's report. With `quiet`, only `data` writes to standard output."""

    answered: ClassVar[bool] = False
    """Whether the result was printed: a machine reads one document, so a failure adds none to it."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.lines: list[str] = []
        """The transcript: all lines for standard output, with `quiet` as well."""
        self._json = logs_json()

    def doing(self, text: str) -> None:
        """Print that a phase begins."""
        self._print("begin", text, text)

    def done(self, text: str, **facts: object) -> None:
        """Print a tick and what is done. `facts` are for a log alone."""
        self._print("done", f"✓ {text}", text, **facts)

    def note(self, text: str) -> None:
        """Print a line to standard error: a wait, or progress."""
        text = as_typed(text)
        if self._json:
            log("info", "note", text)
        else:
            print(text, file=sys.stderr, flush=True)

    def progress(self, text: str) -> None:
        """Show how far a run is, on a terminal alone: the next text takes the line, and "" gives it back."""
        if sys.stderr.isatty() and not self.quiet and not self._json:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def say(self, text: str = "") -> None:
        """Print a line of the result."""
        self._print("line", text, text)

    def data(self, value: dict[str, Any]) -> None:
        """Print the result as one JSON document, for a machine."""
        Console.answered = True
        if self._json:
            log("info", "result", "", result=value)
        else:
            print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)

    def _print(self, event: str, text: str, message: str, **facts: object) -> None:
        text, message = as_typed(text), as_typed(message)
        self.lines.append(text)
        if self._json:
            log("info", event, message, **facts)
        elif not self.quiet:
            print(text, flush=True)


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
    return mask(trace + as_typed(str(error)))  # the text may come from a migration that shows its URL


def unexpected(error: Exception) -> DbtoolsError:
    """Return the error for an exception that was not foreseen: from the server, or a bug."""
    message = mask(" ".join(str(error).split())).rstrip(".")
    ours = DbtoolsError(
        "Unexpected error.",
        f"{type(error).__name__}: {message}.",
        "Run it again with --debug to see where. If the server is healthy, please report it.",
        "What was not committed is rolled back by the server.",
    )
    ours.__cause__ = error
    return ours


def report_failure(error: DbtoolsError, code: int, *, json: bool = False, debug: bool = False) -> str | None:
    """Return what is to be printed on standard error where a task fails with the exit code `code`.

    With `json`, prints {"error": …} on standard output, unless the result is there; where the log is for machines,
    prints a line of it and returns None. Passwords are masked.
    """
    texts = {"what": error.what, "why": error.why, "state": error.state, "hint": error.hint}
    facts = {"type": type(error).__name__, "exit_code": code} | {
        name: mask(as_typed(text)) for name, text in texts.items()
    }
    try:
        for_machines = logs_json()
    except ConfigurationError:  # which may be what failed
        for_machines = False
    if for_machines:
        trace = {"traceback": explain(error, debug=True).splitlines()} if debug else {}
        log("error", "error", as_typed(error.what), **facts, **trace)
        return None
    if json and not Console.answered:
        Console().data({"error": facts})
    return explain(error, debug=debug)
