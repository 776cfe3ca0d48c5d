"""A run as one page: self-contained, without scripts, and safe whatever the statements hold.

The page loads nothing and runs nothing; its own policy forbids both. So it can be opened from wherever a build keeps
its files. Statements open to their whole text, and folded runs of steps open to every step. Colours follow the
reader's light or dark scheme, and colour is never the only sign of anything.
"""

from __future__ import annotations

from html import escape
from importlib import resources
from itertools import groupby
from typing import TYPE_CHECKING

from dbtools.races.render.differences import tables_that_differ
from dbtools.races.render.html_rows import escape_text, hue, list_items
from dbtools.races.render.layout import layout
from dbtools.races.render.rows import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.races.anomaly import Anomaly
    from dbtools.races.render.rows import Picture
    from dbtools.races.trace import Trace

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_MAX_ROWS_WITHOUT_OVERVIEW = 40
_BAND_PX = 24
"""Height of a lane in the overview, as in page.css."""
_TRACK_PX = 14
"""Width of a track, as in page.css."""
_LEGEND = (
    ('<span class="rail open"></span>', "in a transaction"),
    ('<span class="rail failed"></span>', "in a failed one"),
    ('<span class="rail waiting"></span>', "waits for a lock"),
    ("<b>·</b>", "not chosen by the schedule"),
    ("<b>✗</b>", "a failure"),
    ("<b>!</b>", "an error that is no failure of the run"),
)


def html(trace: Trace, title: str, token: str = "", anomaly: Anomaly | None = None) -> str:
    """Return a run as a page. Every step is in it with its statement, of which it holds the first 200,000 characters.

    With a `token`, the page says how to replay the run; with an `anomaly`, what it is called, and by what.
    """
    picture = layout(trace)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<title>{escape_text(title)}</title>",
            f"<style>\n{resources.files(__package__).joinpath('page.css').read_text('utf-8')}</style>",
            "</head>",
            "<body>",
            *_header(picture, title),
            *_main(picture),
            *_legend(),
            *_sections(picture, token, anomaly),
            "</body>",
            "</html>",
            "",
        ]
    )


def _header(picture: Picture, title: str) -> Iterator[str]:
    yield f"<header>\n<h1>{escape_text(title)}</h1>"
    good = not picture.trace.failures and not picture.trace.stalled and picture.trace.steps
    sign = "✓ " if good else "✗ " if picture.trace.failures else ""
    failed_steps = [failure.step for failure in picture.trace.failures if failure.step]
    link = f' <a href="#s{failed_steps[0]}">Step {failed_steps[0]}</a>' if failed_steps else ""
    yield f'<p class="verdict {"good" if good else "bad"}">{sign}{escape_text(picture.verdict)}{link}</p>'
    yield f'<p class="faint">{escape_text(picture.summary)}</p>'
    if len(picture.rows) > _MAX_ROWS_WITHOUT_OVERVIEW:
        yield from _overview(picture)
    yield "</header>"


def _overview(picture: Picture) -> Iterator[str]:
    """Yield a strip with all rows from left to right: which actor was at work, where it waited, where it failed."""
    width, height = len(picture.rows), _BAND_PX * len(picture.lanes)
    yield '<nav class="overview" aria-label="Overview of the run">\n<ul aria-hidden="true">'
    for i, lane in enumerate(picture.lanes):
        yield f'<li class="{hue(i)}"><span class="letter">{lane.letter}</span></li>'
    yield f'</ul>\n<svg viewBox="0 0 {width} {height}" height="{height}" preserveAspectRatio="none">'
    yield from _overview_runs(picture)
    yield from _overview_waits(picture)
    yield from _overview_failures(picture, width, height)
    yield "</svg>\n</nav>"


def _overview_runs(picture: Picture) -> Iterator[str]:
    x = 0
    for i, group in groupby(picture.rows, key=lambda row: row.lane):
        run = list(group)
        steps = [row.released.number for row in run if row.released]
        if steps:
            name = f"{picture.lanes[i].name}: steps {steps[0]} to {steps[-1]}"
            bar = f'<rect class="run" x="{x}" y="{_BAND_PX * i + 5}" width="{len(run)}" height="{_BAND_PX - 10}"/>'
            yield f'<a href="#s{steps[0]}" class="{hue(i)}"><title>{escape_text(name)}</title>{bar}</a>'
        x += len(run)


def _overview_waits(picture: Picture) -> Iterator[str]:
    for x, row in enumerate(picture.rows):
        for i, tracks in enumerate(row.tracks):
            if any(track.state is State.WAITING for track in tracks):
                yield f'<rect class="stay" x="{x}" y="{_BAND_PX * i + 10}" width="1" height="{_BAND_PX - 20}"/>'


def _overview_failures(picture: Picture, width: int, height: int) -> Iterator[str]:
    bar_width = max(1, width / 200)
    for x, row in enumerate(picture.rows):
        if row.failed and row.step:
            bar = f'<rect class="fail" x="{x - bar_width / 2:g}" y="0" width="{bar_width:g}" height="{height}"/>'
            yield f'<a href="#s{row.step.number}"><title>✗ {escape(row.error)}</title>{bar}</a>'


def _main(picture: Picture) -> Iterator[str]:
    tracks_px = [_TRACK_PX * len(lane.sessions) for lane in picture.lanes]
    wide = " ".join(f"{px + 8}px minmax(0, 1fr)" for px in tracks_px)
    narrow = " ".join(f"minmax(0, {px + 2}px)" for px in tracks_px)
    yield f'<main class="sheet" style="--wide: 3.2rem {wide}; --narrow: 2.9rem {narrow} minmax(9rem, 1fr)">'
    yield '<div class="row heads">'
    for i, lane in enumerate(picture.lanes):
        name = f'<span class="letter">{lane.letter}</span> {escape_text(lane.actor)}'
        yield f'<div class="head {hue(i)}" style="--lane: {i}">{name}</div>'
    yield "</div>"
    yield '<ol class="rows">'
    yield from list_items(picture)
    yield "</ol>\n</main>"


def _legend() -> Iterator[str]:
    yield '<ul class="legend" aria-label="Legend">'
    yield from (f"<li>{sign}{meaning}</li>" for sign, meaning in _LEGEND)
    yield "<li>open a statement to see all of it</li>\n</ul>"


def _sections(picture: Picture, token: str, anomaly: Anomaly | None) -> Iterator[str]:
    failures = [f'<li class="bad">✗ {escape(failure)}</li>' for failure in picture.failures()]
    if failures:
        rows = tables_that_differ([*picture.differences()])
        yield "\n".join(["<section>\n<h2>What is wrong</h2>\n<ul>", *failures, "</ul>", *rows, "</section>"])
    if anomaly:
        yield f"<section>\n<h2>Anomaly: {escape_text(anomaly.name)}</h2>\n<p>{escape_text(anomaly.why)}</p>\n<ul>"
        for dependency in anomaly.dependencies:
            links = ", ".join(
                f'<a href="#s{step.number}">step {step.number}</a>' for step in (dependency.first, dependency.second)
            )
            yield f"<li>{escape_text(str(dependency))} {links}</li>"
        yield from (f"<li>{escape_text(line)}</li>" for line in anomaly.lines)
        yield "</ul>\n</section>"
    if token:
        code = f"invoke race.replay {escape_text(token)}"
        yield f"<section>\n<h2>Replay</h2>\n<pre><code>{code}</code></pre>\n</section>"
    ends = list(picture.ends())
    if ends:
        yield "<section>\n<h2>How the programs ended</h2>\n<ul>"
        for lane, how, output in ends:
            yield f"<li>{escape(lane.name)}: {how}"
            yield f'<pre tabindex="0">\n{escape(chr(10).join(output))}</pre></li>' if output else "</li>"
        yield "</ul>\n</section>"
