"""A run as plain text, for terminals and the logs of CI. It needs no colour; with `color` it has some."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from dbtools.races.render import sanitize as words
from dbtools.races.render.fold import Fold, folded
from dbtools.races.render.layout import layout
from dbtools.races.render.rows import Kind, Rail, Row, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.races.render.rows import Lane, Picture
    from dbtools.races.trace import Trace

_NARROW = 16
"""Columns a lane's text has at least, however many lanes there are."""
_GAP = 2
_OUTPUT = 3
"""Lines of a program's output that are shown."""
_COLORS = {"": "", "faint": "2", "bold": "1", "bad": "1;31", "wait": "33", "switch": "36"}
_LEGEND = {
    "│": "in a transaction",
    "┊": "in a failed one",
    "┃": "waits",
    "·": "not chosen by the schedule",
    "~~": "the turn is taken",
    "!": "an error",
    "✗": "a failure",
}
_SIGNS = {State.IDLE: " ", State.OPEN: "│", State.FAILED: "┊", State.WAITING: "┃"}


def text(trace: Trace, *, width: int = 100, color: bool = False, whole: bool = False, token: str = "") -> str:
    """Return a run as text without a line end at the end. Its lanes take at most `width` columns.

    Long runs of one actor's steps are folded into a line, unless `whole`. A lane is never narrower than 16 columns:
    many actors take more than `width`.
    """
    picture = layout(trace)
    rows = picture.rows if whole else folded(picture.rows)
    sheet = _Sheet(picture, rows, width)
    lines = [sheet.heading(), *(line for row in rows for line in sheet.row(row))]
    drawn = "\n".join(line.draw(color=color) for line in lines)
    parts = [drawn, _painted(_legend(drawn), "faint" if color else ""), *_afterwards(picture, color=color, width=width)]
    if token:
        parts.append(f"Token: {token}\nReplay: invoke race.replay {token}")
    return "\n\n".join(part for part in parts if part)


class _Line:
    """Columns of a terminal that can be written to anywhere."""

    def __init__(self) -> None:
        self._cells: list[tuple[str, str]] = []

    def write(self, at: int, text: str, style: str = "") -> int:
        """Write over what is there and return the column after it."""
        for character in text:
            taken = words.column(character)
            if not taken and at and len(self._cells) >= at:
                before, its_style = self._cells[at - 1]
                self._cells[at - 1] = before + character, its_style
                continue
            self._cells += [(" ", "")] * (at + taken - len(self._cells))
            self._cells[at : at + taken] = [(character, style), ("", style)][:taken]
            at += taken
        return at

    def draw(self, *, color: bool) -> str:
        if not color:
            return "".join(text for text, _ in self._cells).rstrip()
        parts = []
        for style, cells in groupby(self._cells, key=lambda cell: cell[1]):
            parts.append(_painted("".join(text for text, _ in cells), style))
        return "".join(parts).rstrip()


class _Sheet:
    """Where the lanes of one picture are, and how a row is written into them."""

    def __init__(self, picture: Picture, rows: tuple[Row | Fold, ...], width: int) -> None:
        self._lanes = picture.lanes
        self._number = max(2, len(str(len(picture.trace.steps))))
        left = 2 + self._number + _GAP
        wanted = [max(map(words.columns, _texts(i, lane, rows)), default=0) for i, lane in enumerate(picture.lanes)]
        rails = [len(lane.sessions) + 1 for lane in picture.lanes]
        room = width - left - sum(rails) - _GAP * (len(rails) - 1)
        self._widths = _shared(wanted, max(room, _NARROW * len(rails)))
        self._rails = []
        """The column of each lane's first rail."""
        for rail, text in zip(rails, self._widths, strict=True):
            self._rails.append(left)
            left += rail + text + _GAP

    def heading(self) -> _Line:
        line = _Line()
        line.write(1 + self._number, "#", "bold")
        for i, lane in enumerate(self._lanes):
            line.write(self._text(i), words.cut(lane.name, self._widths[i]), "bold")
        return line

    def row(self, row: Row | Fold) -> Iterator[_Line]:
        line = self._ruled(row)
        if isinstance(row, Fold):
            line.write(2, "⋮".rjust(self._number), "faint")
            line.write(self._text(row.lane), words.cut(f"… {row.text}", self._widths[row.lane]), "faint")
            yield line
            return
        width, at = self._widths[row.lane], self._text(row.lane)
        line.write(0, "✗" if row.failed else "", "bad")
        if row.kind is Kind.STEP and row.step:
            line.write(2, str(row.step.number).rjust(self._number), "bad" if row.failed else "")
        if row.kind is Kind.SWITCH:
            line.write(at, f"{self._cut(row)} ".ljust(width, "~")[:width], "switch")
        else:
            line.write(at, self._cut(row), _style(row))
        if row.kind is Kind.WAIT:
            self._arrows(line, row)
        yield line
        if row.error and row.kind is Kind.STEP:
            line = self._ruled(row, after=True)
            line.write(at, words.cut(row.complaint, width), _style(row))
            yield line

    def _ruled(self, row: Row | Fold, *, after: bool = False) -> _Line:
        """Return a line with the rails of every session."""
        line = _Line()
        for at, rails in zip(self._rails, row.rails, strict=True):
            for j, rail in enumerate(rails):
                line.write(at + j, _sign(rail, after=after), "wait" if rail.state is State.WAITING else "faint")
        return line

    def _cut(self, row: Row) -> str:
        before, text, after = row.said(self._lanes[row.lane], switch="~~ ")
        width = self._widths[row.lane]
        return words.cut(before + words.cut(text, width - words.columns(before + after)) + after, width)

    def _arrows(self, line: _Line, row: Row) -> None:
        """Draw from the waiting step to those it waits for, over the rails in between."""
        start, end = self._rails[row.lane], self._text(row.lane) + words.columns(self._cut(row))
        taken = {self._rails[i] + j for i, rails in enumerate(row.rails) for j, r in enumerate(rails) if r != _IDLE}
        left = [self._rails[i] + j + 1 for i, j in row.towards if i < row.lane]
        right = [self._rails[i] + j - 1 for i, j in row.towards if i > row.lane]
        for at in range(min(left, default=start), start - 1):
            line.write(at, "◀" if at in left else "─", "wait") if at not in taken else None
        for at in range(end + 1, max(right, default=end) + 1):
            line.write(at, "▶" if at in right else "─", "wait") if at not in taken else None

    def _text(self, lane: int) -> int:
        return self._rails[lane] + len(self._lanes[lane].sessions) + 1


_IDLE = Rail(State.IDLE)


def _style(row: Row) -> str:
    if row.failed:
        return "bad"
    if row.kind in (Kind.WAIT, Kind.RESULT):
        return "wait"
    return "faint" if row.step and not row.step.choice else ""


def _sign(rail: Rail, *, after: bool) -> str:
    if after and rail.ends:
        return " "
    if rail.state is State.IDLE or after or not (rail.begins or rail.ends):
        return _SIGNS[rail.state]
    if rail.state is State.WAITING:
        return "┗" if rail.ends else "┏"
    return "[" if rail.begins and rail.ends else "┌" if rail.begins else "└"


def _texts(index: int, lane: Lane, rows: tuple[Row | Fold, ...]) -> Iterator[str]:
    """Yield all that a lane would show if it were wide enough."""
    yield lane.name
    for row in rows:
        if row.lane != index:
            continue
        if isinstance(row, Fold):
            yield f"… {row.text}"
            continue
        yield "".join(row.said(lane, switch="~~ "))
        if row.error:
            yield row.complaint


def _shared(wanted: list[int], room: int) -> list[int]:
    """Return widths that fit into the room: what is small keeps its width, the rest is shared equally."""
    widths = [0] * len(wanted)
    left = sorted(range(len(wanted)), key=lambda i: wanted[i])
    while left:
        i = left.pop(0)
        widths[i] = min(wanted[i], room // (len(left) + 1))
        room -= widths[i]
    return widths


def _afterwards(picture: Picture, *, color: bool, width: int) -> Iterator[str]:
    """Yield the paragraphs below the lanes: how the programs ended, and what is wrong."""
    lines = []
    for lane, how, output in picture.ends():
        lines.append(f"{lane.name}: {how}")
        lines += [f"  | {words.cut(line, width - 4)}" for line in output[-_OUTPUT:]]
    yield "\n".join(lines)
    lines = [_painted(f"✗ {said}", "bad" if color else "") for said in picture.failures()]
    if picture.trace.stalled or not lines:
        lines.append(picture.verdict)
    yield "\n".join(lines)


def _legend(drawn: str) -> str:
    """Return what the signs mean that occur."""
    return "   ".join(f"{sign} {meaning}" for sign, meaning in _LEGEND.items() if sign in drawn)


def _painted(text: str, style: str) -> str:
    return f"\x1b[{_COLORS[style]}m{text}\x1b[0m" if style and text else text
