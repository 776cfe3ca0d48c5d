"""The output of a running step: passed on line by line, and its end kept for the error.

However much a step writes, a fixed amount is held. Passwords are masked before anything leaves this module, and what
steers a terminal is taken out.
"""

from __future__ import annotations

import codecs
import re
from collections import deque
from typing import TYPE_CHECKING

from dbtools.db.secrets import mask

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_LINES = 200
"""How many lines are kept: enough for the traceback of a deep stack."""
MAX_LINE_CHARACTERS = 2_000
"""A longer line is passed on in pieces."""
MAX_PASSWORD_CHARACTERS = 500
"""The end of such a piece waits for the next one, so that no password is cut in two and then not known."""
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


class Output:
    """Takes a step's output as bytes; `forward` is given each line."""

    def __init__(self, forward: Callable[[str], None] | None) -> None:
        self._forward = forward
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._lines: deque[str] = deque(maxlen=MAX_LINES)
        self.unfinished = False
        """Whether the last line had no end, as a question to a person has none."""

    @property
    def lines(self) -> list[str]:
        """The last lines."""
        return list(self._lines)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        complete, newline, self._rest = (self._rest + self._decoder.decode(data)).rpartition("\n")
        if newline:
            self._take(complete)
        if len(self._rest) > MAX_LINE_CHARACTERS + MAX_PASSWORD_CHARACTERS:
            masked = mask(self._rest)
            self._take(masked[:-MAX_PASSWORD_CHARACTERS])
            self._rest = masked[-MAX_PASSWORD_CHARACTERS:]

    def finish(self) -> None:
        """Take the end of the output: a last line may have no newline."""
        rest = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        self.unfinished = bool(rest.strip())
        if self.unfinished:
            self._take(rest)

    def _take(self, text: str) -> None:
        text = mask(text)
        if not text.replace("\n", "").isprintable():
            text = _CONTROL.sub("", text)
        for line in text.split("\n"):
            shown = line.rstrip("\r").rpartition("\r")[2]  # a progress bar writes over its line
            for start in range(0, len(shown) or 1, MAX_LINE_CHARACTERS):
                piece = shown[start : start + MAX_LINE_CHARACTERS]
                self._lines.append(piece)
                if self._forward is not None:
                    self._forward(piece)
