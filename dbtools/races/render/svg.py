"""A run as one SVG image, for documents and chats: no scripts, nothing loaded, light or dark as the reader prefers."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from dbtools.races.render import sanitize
from dbtools.races.render.fold import Fold, fold_rows
from dbtools.races.render.layout import layout
from dbtools.races.render.rows import Kind, Row, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.races.render.rows import Picture
    from dbtools.races.trace import Trace

_COLUMN_PX = 7.3
"""Width of a column of text: a little more than any monospaced font of 12 pixels takes."""
_LINE_PX = 22
_TRACK_PX = 14
_LANE_GAP_PX = 18
_MARGIN_PX = 16
_MIN_LANE_COLUMNS, _MAX_LANE_COLUMNS = 18, 52
"""Columns of the text of a lane."""
_MAX_FOOTER_COLUMNS = 110
"""Columns to which a line below the lanes may widen the image."""
_HUES = 6
_STYLE = """
text { font: 12px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #1c2128; white-space: pre; }
.page { fill: #ffffff; } .strong { font-weight: bold; } .faint { fill: #5c6570; }
.bad { fill: #b3201c; font-weight: bold; } .band { fill: #fdeceb; } .wait { fill: #8a5300; }
.rail { stroke-width: 2; fill: none; } .split { stroke: #dfe3e8; }
.failed { stroke-dasharray: 3 3; }
.waiting, .arrow { stroke: #d08700; stroke-width: 2; fill: none; }
.waiting { stroke-width: 6; stroke-dasharray: 3.5 2; }
.tip { fill: #d08700; } .switch { stroke: #5c6570; stroke-dasharray: 2 3; }
.h0 { stroke: #1458b8; } .h1 { stroke: #a8480a; } .h2 { stroke: #14705c; }
.h3 { stroke: #7b3fb5; } .h4 { stroke: #a3255f; } .h5 { stroke: #5a6400; }
@media (prefers-color-scheme: dark) {
text { fill: #e3e7ec; } .page { fill: #171b21; } .faint { fill: #98a2ae; }
.bad { fill: #ff938b; } .band { fill: #3a1b1c; } .wait { fill: #f0b95a; }
.split { stroke: #2c333c; } .waiting, .arrow { stroke: #c98a1b; } .tip { fill: #c98a1b; } .switch { stroke: #98a2ae; }
.h0 { stroke: #7db4ff; } .h1 { stroke: #f3a261; } .h2 { stroke: #5fcab0; }
.h3 { stroke: #c79bf2; } .h4 { stroke: #f48db8; } .h5 { stroke: #c0cc55; }
}
"""


def svg(trace: Trace, *, title: str = "", token: str = "", whole: bool = False) -> str:
    """Return a run as an SVG document. Long runs of one actor's steps are folded into one row each, unless `whole`.

    With a `token`, the image says how to replay the run.
    """
    return "\n".join(_Drawing(layout(trace), whole=whole).draw(title, token))


class _Drawing:
    """The places of the lanes of one picture, and how far down it has been drawn. All in pixels but `_text_columns`."""

    def __init__(self, picture: Picture, *, whole: bool) -> None:
        self._picture = picture
        self._items = picture.rows if whole else fold_rows(picture.rows)
        self._lane_x: list[float] = []
        """The left edge of each lane, where its first track is."""
        self._text_columns: list[int] = []
        self._number_x = 26 + _COLUMN_PX * max(2, len(str(len(picture.trace.steps))))
        """The right edge of the numbers."""
        x = self._number_x + 14
        for i, lane in enumerate(picture.lanes):
            texts = ["".join(_line_parts(picture, item)) for item in self._items if item.lane == i]
            wanted = max(_MIN_LANE_COLUMNS, *map(sanitize.columns, (lane.name, *texts)))
            self._text_columns.append(min(wanted, _MAX_LANE_COLUMNS))
            self._lane_x.append(x)
            x += _TRACK_PX * len(lane.sessions) + 8 + self._text_columns[-1] * _COLUMN_PX + _LANE_GAP_PX
        self._legend = "   ".join(_legend(self._items))
        footer = max(sanitize.columns(line) for line in (self._legend, *picture.failures()))
        self._width = max(x, 2 * _MARGIN_PX + min(footer + 2, _MAX_FOOTER_COLUMNS) * _COLUMN_PX)
        self._y = 0.0

    def draw(self, title: str, token: str) -> Iterator[str]:
        picture = self._picture
        drawn = [*self._draw_lanes(title), *self._draw_footer(token)]
        height = self._y + 10
        description = escape(sanitize.one_line(f"{picture.summary} {picture.verdict}"))
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self._width:g}" height="{height:g}" '
            f'viewBox="0 0 {self._width:g} {height:g}" role="img" aria-labelledby="title desc" xml:space="preserve">'
        )
        yield f'<title id="title">{escape(sanitize.one_line(title)) or "A run"}</title>'
        yield f'<desc id="desc">{description}</desc>'
        yield f"<style>{_STYLE}</style>"
        yield '<rect class="page" width="100%" height="100%" rx="6"/>'
        yield from drawn
        yield "</svg>\n"

    def _draw_lanes(self, title: str) -> Iterator[str]:
        self._y = 12
        if title:
            yield self._text(_MARGIN_PX, sanitize.one_line(title), "strong")
            self._y += _LINE_PX
        for i, lane in enumerate(self._picture.lanes):
            yield self._text(self._text_x(i), sanitize.cut(lane.name, self._text_columns[i]), "strong")
        self._y += _LINE_PX
        top = self._y
        yield f'<path class="split" d="M0 {top:g}H{self._width:g}"/>'
        self._y += 6
        for item in self._items:
            step = item.released if isinstance(item, Row) else None
            yield f'<g id="s{step.number}">' if step else "<g>"
            yield from self._draw_fold(item) if isinstance(item, Fold) else self._draw_row(item)
            yield "</g>"
        for x in self._lane_x:
            yield f'<path class="split" d="M{x - 6:g} {top:g}V{self._y + 6:g}"/>'
        self._y += 6
        yield f'<path class="split" d="M0 {self._y:g}H{self._width:g}"/>'
        self._y += 6

    def _draw_fold(self, fold: Fold) -> Iterator[str]:
        yield self._text(self._number_x, "⋮", "faint", end=True)
        yield from self._draw_tracks(fold, _LINE_PX)
        text = sanitize.cut(f"… {fold.text}", self._text_columns[fold.lane])
        yield self._text(self._text_x(fold.lane), text, "faint")
        self._y += _LINE_PX

    def _draw_row(self, row: Row) -> Iterator[str]:
        has_error_line = bool(row.error and row.released)
        height = _LINE_PX * (2 if has_error_line else 1)
        if row.failed:
            yield f'<rect class="band" x="0" y="{self._y:g}" width="{self._width:g}" height="{height}"/>'
        if row.failed or row.released:
            number = str(row.released.number) if row.released else ""
            number = f"✗ {number}".strip() if row.failed else number
            yield self._text(self._number_x, number, "bad" if row.failed else "faint", end=True)
        x, text = self._text_x(row.lane), self._fitted_text(row)
        after_text = x + sanitize.columns(text) * _COLUMN_PX + 6
        if row.kind is Kind.SWITCH:
            middle = self._y + _LINE_PX / 2
            line = f"M0 {middle:g}H{self._lane_x[row.lane] - 6:g}M{after_text:g} {middle:g}H{self._width:g}"
            yield f'<path class="switch" d="{line}"/>'
        yield from self._draw_tracks(row, height)
        if row.kind is Kind.WAIT:
            yield from self._draw_arrows(row, after_text)
        yield self._text(x, text, _style(row))
        self._y += _LINE_PX
        if has_error_line:
            error = sanitize.cut(row.error_text, self._text_columns[row.lane])
            yield self._text(x, error, "bad" if row.failed else "strong")
            self._y += _LINE_PX

    def _fitted_text(self, row: Row) -> str:
        before, text, after = _line_parts(self._picture, row)
        room = self._text_columns[row.lane]
        return sanitize.cut(before + sanitize.cut(text, room - sanitize.columns(before + after)) + after, room)

    def _draw_tracks(self, row: Row | Fold, height: float) -> Iterator[str]:
        """Yield the tracks of a row that are not idle."""
        middle = self._y + _LINE_PX / 2
        for i, tracks in enumerate(row.tracks):
            for j, track in enumerate(tracks):
                if track.state is State.IDLE:
                    continue
                x = self._lane_x[i] + _TRACK_PX * j + 6
                top = middle if track.begins else self._y
                bottom = middle if track.ends else self._y + height
                if track.state is State.WAITING:
                    yield f'<path class="waiting" d="M{x:g} {self._y:g}V{self._y + height:g}"/>'
                    continue
                if track.begins and track.ends:
                    top, bottom = self._y + 4, self._y + height - 4
                hook = f"M{x:g} {middle:g}h6" if track.begins != track.ends else ""
                classes = f"rail h{i % _HUES}{' failed' if track.state is State.FAILED else ''}"
                yield f'<path class="{classes}" d="M{x:g} {top:g}V{bottom:g}{hook}"/>'

    def _draw_arrows(self, row: Row, after_text: float) -> Iterator[str]:
        """Yield an arrow from the waiting step to each session that it waits for."""
        y = self._y + _LINE_PX / 2
        for i, j in row.waits_for:
            x = self._lane_x[i] + _TRACK_PX * j + 6
            if i < row.lane:
                yield f'<path class="arrow" d="M{self._lane_x[row.lane]:g} {y:g}H{x + 12:g}"/>'
                yield f'<path class="tip" d="M{x + 5:g} {y:g}l8 -5v10z"/>'
            elif i > row.lane:
                yield f'<path class="arrow" d="M{min(after_text, x - 13):g} {y:g}H{x - 12:g}"/>'
                yield f'<path class="tip" d="M{x - 5:g} {y:g}l-8 -5v10z"/>'

    def _draw_footer(self, token: str) -> Iterator[str]:
        room = int((self._width - 2 * _MARGIN_PX) / _COLUMN_PX)
        lines = [(f"✗ {failure}", "bad") for failure in self._picture.failures()]
        if self._picture.trace.stalled or not lines:
            lines.append((self._picture.verdict, "strong"))
        lines += [(f"invoke race.replay {token}", "")] if token else []
        lines.append((self._legend, "faint"))
        for line, style in lines:
            yield self._text(_MARGIN_PX, sanitize.cut(line, room), style)
            self._y += _LINE_PX

    def _text(self, x: float, text: str, style: str = "", *, end: bool = False) -> str:
        """Return a text in the current line. It begins at x, or with `end`, ends there."""
        class_name = f' class="{style}"' if style else ""
        anchor = ' text-anchor="end"' if end else ""
        return f'<text x="{x:g}" y="{self._y + 15:g}"{class_name}{anchor}>{escape(sanitize.printable(text))}</text>'

    def _text_x(self, lane: int) -> float:
        return self._lane_x[lane] + _TRACK_PX * len(self._picture.lanes[lane].sessions) + 4


def _legend(items: tuple[Row | Fold, ...]) -> Iterator[str]:
    """Yield the meanings of the signs that occur."""
    states = {track.state for item in items for tracks in item.tracks for track in tracks}
    rows = [item for item in items if isinstance(item, Row)]
    for meaning, occurs in {
        "│ in a transaction": State.OPEN in states,
        "┊ in a failed one": State.FAILED in states,
        "▨ waits": State.WAITING in states,
        "· not chosen by the schedule": any(row.step and not row.step.choice for row in rows),
        "⇄ the turn is taken": any(row.kind is Kind.SWITCH for row in rows),
        "! an error": any(row.error and not row.failed for row in rows),
        "✗ a failure": any(row.failed for row in rows),
    }.items():
        if occurs:
            yield meaning


def _line_parts(picture: Picture, item: Row | Fold) -> tuple[str, str, str]:
    if isinstance(item, Fold):
        return "… ", item.text, ""
    return item.line_parts(picture.lanes[item.lane], switch_sign="⇄ ")


def _style(row: Row) -> str:
    if row.failed:
        return "bad" if row.kind is not Kind.STEP else "strong"
    if row.kind in (Kind.WAIT, Kind.RESULT):
        return "wait"
    return "faint" if row.kind in (Kind.SWITCH, Kind.END) or (row.step and not row.step.choice) else ""
