"""A run as one SVG image, for documents and chats: no scripts, nothing loaded, light or dark as the reader likes it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from dbtools.races.render import sanitize as words
from dbtools.races.render.fold import Fold, folded
from dbtools.races.render.layout import layout
from dbtools.races.render.rows import Kind, Row, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.races.render.rows import Picture
    from dbtools.races.trace import Trace

_LETTER = 7.3
"""Width of a column of text, in pixels: a little more than any monospaced font of 12 pixels takes."""
_LINE = 22
_RAIL = 14
_TEXT = (18, 52)
"""Columns a lane's text has at least and at most."""
_GAP = 18
_BELOW = 110
"""Columns that a line below the lanes may widen the image to."""
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
    """Return a run as an SVG document. Long runs of one actor's steps are folded into a row, unless `whole`."""
    return "\n".join(_Drawing(layout(trace), whole=whole).draw(title, token))


class _Drawing:
    """Where the lanes of one picture are, and how far down it has come."""

    def __init__(self, picture: Picture, *, whole: bool) -> None:
        self._picture = picture
        self._items = picture.rows if whole else folded(picture.rows)
        self._rails: list[float] = []
        """The left edge of each lane."""
        self._columns: list[int] = []
        self._left = 26 + _LETTER * max(2, len(str(len(picture.trace.steps))))
        """The right edge of the numbers."""
        x = self._left + 14
        for i, lane in enumerate(picture.lanes):
            said = [words.columns(lane.name), _TEXT[0]]
            said += [words.columns("".join(_parts(picture, item))) for item in self._items if item.lane == i]
            self._columns.append(min(max(said), _TEXT[1]))
            self._rails.append(x)
            x += _RAIL * len(lane.sessions) + 8 + self._columns[-1] * _LETTER + _GAP
        self._legend = "   ".join(_legend(self._items))
        below = [words.columns(said) for said in (self._legend, *picture.failures())]
        self._width = max(x, 32 + min(max(below) + 2, _BELOW) * _LETTER)
        self._y = 0.0

    def draw(self, title: str, token: str) -> Iterator[str]:
        picture = self._picture
        body = [*self._body(title), *self._below(token)]
        height = self._y + 10
        spoken = escape(words.one_line(f"{picture.summary} {picture.verdict}"))
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self._width:g}" height="{height:g}" '
            f'viewBox="0 0 {self._width:g} {height:g}" role="img" aria-labelledby="title desc" xml:space="preserve">'
        )
        yield f'<title id="title">{escape(words.one_line(title)) or "A run"}</title>'
        yield f'<desc id="desc">{spoken}</desc>'
        yield f"<style>{_STYLE}</style>"
        yield '<rect class="page" width="100%" height="100%" rx="6"/>'
        yield from body
        yield "</svg>\n"

    def _body(self, title: str) -> Iterator[str]:
        lanes = self._picture.lanes
        self._y = 12
        if title:
            yield from self._words(16, words.one_line(title), "strong")
            self._y += _LINE
        for i, lane in enumerate(lanes):
            yield from self._words(self._text(i), words.cut(lane.name, self._columns[i]), "strong")
        self._y += _LINE
        top = self._y
        yield f'<path class="split" d="M0 {top:g}H{self._width:g}"/>'
        self._y += 6
        for item in self._items:
            yield f"<g{self._name(item)}>"
            yield from self._fold(item) if isinstance(item, Fold) else self._row(item)
            yield "</g>"
        for x in self._rails:
            yield f'<path class="split" d="M{x - 6:g} {top:g}V{self._y + 6:g}"/>'
        self._y += 6
        yield f'<path class="split" d="M0 {self._y:g}H{self._width:g}"/>'
        self._y += 6

    def _name(self, item: Row | Fold) -> str:
        return f' id="s{item.step.number}"' if isinstance(item, Row) and item.kind is Kind.STEP and item.step else ""

    def _fold(self, fold: Fold) -> Iterator[str]:
        yield from self._words(self._left, "⋮", "faint", end=True)
        yield from self._ruled(fold, _LINE)
        yield from self._words(self._text(fold.lane), words.cut(f"… {fold.text}", self._columns[fold.lane]), "faint")
        self._y += _LINE

    def _row(self, row: Row) -> Iterator[str]:
        second = bool(row.error) and row.kind is Kind.STEP
        height = _LINE * (2 if second else 1)
        if row.failed:
            yield f'<rect class="band" x="0" y="{self._y:g}" width="{self._width:g}" height="{height}"/>'
        if row.failed or row.kind is Kind.STEP:
            number = str(row.step.number) if row.kind is Kind.STEP and row.step else ""
            number = f"✗ {number}".strip() if row.failed else number
            yield from self._words(self._left, number, "bad" if row.failed else "faint", end=True)
        x, room = self._text(row.lane), self._columns[row.lane]
        before, text, after = _parts(self._picture, row)
        shown = words.cut(before + words.cut(text, room - words.columns(before + after)) + after, room)
        if row.kind is Kind.SWITCH:
            middle = self._y + _LINE / 2
            start = x + words.columns(shown) * _LETTER + 6
            line = f"M0 {middle:g}H{self._rails[row.lane] - 6:g}M{start:g} {middle:g}H{self._width:g}"
            yield f'<path class="switch" d="{line}"/>'
        yield from self._ruled(row, height)
        if row.kind is Kind.WAIT:
            yield from self._arrows(row, x + words.columns(shown) * _LETTER + 6)
        yield from self._words(x, shown, _style(row))
        self._y += _LINE
        if second:
            yield from self._words(x, words.cut(row.complaint, room), "bad" if row.failed else "strong")
            self._y += _LINE

    def _ruled(self, row: Row | Fold, height: float) -> Iterator[str]:
        """Yield the rails beside a row."""
        middle = self._y + _LINE / 2
        for i, rails in enumerate(row.rails):
            for j, rail in enumerate(rails):
                if rail.state is State.IDLE:
                    continue
                x = self._rails[i] + _RAIL * j + 6
                top = middle if rail.begins else self._y
                bottom = middle if rail.ends else self._y + height
                if rail.state is State.WAITING:
                    yield f'<path class="waiting" d="M{x:g} {self._y:g}V{self._y + height:g}"/>'
                    continue
                if rail.begins and rail.ends:
                    top, bottom = self._y + 4, self._y + height - 4
                hook = f"M{x:g} {middle:g}h6" if rail.begins != rail.ends else ""
                names = f"rail h{i % _HUES}{' failed' if rail.state is State.FAILED else ''}"
                yield f'<path class="{names}" d="M{x:g} {top:g}V{bottom:g}{hook}"/>'

    def _arrows(self, row: Row, after: float) -> Iterator[str]:
        """Yield an arrow from the waiting step to each that it waits for."""
        y = self._y + _LINE / 2
        for i, j in row.towards:
            rail = self._rails[i] + _RAIL * j + 6
            if i < row.lane:
                yield f'<path class="arrow" d="M{self._rails[row.lane]:g} {y:g}H{rail + 12:g}"/>'
                yield f'<path class="tip" d="M{rail + 5:g} {y:g}l8 -5v10z"/>'
            elif i > row.lane:
                yield f'<path class="arrow" d="M{min(after, rail - 13):g} {y:g}H{rail - 12:g}"/>'
                yield f'<path class="tip" d="M{rail - 5:g} {y:g}l-8 -5v10z"/>'

    def _below(self, token: str) -> Iterator[str]:
        room = int((self._width - 32) / _LETTER)
        lines = [(f"✗ {said}", "bad") for said in self._picture.failures()]
        if self._picture.trace.stalled or not lines:
            lines.append((self._picture.verdict, "strong"))
        lines += [(f"invoke race.replay {token}", "")] if token else []
        lines.append((self._legend, "faint"))
        for line, style in lines:
            yield from self._words(16, words.cut(line, room), style)
            self._y += _LINE

    def _words(self, x: float, text: str, style: str = "", *, end: bool = False) -> Iterator[str]:
        """Yield a text in the line that has been come to."""
        names = f' class="{style}"' if style else ""
        anchor = ' text-anchor="end"' if end else ""
        yield f'<text x="{x:g}" y="{self._y + 15:g}"{names}{anchor}>{escape(words.printable(text))}</text>'

    def _text(self, lane: int) -> float:
        return self._rails[lane] + _RAIL * len(self._picture.lanes[lane].sessions) + 4


def _legend(items: tuple[Row | Fold, ...]) -> Iterator[str]:
    """Yield what the signs mean that occur."""
    states = {rail.state for item in items for rails in item.rails for rail in rails}
    rows = [item for item in items if isinstance(item, Row)]
    for sign, occurs in {
        "│ in a transaction": State.OPEN in states,
        "┊ in a failed one": State.FAILED in states,
        "▨ waits": State.WAITING in states,
        "· not chosen by the schedule": any(row.step and not row.step.choice for row in rows),
        "⇄ the turn is taken": any(row.kind is Kind.SWITCH for row in rows),
        "! an error": any(row.error and not row.failed for row in rows),
        "✗ a failure": any(row.failed for row in rows),
    }.items():
        if occurs:
            yield sign


def _parts(picture: Picture, item: Row | Fold) -> tuple[str, str, str]:
    if isinstance(item, Fold):
        return "… ", item.text, ""
    return item.said(picture.lanes[item.lane], switch="⇄ ")


def _style(row: Row) -> str:
    if row.failed:
        return "bad" if row.kind is not Kind.STEP else "strong"
    if row.kind in (Kind.WAIT, Kind.RESULT):
        return "wait"
    return "faint" if row.kind in (Kind.SWITCH, Kind.END) or (row.step and not row.step.choice) else ""
