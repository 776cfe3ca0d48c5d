"""The tokens of the isolation-spec language, as PostgreSQL's specscanner.l finds them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

KEYWORDS = frozenset({"notices", "permutation", "session", "setup", "step", "teardown"})

# Only blanks are trimmed from a block, not newlines: a block on lines of its own keeps its first and last line end.
# A carriage return ends a comment, and every byte from 0x80 on counts as a letter. A NUL byte may stand in a block, a
# quoted name or a comment; the tester is a C program, so the text of a block or name ends there.
_TOKEN = re.compile(
    r"""
      (?P<space> [ \t\r\f\n]+ | \#[^\n\r]* )
    | (?P<word> [A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]* )
    | " (?P<quoted> (?: [^"\n] | "" )* ) "
    | \{ [ \t\r\f]* (?P<block> [^}]*? ) [ \t\r\f]* \}
    | (?P<number> [0-9]+ )
    | (?P<sign> [,()*] )
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    """One token and the line on which it begins, counted from 1."""

    kind: str
    """A keyword, a sign, "name", "block", "number" or "end"."""
    text: str
    """Without the quotes of a name and without the braces of a block."""
    line: int


def scan(text: str, fail: Callable[[int, str], NoReturn]) -> Iterator[Token]:
    """Yield the tokens of a text, and after the last one "end" for ever.

    Where the text is not in the language, `fail` is called with the line and the reason; it has to raise.
    """
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            fail(line, _why_unreadable(text[position]))
        kind = str(match.lastgroup)
        content = match[kind].partition("\0")[0]
        if kind == "word":
            yield Token(content if content in KEYWORDS else "name", content, line)
        elif kind == "quoted":
            yield Token("name", content.replace('""', '"'), line)
        elif kind != "space":
            yield Token(content if kind == "sign" else kind, content, line)
        line += match[0].count("\n")
        position = match.end()
    while True:
        yield Token("end", "", line)


def _why_unreadable(character: str) -> str:
    if character == "{":
        return 'a block begins that no "}" ends'
    if character == '"':
        return "a quoted name does not end on its line"
    if character == "\0":
        return "a NUL byte stands outside of blocks, quoted names and comments"
    return f'unexpected character "{character}"'
