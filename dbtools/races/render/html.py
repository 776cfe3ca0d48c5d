"""A run as one page: self-contained, without scripts, and safe whatever the statements hold.

Nothing is loaded and nothing runs: the page's own policy forbids both, so it can be opened where a build keeps its
files. Statements open to their whole text, long runs of steps open to every step. Colours follow the reader's light or
dark scheme, and nothing is said by colour alone.
"""

from __future__ import annotations

from html import escape
from importlib import resources
from itertools import groupby
from typing import TYPE_CHECKING

from dbtools.races.render import sanitize as words
from dbtools.races.render.fold import Fold, folded
from dbtools.races.render.layout import layout
from dbtools.races.render.rows import Kind, Rail, Row, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.races.render.rows import Lane, Picture
    from dbtools.races.trace import Step, Trace

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_COLORS = 6
_LINE = 300
"""Columns of a statement that its line holds; no screen shows more."""
_WHOLE = 200_000
"""Characters of a statement that the page holds."""
_OVERVIEW = 40
"""Rows from which on there is an overview of the run."""
_BAND = 24
"""Height of a lane in the overview, as in page.css."""
_LEGEND = (
    ('<span class="rail open"></span>', "in a transaction"),
    ('<span class="rail failed"></span>', "in a failed one"),
    ('<span class="rail waiting"></span>', "waits for a lock"),
    ("<b>·</b>", "not chosen by the schedule"),
    ("<b>✗</b>", "a failure"),
    ("<b>!</b>", "an error that is no failure of the run"),
)


def html(trace: Trace, title: str, token: str = "") -> str:
    """Return a run as a page. Every step is in it with its statement, the first 200,000 characters of it."""
    picture = layout(trace)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{_text(title)}</title>",
            f"<style>\n{resources.files(__package__).joinpath('page.css').read_text('utf-8')}</style>",
            "</head>",
            "<body>",
            *_header(picture, title),
            *_lanes(picture),
            *_sections(picture, token),
            "</body>",
            "</html>",
            "",
        ]
    )


def _text(text: str) -> str:
    return escape(words.printable(text))


def _header(picture: Picture, title: str) -> Iterator[str]:
    yield f"<header>\n<h1>{_text(title)}</h1>"
    well = not picture.trace.failures and not picture.trace.stalled and picture.trace.steps
    sign = "✓ " if well else "✗ " if picture.trace.failures else ""
    broken = [failure.step for failure in picture.trace.failures if failure.step]
    link = f' <a href="#s{broken[0]}">Step {broken[0]}</a>' if broken else ""
    yield f'<p class="verdict {"good" if well else "bad"}">{sign}{_text(picture.verdict)}{link}</p>'
    yield f'<p class="faint">{_text(picture.summary)}</p>'
    if len(picture.rows) > _OVERVIEW:
        yield from _overview(picture)
    yield "</header>"


def _lanes(picture: Picture) -> Iterator[str]:
    rails = [f"{14 * len(lane.sessions) + 8}px" for lane in picture.lanes]
    wide = " ".join(f"{rail} minmax(0, 1fr)" for rail in rails)
    narrow = " ".join(f"minmax(0, {14 * len(lane.sessions) + 2}px)" for lane in picture.lanes)
    yield f'<main class="sheet" style="--wide: 3.2rem {wide}; --narrow: 2.9rem {narrow} minmax(9rem, 1fr)">'
    yield '<div class="row heads">'
    for i, lane in enumerate(picture.lanes):
        name = f'<span class="letter">{lane.letter}</span> {_text(lane.actor)}'
        yield f'<div class="head {_hue(i)}" style="--lane: {i}">{name}</div>'
    yield "</div>"
    yield '<ol class="rows">'
    for item in folded(picture.rows):
        if isinstance(item, Fold):
            lane, i = picture.lanes[item.lane], item.lane
            said = f'{_who(lane, lane.actor)}<span class="words">{_text(item.text)}</span>'
            yield f'<li class="fold"><details><summary><div class="row"><span class="no">⋮</span>{_rails(item.rails)}'
            yield f'<div class="say {_hue(i)}" style="--lane: {i}"><div class="line">{said}</div></div></div></summary>'
            yield "<ol>"
            for row in item.rows:
                yield from _row(picture, row)
            yield "</ol></details></li>"
        else:
            yield from _row(picture, item)
    yield "</ol>\n</main>"


def _row(picture: Picture, row: Row) -> Iterator[str]:
    lane, step = picture.lanes[row.lane], row.step
    session = lane.sessions[row.session]
    is_step = row.kind is Kind.STEP and step is not None
    names = ["row", row.kind.value, *["broken"] * row.failed, *["unasked"] * bool(is_step and step and not step.choice)]
    name = f' id="s{step.number}"' if is_step and step else ""
    yield f'<li class="{" ".join(names)}"{name}>'
    if is_step and step:
        number = f"{'✗ ' if row.failed else ''}{step.number}"
        yield f'<a class="no" href="#s{step.number}"><span class="hidden">step </span>{number}</a>'
    elif row.failed:
        yield '<span class="no">✗</span>'
    yield _rails(row.rails)
    yield f'<div class="say {_hue(row.lane)}" style="--lane: {row.lane}">'
    who = _who(lane, session) if row.kind is not Kind.END else _who(lane, lane.actor)
    if is_step and step:
        yield from _step(row, step, who)
    elif row.kind is Kind.RESULT and row.error:
        yield f'<div class="line">{who}{_error(row)}</div>'
    else:
        sign = {Kind.END: "■ ", Kind.SWITCH: "⇄ "}.get(row.kind, "")
        tail = ""
        if any(i > row.lane for i, _ in row.towards):
            tip = any(i == row.lane + 1 for i, _ in row.towards)
            tail = f'<span class="tail{" tip" if tip else ""}"></span>'
        words_ = f'<span class="words{" goes" if row.kind is Kind.RESULT else ""}">{sign}{_text(row.text)}</span>'
        yield f'<div class="line">{who}{words_}{_result(row)}{tail}</div>'
    yield "</div>"
    yield from (_arrow(row.lane, i) for i in sorted({i for i, _ in row.towards}))
    yield "</li>"


def _step(row: Row, step: Step, who: str) -> Iterator[str]:
    line = f"<code>{_text(words.cut(row.text, _LINE))}</code>"
    yield f'<details><summary><div class="line">{who}{line}{_result(row)}</div></summary>'
    left = len(step.sql) - _WHOLE
    more = f"\n… and {left:,} more characters" if left > 0 else ""
    yield f'<div class="whole"><pre tabindex="0">\n{_text(step.sql[:_WHOLE])}{more}</pre>'
    state = {"T": "in a transaction", "E": "in a failed transaction"}.get(step.transaction, "outside a transaction")
    facts = [f"session {step.session}", step.tag, step.sqlstate, step.message, step.detail, f"then {state}"]
    yield f"<p>{_text(' · '.join(fact for fact in facts if fact))}</p></div></details>"
    if row.error:
        yield _error(row)


def _error(row: Row) -> str:
    return f'<p class="error">{escape(row.complaint)}</p>'


def _result(row: Row) -> str:
    return f' <span class="answer">→ {escape(row.result)}</span>' if row.result else ""


def _who(lane: Lane, session: str) -> str:
    """Return whose row it is: for a reader without the lanes, and where an actor has several sessions, for all."""
    label = escape(lane.label(session))
    number = label.removeprefix(lane.letter)
    names = f"session{'' if number else ' sole'}"
    shown = f'<span class="{names}" aria-hidden="true"><span class="who">{lane.letter}</span>{number}</span>'
    return f'<span class="hidden">{_text(session)}: </span>{shown}'


def _rails(rails: tuple[tuple[Rail, ...], ...]) -> str:
    """Return the rails of a row. They are decoration to a reader without the picture, who is told of every wait."""
    return "".join(
        f'<span class="rails {_hue(i)}" style="--lane: {i}" aria-hidden="true">{"".join(map(_rail, lane))}</span>'
        for i, lane in enumerate(rails)
    )


def _rail(rail: Rail) -> str:
    names = [
        *([rail.state.value] if rail.state is not State.IDLE else []),
        *["begins"] * rail.begins,
        *["ends"] * rail.ends,
    ]
    return f'<span class="{" ".join(["rail", *names])}"></span>'


def _arrow(lane: int, towards: int) -> str:
    """Return the arrow from the lane that waits to the one it waits for. Column 2 i + 2 has the rails of lane i."""
    left = towards < lane
    start, end = (2 * towards + 3, 2 * lane + 2) if left else (2 * lane + 4, 2 * towards + 2)
    if towards == lane or start >= end:
        return ""
    style = f"--wide-from: {start}; --wide-to: {end}"
    return f'<span class="arrow {"left" if left else "right"}" style="{style}" aria-hidden="true"></span>'


def _overview(picture: Picture) -> Iterator[str]:
    """Yield a strip with all rows from left to right: who was at work, who waited, where it broke."""
    rows, size, height = picture.rows, len(picture.rows), _BAND * len(picture.lanes)
    yield '<nav class="overview" aria-label="Overview of the run">\n<ul aria-hidden="true">'
    for i, lane in enumerate(picture.lanes):
        yield f'<li class="{_hue(i)}"><span class="letter">{lane.letter}</span></li>'
    yield f'</ul>\n<svg viewBox="0 0 {size} {height}" height="{height}" preserveAspectRatio="none">'
    at = 0
    for i, run in groupby(rows, key=lambda row: row.lane):
        stretch = list(run)
        steps = [row.step.number for row in stretch if row.step and row.kind is Kind.STEP]
        if steps:
            name = f"{picture.lanes[i].name}: steps {steps[0]} to {steps[-1]}"
            bar = f'<rect class="run" x="{at}" y="{_BAND * i + 5}" width="{len(stretch)}" height="{_BAND - 10}"/>'
            yield f'<a href="#s{steps[0]}" class="{_hue(i)}"><title>{_text(name)}</title>{bar}</a>'
        at += len(stretch)
    for at, row in enumerate(rows):
        for i, lane_rails in enumerate(row.rails):
            if any(rail.state is State.WAITING for rail in lane_rails):
                yield f'<rect class="stay" x="{at}" y="{_BAND * i + 10}" width="1" height="{_BAND - 20}"/>'
    for at, row in enumerate(rows):
        if row.failed and row.step:
            width = max(1, size / 200)
            bar = f'<rect class="fail" x="{at - width / 2:g}" y="0" width="{width:g}" height="{height}"/>'
            yield f'<a href="#s{row.step.number}"><title>✗ {escape(row.error)}</title>{bar}</a>'
    yield "</svg>\n</nav>"


def _sections(picture: Picture, token: str) -> Iterator[str]:
    yield '<ul class="legend" aria-label="Legend">'
    yield from (f"<li>{sign}{meaning}</li>" for sign, meaning in _LEGEND)
    yield "<li>open a statement to see all of it</li>\n</ul>"
    failures = [f'<li class="bad">✗ {escape(said)}</li>' for said in picture.failures()]
    if failures:
        yield "\n".join(["<section>\n<h2>What is wrong</h2>\n<ul>", *failures, "</ul>\n</section>"])
    if token:
        yield f"<section>\n<h2>Replay</h2>\n<pre><code>invoke race.replay {_text(token)}</code></pre>\n</section>"
    ends = list(picture.ends())
    if ends:
        yield "<section>\n<h2>How the programs ended</h2>\n<ul>"
        for lane, how, output in ends:
            yield f"<li>{escape(lane.name)}: {how}"
            yield f'<pre tabindex="0">\n{escape(chr(10).join(output))}</pre></li>' if output else "</li>"
        yield "</ul>\n</section>"


def _hue(lane: int) -> str:
    return f"l{lane % _COLORS}"
