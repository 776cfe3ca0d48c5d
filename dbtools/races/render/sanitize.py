"""Texts that are safe to show on one line of a picture, whatever a statement holds.

Nothing in them moves the cursor, reverses the direction of writing, or breaks out of its place. Columns are counted as
terminals count them: two for East Asian wide characters and emoji, none for combining marks.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbtools.races.trace import Step

_MAX_CHARACTERS = 4_000
"""Characters of a statement that are looked at for its line. A line of a picture is far shorter."""
_MAX_TAG_COLUMNS = 24
"""Columns of a command tag. None of the server's tags is longer."""
_TERMINAL_CODE = re.compile(
    r"""
      ^ [^\n]* \r (?=[^\r\n]) | \r+ (?=\n|\Z)             # what the rest of the line is written over
    | (\x1b\[ | \x9b) [0-?]* [ -/]* [@-~]                  # a control sequence: colours, the cursor
    | \x1b [\]PX^_] [^\x07\x1b]* (\x07 | \x1b\\)          # a string: the window's title
    | \x1b [ -/]* [0-~]                                   # any other: a character set, the cursor's place
    | \x07                                               # the bell
    """,
    re.VERBOSE | re.MULTILINE,
)
"""What a terminal does not show, in the forms of ECMA-48; and what a progress bar has replaced."""
_COMMENT = re.compile(r"\s+|--[^\n]*(?:\n|$)|/\*.*?\*/", re.DOTALL)
_COUNT = re.compile(r"[A-Z ]+? (?:\d+ )?(\d{1,18})", re.ASCII)
_VERBS_WITH_OTHER_TAGS = ("WITH", "VALUES", "TABLE", "EXECUTE", "other")
"""First words of statements whose tag names another command: SELECT, INSERT, UPDATE, ..."""
_VERB = re.compile(r"[a-z]+", re.IGNORECASE | re.ASCII)


def printable(text: str) -> str:
    """Return text in which every character without a shape of its own is made visible. Line ends and tabs stay."""
    return text if text.isascii() and text.isprintable() else "".join(map(_visible, text))


def output(text: str) -> list[str]:
    """Return the lines of a program's output, printable, as a terminal would leave them, without colours."""
    return printable(_TERMINAL_CODE.sub("", text)).strip("\n").replace("\t", "    ").splitlines()


def one_line(text: str) -> str:
    """Return text on one line, printable, with single spaces."""
    return printable(" ".join(text[:_MAX_CHARACTERS].split()))


def columns(text: str) -> int:
    """Return how many columns of a terminal a printable text takes."""
    return len(text) if text.isascii() else sum(map(character_columns, text))


def character_columns(character: str) -> int:
    """Return how many columns a character takes: 0, 1 or 2."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf") or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, max_columns: int) -> str:
    """Return as much of a printable text as fits into `max_columns`, with … at the end if something is missing."""
    if columns(text) <= max_columns:
        return text
    taken, room = 0, max_columns - 1
    for character in text:
        room -= character_columns(character)
        if room < 0:
            break
        taken += 1
    return f"{text[:taken].rstrip()}…" if max_columns > 0 else ""


def statement(step: Step) -> str:
    """Return the statement of a step on one line, without the comments before it."""
    return one_line(_uncommented(step.sql)) or one_line(step.sql) or "(no text)"


def verb(step: Step) -> str:
    """Return the first word of a statement in capitals, such as INSERT; "other" if it does not begin with a word."""
    match = _VERB.match(_uncommented(step.sql))
    return match[0].upper() if match else "other"


def result(step: Step) -> str:
    """Return what the answer adds to the statement: a number of rows, or a tag that names another command.

    The tag names another command where it belongs to the last of several statements.
    """
    first, count = verb(step), _COUNT.fullmatch(step.tag)
    same = step.tag.partition(" ")[0] == first
    if count and (same or first in _VERBS_WITH_OTHER_TAGS):
        return f"{int(count[1]):,} row{'' if count[1] == '1' else 's'}"
    return "" if same else cut(one_line(step.tag), _MAX_TAG_COLUMNS)


def error(step: Step) -> str:
    """Return the error of a step under the name that failures have, such as 23505 invoices_pkey; "" without one."""
    return one_line(f"{step.sqlstate} {step.subject}") if step.sqlstate else ""


def _uncommented(sql: str) -> str:
    start, head = 0, sql[:_MAX_CHARACTERS]
    while match := _COMMENT.match(head, start):
        start = match.end()
    return head[start:]


def _visible(character: str) -> str:
    code = ord(character)
    if character in "\n\t" or (character.isprintable() and character not in "\ufffe\uffff"):
        return character
    if code < 0x20:
        return chr(0x2400 + code)  # Unicode's pictures of control characters
    if character == "\u200d":
        return character  # the joiner inside emoji
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
