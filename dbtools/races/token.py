"""A schedule as a short string that anyone can replay: pgr1-3f9a4be07c12-A2.B.A-ace8.

Four parts: the version, the scenario, the runs, and a checksum. Twelve hex digits identify the scenario: four hash its
name, four its definition, four the statements of the run (omitted when those vary between runs). A run is an actor (A,
B, C, ... in the scenario's order) and how many steps it may choose; without a number it goes on until it is blocked or
finished. Only letters, digits, "." and "-" occur, so no shell, file system or URL needs a quote.

The checksum is CRC-16 over everything before it. It detects every error burst of at most 16 bits, such as one changed
character (8 bits) or two swapped neighbours (16); anything else passes once in 65,536.
"""

from __future__ import annotations

import binascii
import contextlib
import hashlib
import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.errors import NOT_RUN, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = "pgr1"

_SUBJECT = re.compile(r"([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})?", re.ASCII)
_RUN = re.compile(r"([A-Z])([1-9][0-9]{0,5})?", re.ASCII)
_CHECK = re.compile(r"[0-9a-f]{4}", re.ASCII)
_LETTERS = f"{string.ascii_letters}{string.digits}.-_"
_LONG_TOKEN = 100
"""Characters above which no correction is suggested: too many tokens are one character away."""
_FORM = f"A token reads {VERSION}-SCENARIO-RUNS-CHECK, such as pgr1-3f9a4be07c12-A2.B.A-ace8."
_PARTS = ("The scenario is", "The runs are", "The checksum is")
_AGAIN = "Copy the whole token again from where it was reported."


@dataclass(frozen=True)
class Token:
    """The contents of a token."""

    scenario: str
    """Four hex digits of the scenario's name."""
    state: str
    """Four hex digits of the scenario's definition, and of the server's major version."""
    runs: tuple[tuple[str, int | None], ...]
    """The letter of an actor, and how many of its choices follow; None: until it is blocked or finished."""
    statements: str = ""
    """Four hex digits of the statements of the run; "" if they are not known, or vary between runs."""

    def __str__(self) -> str:
        return encode(self.scenario, self.state, self.runs, self.statements)


def shorten(text: str) -> str:
    """Return four hex digits that stand for a text in a token."""
    return hashlib.sha256(text.encode()).hexdigest()[:4]


def encode(scenario: str, state: str, runs: Sequence[tuple[str, int | None]], statements: str = "") -> str:
    """Return the token of a schedule.

    Raises:
        ValueError: A part is not four hex digits, or a run is not a letter and at most six digits.
    """
    subject = f"{scenario}{state}{statements}"
    if len(scenario) != 4 or len(state) != 4 or not _SUBJECT.fullmatch(subject):
        raise ValueError(f"each part is four hex digits, not {scenario!r}, {state!r}, {statements!r}")
    spelled = spell(runs)
    for word in spelled.split("."):
        if not _RUN.fullmatch(word):
            raise ValueError(f"a run is a letter and at most six digits, not {word!r}")
    body = f"{VERSION}-{subject}-{spelled}"
    return f"{body}-{_checksum(body)}"


def spell(runs: Sequence[tuple[str, int | None]]) -> str:
    """Return the runs as a token has them: "A2.B.A"."""
    return ".".join(f"{actor}{'' if steps is None else steps}" for actor, steps in runs)


def letter(actor: int) -> str:
    """Return the letter of an actor: A for 0."""
    return chr(ord("A") + actor)


def index(letter: str) -> int:
    """Return the number of the actor with this letter: 0 for A."""
    return ord(letter) - ord("A")


def is_token(text: str) -> bool:
    """Return whether a text is meant to be a token rather than a scenario's name; it need not be valid."""
    return re.match(r"\s*pgr[0-9]+-", text) is not None


def decode(token: str) -> Token:
    """Return the contents of a token, without regard to white space around it.

    Raises:
        ConfigurationError: It is not a token, or one of another version, or was changed since it was made.
    """
    token = token.strip()
    version, _, rest = token.partition("-")
    if not re.fullmatch(r"pgr[0-9]{1,9}", version, re.ASCII):
        raise _wrong(token, "is not a race token", _FORM, _AGAIN)
    if version != VERSION:
        why = f"It is of version {version[3:]}; this dbtools reads version {VERSION[3:]} only."
        raise _wrong(
            token, "cannot be replayed here", why, "Replay it with the dbtools that made it, or explore again."
        )
    if rest.count("-") != 2:
        raise _wrong(token, "is not a whole race token", _FORM, _AGAIN)
    try:
        return _parse(token)
    except ValueError as error:
        raise _wrong(token, "was changed since it was made", str(error), f"{_suggestion(token)}{_AGAIN}") from None


def _parse(token: str) -> Token:
    """Return the contents of a token, or raise a ValueError that says what is wrong with it."""
    body, _, check = token.rpartition("-")
    version, subject, runs = body.split("-")
    parts = _SUBJECT.fullmatch(subject)
    words = [(word, _RUN.fullmatch(word)) for word in runs.split(".")]
    bad = next((word for word, match in words if not match), None)
    if version != VERSION or parts is None:
        raise ValueError(f"The scenario {subject!r} is not eight or twelve digits of 0-9 and a-f.")
    if bad is not None:
        raise ValueError(f"The run {bad!r} is not a capital letter with a number of steps or without one.")
    if not _CHECK.fullmatch(check):
        raise ValueError(f"The checksum {check!r} is not four digits of 0-9 and a-f.")
    if check != _checksum(body):
        raise ValueError("Its checksum does not fit.")
    scenario, state, statements = parts.groups(default="")
    schedule = tuple((word[0], int(word[1:]) if word[1:] else None) for word, _ in words)
    return Token(scenario, state, schedule, statements)


def _checksum(body: str) -> str:
    return f"{binascii.crc_hqx(body.encode('ascii'), 0xFFFF):04x}"


def _wrong(token: str, what: str, why: str, hint: str) -> ConfigurationError:
    shown = token if len(token) <= _LONG_TOKEN else f"{token[:_LONG_TOKEN]}..."
    return ConfigurationError(f"{shown!r} {what}.", f"{why}", hint, NOT_RUN)


def _suggestion(token: str) -> str:
    """Return which part is damaged, if exactly one valid token is a changed character or a swap of neighbours away."""
    if len(token) > _LONG_TOKEN:
        return ""
    near = {token[:i] + letter + token[i + 1 :] for i in range(len(token)) for letter in _LETTERS}
    near |= {token[:i] + token[i + 1] + token[i] + token[i + 2 :] for i in range(len(token) - 1)}
    valid = []
    for candidate in near:
        with contextlib.suppress(ValueError):
            _parse(candidate)
            valid.append(candidate)
    if len(valid) != 1:
        return ""
    (meant,) = valid
    parts = zip(_PARTS, meant.rsplit("-", 2), token.rsplit("-", 2), strict=True)
    return f"{next(name for name, a, b in parts if a != b)} one slip away from {meant}. "
