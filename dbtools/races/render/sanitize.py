"""What pictures say in one line, whatever the statement holds: nothing in it may move the cursor, turn the writing
around or break out of its place.

Columns are counted as terminals do it: two for East Asian wide characters and emoji, none for combining marks.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbtools.races.trace import Step

_SEEN = 4_000
"""Characters of a statement that are looked at for its line; a line of a picture is far shorter."""
_TAG = 24
"""Columns of a command tag; none of the server's is longer."""
_COMMENT = re.compile(r"\s+|--[^\n]*(?:\n|$)|/\*.*?\*/", re.DOTALL)
_COUNT = re.compile(r"[A-Z ]+? (?:\d+ )?(\d{1,18})", re.ASCII)
_OTHERS = ("WITH", "VALUES", "TABLE", "EXECUTE", "other")
"""How statements may begin whose tag says SELECT, INSERT, UPDATE, ..."""
_VERB = re.compile(r"[a-z]+", re.IGNORECASE | re.ASCII)


def printable(text: str) -> str:
    """Return text with every character that has an effect instead of a shape made visible; line ends and tabs stay."""
    return text if text.isascii() and text.isprintable() else "".join(map(_visible, text))


def one_line(text: str) -> str:
    """Return text on one line, printable, with single spaces."""
    return printable(" ".join(text[:_SEEN].split()))


def columns(text: str) -> int:
    """Return how many columns of a terminal a printable text takes."""
    return len(text) if text.isascii() else sum(map(column, text))


def column(character: str) -> int:
    """Return how many columns a character takes: 0, 1 or 2."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf") or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return as much of a printable text as fits into `width` columns, with … where something is missing."""
    if columns(text) <= width:
        return text
    taken, room = 0, width - 1
    for character in text:
        room -= column(character)
        if room < 0:
            break
        taken += 1
    return f"{text[:taken].rstrip()}…" if width > 0 else ""


def statement(step: Step) -> str:
    """Return the text of a step as one line, without the comments before it."""
    return one_line(_uncommented(step.sql)) or one_line(step.sql) or "(no text)"


def verb(step: Step) -> str:
    """Return a statement's first word, in capitals: INSERT."""
    match = _VERB.match(_uncommented(step.sql))
    return match[0].upper() if match else "other"


def outcome(step: Step) -> str:
    """Return what the answer adds to the statement: a number of rows, or the tag where it names another command, as
    that of the last of several statements may.
    """
    first, count = verb(step), _COUNT.fullmatch(step.tag)
    same = step.tag.partition(" ")[0] == first
    if count and (same or first in _OTHERS):
        return f"{int(count[1]):,} row{'' if count[1] == '1' else 's'}"
    return "" if same else cut(one_line(step.tag), _TAG)


def error(step: Step) -> str:
    """Return the error of a step as failures name it: 23505 invoices_pkey; "" where it has none."""
    return one_line(f"{step.sqlstate} {step.subject}") if step.sqlstate else ""


def _uncommented(sql: str) -> str:
    start, head = 0, sql[:_SEEN]
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
        return character  # what joins emoji
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
