"""A run as plain text, for terminals and the logs of CI. It can be read without colour; `color` adds some."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from dbtools.races.render import sanitize
from dbtools.races.render.differences import rows_that_differ
from dbtools.races.render.fold import Fold, fold_rows
from dbtools.races.render.layout import layout
from dbtools.races.render.rows import Kind, Row, State, Track

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.races.render.rows import Lane, Picture
    from dbtools.races.trace import Trace

_MIN_LANE_COLUMNS = 16
"""The text of a lane is never narrower, however many lanes there are."""
_GAP_COLUMNS = 2
_MAX_OUTPUT_LINES = 3
"""Lines that are shown of a program's output, the last ones."""
_SGR_CODES = {"": "", "faint": "2", "bold": "1", "bad": "1;31", "wait": "33", "switch": "36"}
"""The terminal's codes for the styles used here."""
_LEGEND = {
    "│": "in a transaction",
    "┊": "in a failed one",
    "┃": "waits",
    "·": "not chosen by the schedule",
    "~~": "the turn is taken",
    "!": "an error",
    "✗": "a failure",
}
_STATE_SIGNS = {State.IDLE: " ", State.OPEN: "│", State.FAILED: "┊", State.WAITING: "┃"}
_IDLE = Track(State.IDLE)


def text(trace: Trace, *, width: int = 100, color: bool = False, whole: bool = False, token: str = "") -> str:
    """Return a run as text, without a line end at the end. Its lanes take at most `width` columns.

    Long runs of one actor's steps are folded into one line each, unless `whole`. A lane is never narrower than 16
    columns, so many actors may take more than `width`.
    """
    picture = layout(trace)
    rows = picture.rows if whole else fold_rows(picture.rows)
    sheet = _Sheet(picture, rows, width)
    lines = [sheet.heading(), *(line for row in rows for line in sheet.row(row))]
    drawn = "\n".join(line.draw(color=color) for line in lines)
    legend = _colorize(_legend(drawn), "faint" if color else "")
    parts = [drawn, legend, *_paragraphs_below(picture, color=color, width=width)]
    if token:
        parts.append(f"Token: {token}\nReplay: invoke race.replay {token}")
    return "\n\n".join(part for part in parts if part)


class _Line:
    """A line of a terminal, in which any column can be written to."""

    def __init__(self) -> None:
        self._cells: list[tuple[str, str]] = []
        """Character and style per column. The second column of a wide character is empty."""

    def write(self, at: int, text: str, style: str = "") -> int:
        """Write over the columns from `at` on and return the column after the text."""
        for character in text:
            taken = sanitize.character_columns(character)
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
            parts.append(_colorize("".join(text for text, _ in cells), style))
        return "".join(parts).rstrip()


class _Sheet:
    """The columns of the lanes of one picture, and how a row is written into them."""

    def __init__(self, picture: Picture, rows: tuple[Row | Fold, ...], width: int) -> None:
        self._lanes = picture.lanes
        self._number_columns = max(2, len(str(len(picture.trace.steps))))
        left = 2 + self._number_columns + _GAP_COLUMNS
        wanted = [
            max(map(sanitize.columns, _lane_texts(i, lane, rows)), default=0) for i, lane in enumerate(picture.lanes)
        ]
        track_columns = [len(lane.sessions) + 1 for lane in picture.lanes]
        room = width - left - sum(track_columns) - _GAP_COLUMNS * (len(track_columns) - 1)
        self._text_columns = _share(wanted, max(room, _MIN_LANE_COLUMNS * len(track_columns)))
        self._track_starts = []
        """The column of each lane's first track."""
        for tracks, text in zip(track_columns, self._text_columns, strict=True):
            self._track_starts.append(left)
            left += tracks + text + _GAP_COLUMNS

    def heading(self) -> _Line:
        line = _Line()
        line.write(1 + self._number_columns, "#", "bold")
        for i, lane in enumerate(self._lanes):
            line.write(self._text_start(i), sanitize.cut(lane.name, self._text_columns[i]), "bold")
        return line

    def row(self, row: Row | Fold) -> Iterator[_Line]:
        if isinstance(row, Fold):
            yield self._fold_line(row)
            return
        yield self._row_line(row)
        if row.released and row.error:
            line = self._tracks_line(row, after=True)
            line.write(
                self._text_start(row.lane),
                sanitize.cut(row.error_text, self._text_columns[row.lane]),
                _style(row),
            )
            yield line

    def _fold_line(self, fold: Fold) -> _Line:
        line = self._tracks_line(fold)
        line.write(2, "⋮".rjust(self._number_columns), "faint")
        text = sanitize.cut(f"… {fold.text}", self._text_columns[fold.lane])
        line.write(self._text_start(fold.lane), text, "faint")
        return line

    def _row_line(self, row: Row) -> _Line:
        line = self._tracks_line(row)
        start, width = self._text_start(row.lane), self._text_columns[row.lane]
        line.write(0, "✗" if row.failed else "", "bad")
        if row.released:
            line.write(2, str(row.released.number).rjust(self._number_columns), "bad" if row.failed else "")
        if row.kind is Kind.SWITCH:
            line.write(start, f"{self._fitted_text(row)} ".ljust(width, "~")[:width], "switch")
        else:
            line.write(start, self._fitted_text(row), _style(row))
        if row.kind is Kind.WAIT:
            self._draw_arrows(line, row)
        return line

    def _tracks_line(self, row: Row | Fold, *, after: bool = False) -> _Line:
        """Return a line that holds only the tracks; with `after`, for a second line of the same row."""
        line = _Line()
        for start, tracks in zip(self._track_starts, row.tracks, strict=True):
            for j, track in enumerate(tracks):
                line.write(start + j, _sign(track, after=after), "wait" if track.state is State.WAITING else "faint")
        return line

    def _fitted_text(self, row: Row) -> str:
        before, text, after = row.line_parts(self._lanes[row.lane], switch_sign="~~ ")
        width = self._text_columns[row.lane]
        return sanitize.cut(before + sanitize.cut(text, width - sanitize.columns(before + after)) + after, width)

    def _draw_arrows(self, line: _Line, row: Row) -> None:
        """Draw from the waiting step to the sessions it waits for. Tracks in between that are not idle stay visible."""
        start = self._track_starts[row.lane]
        end = self._text_start(row.lane) + sanitize.columns(self._fitted_text(row))
        taken = {
            self._track_starts[i] + j
            for i, tracks in enumerate(row.tracks)
            for j, track in enumerate(tracks)
            if track != _IDLE
        }
        left = [self._track_starts[i] + j + 1 for i, j in row.waits_for if i < row.lane]
        right = [self._track_starts[i] + j - 1 for i, j in row.waits_for if i > row.lane]
        for column in range(min(left, default=start), start - 1):
            if column not in taken:
                line.write(column, "◀" if column in left else "─", "wait")
        for column in range(end + 1, max(right, default=end) + 1):
            if column not in taken:
                line.write(column, "▶" if column in right else "─", "wait")

    def _text_start(self, lane: int) -> int:
        return self._track_starts[lane] + len(self._lanes[lane].sessions) + 1


def _style(row: Row) -> str:
    if row.failed:
        return "bad"
    if row.kind in (Kind.WAIT, Kind.RESULT):
        return "wait"
    return "faint" if row.step and not row.step.choice else ""


def _sign(track: Track, *, after: bool) -> str:
    if after and track.ends:
        return " "
    if track.state is State.IDLE or after or not (track.begins or track.ends):
        return _STATE_SIGNS[track.state]
    if track.state is State.WAITING:
        return "┗" if track.ends else "┏"
    return "[" if track.begins and track.ends else "┌" if track.begins else "└"


def _lane_texts(index: int, lane: Lane, rows: tuple[Row | Fold, ...]) -> Iterator[str]:
    """Yield every text of a lane, uncut."""
    yield lane.name
    for row in rows:
        if row.lane != index:
            continue
        if isinstance(row, Fold):
            yield f"… {row.text}"
            continue
        yield "".join(row.line_parts(lane, switch_sign="~~ "))
        if row.error:
            yield row.error_text


def _share(wanted: list[int], room: int) -> list[int]:
    """Return widths that fit into the room: small ones are given in full, the others share the rest equally."""
    widths = [0] * len(wanted)
    left = sorted(range(len(wanted)), key=lambda i: wanted[i])
    while left:
        i = left.pop(0)
        widths[i] = min(wanted[i], room // (len(left) + 1))
        room -= widths[i]
    return widths


def _paragraphs_below(picture: Picture, *, color: bool, width: int) -> Iterator[str]:
    """Yield the paragraphs below the lanes: how the programs ended, and what is wrong."""
    lines = []
    for lane, how, output in picture.ends():
        lines.append(f"{lane.name}: {how}")
        lines += [f"  | {sanitize.cut(line, width - 4)}" for line in output[-_MAX_OUTPUT_LINES:]]
    yield "\n".join(lines)
    lines = [_colorize(f"✗ {failure}", "bad" if color else "") for failure in picture.failures()]
    lines += [f"  {line}" for line in rows_that_differ([*picture.differences()])]
    if picture.trace.stalled or not lines:
        lines.append(picture.verdict)
    yield "\n".join(lines)


def _legend(drawn: str) -> str:
    """Return the meanings of the signs that occur."""
    return "   ".join(f"{sign} {meaning}" for sign, meaning in _LEGEND.items() if sign in drawn)


def _colorize(text: str, style: str) -> str:
    return f"\x1b[{_SGR_CODES[style]}m{text}\x1b[0m" if style and text else text
