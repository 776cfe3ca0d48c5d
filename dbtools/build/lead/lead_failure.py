"""The last words of a failed step: what went wrong, and where in the project.

Used by the programs beside it, which run as scripts and so import it from their own folder.
"""

from __future__ import annotations

import linecache
import os
import sys
import traceback
from typing import Iterator, Sequence

_NOT_THE_PROJECT = (
    "site-packages",
    "dist-packages",
    os.path.dirname(os.path.abspath(__file__)),
    os.path.dirname(os.__file__),
)


def fail(error: BaseException) -> None:
    """Print the traceback and then the type, the message and the place in the project. End with exit code 1."""
    traceback.print_exception(type(error), error, error.__traceback__)
    sys.stderr.write("\n" + explain(error) + "\n")
    sys.exit(1)


def explain(error: BaseException) -> str:
    """Return the exception's type and message, and on a line of its own the last place that is the project's.

    An exception that only wraps another one is left out: SQLAlchemy's around the driver's, a group's around its only
    member.
    """
    places = list(_places(error))
    while True:
        members: Sequence[BaseException] = getattr(error, "exceptions", ())
        inner = members[0] if len(members) == 1 else getattr(error, "orig", None)
        if not isinstance(inner, BaseException):
            break
        error = inner
        places += _places(error)
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    message = str(error).strip()
    if isinstance(error, SyntaxError):
        message = error.msg
    return "\n".join([f"{name}: {message}" if message else name, *(f"  at {place}" for place in places[-1:])])


def _places(error: BaseException) -> Iterator[str]:
    """Yield file:line of the project's own frames, the innermost last, with the line's text."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if os.path.isfile(file) and not any(part in os.path.abspath(file) for part in _NOT_THE_PROJECT):
            yield _place(file, line)
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        yield _place(error.filename, error.lineno)


def _place(file: str, line: int) -> str:
    path = os.path.relpath(file)
    path = os.path.abspath(file) if path.startswith(os.pardir) else path
    text = linecache.getline(file, line).strip()
    return f"{path}:{line}" + (f": {text}" if text else "")
