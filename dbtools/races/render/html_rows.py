"""The rows of the page: a list with one item per row, in which lanes, tracks and arrows are placed by page.css.

Tracks and arrows are decoration and hidden from screen readers: the texts say the same. In page.css a track is a
"rail", and a step that the scheduler did not choose is "unasked".
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from dbtools.races.render import sanitize
from dbtools.races.render.fold import Fold, fold_rows
from dbtools.races.render.rows import Kind, Row, State, Track

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.races.render.rows import Lane, Picture
    from dbtools.races.trace import Step

_HUES = 6
_MAX_LINE_COLUMNS = 300
"""Columns of a statement that its line holds. No screen shows more."""
_MAX_STATEMENT_CHARACTERS = 200_000
"""Characters of a statement that the page holds."""
_TRANSACTIONS = {"T": "in a transaction", "E": "in a failed transaction"}


def escape_text(text: str) -> str:
    """Return any text as HTML, with every invisible character made visible."""
    return escape(sanitize.printable(text))


def hue(lane: int) -> str:
    """Return the class that gives a lane its colour."""
    return f"l{lane % _HUES}"


def list_items(picture: Picture) -> Iterator[str]:
    """Yield the items of the list of rows. Long runs of steps are folded; the fold opens to every step."""
    for item in fold_rows(picture.rows):
        if isinstance(item, Fold):
            yield from _fold(picture, item)
        else:
            yield from _row(picture, item)


def _fold(picture: Picture, fold: Fold) -> Iterator[str]:
    lane = picture.lanes[fold.lane]
    line = f'{_session(lane, lane.actor)}<span class="words">{escape_text(fold.text)}</span>'
    yield f'<li class="fold"><details><summary><div class="row"><span class="no">⋮</span>{_tracks(fold.tracks)}'
    yield f'{_open_cell(fold.lane)}<div class="line">{line}</div></div></div></summary>'
    yield "<ol>"
    for row in fold.rows:
        yield from _row(picture, row)
    yield "</ol></details></li>"


def _row(picture: Picture, row: Row) -> Iterator[str]:
    lane = picture.lanes[row.lane]
    session = _session(lane, lane.actor if row.kind is Kind.END else lane.sessions[row.session])
    yield _open_item(row)
    yield from _number(row)
    yield _tracks(row.tracks)
    yield _open_cell(row.lane)
    if row.released:
        yield from _step(row, row.released, session)
    elif row.kind is Kind.RESULT and row.error:
        yield f'<div class="line">{session}{_error(row)}</div>'
    else:
        yield f'<div class="line">{session}{_words(row)}{_result(row)}{_tail(row)}</div>'
    yield "</div>"
    yield from (_arrow(row.lane, other) for other in sorted({other for other, _ in row.waits_for}))
    yield "</li>"


def _open_item(row: Row) -> str:
    step = row.released
    classes = ["row", row.kind.value, *["broken"] * row.failed, *["unasked"] * bool(step and not step.choice)]
    anchor = f' id="s{step.number}"' if step else ""
    return f'<li class="{" ".join(classes)}"{anchor}>'


def _open_cell(lane: int) -> str:
    return f'<div class="say {hue(lane)}" style="--lane: {lane}">'


def _number(row: Row) -> Iterator[str]:
    """Yield the number of a step, which links to the step itself, and the sign of a failure."""
    if row.released:
        number = row.released.number
        sign = "✗ " if row.failed else ""
        yield f'<a class="no" href="#s{number}"><span class="hidden">step </span>{sign}{number}</a>'
    elif row.failed:
        yield '<span class="no">✗</span>'


def _step(row: Row, step: Step, session: str) -> Iterator[str]:
    """Yield a statement that opens to its whole text and all that is known of its step."""
    line = f"<code>{escape_text(sanitize.cut(row.text, _MAX_LINE_COLUMNS))}</code>"
    yield f'<details><summary><div class="line">{session}{line}{_result(row)}</div></summary>'
    left = len(step.sql) - _MAX_STATEMENT_CHARACTERS
    more = f"\n… and {left:,} more characters" if left > 0 else ""
    yield f'<div class="whole"><pre tabindex="0">\n{escape_text(step.sql[:_MAX_STATEMENT_CHARACTERS])}{more}</pre>'
    state = _TRANSACTIONS.get(step.transaction, "outside a transaction")
    facts = [f"session {step.session}", step.tag, step.sqlstate, step.message, step.detail, f"then {state}"]
    yield f"<p>{escape_text(' · '.join(fact for fact in facts if fact))}</p></div></details>"
    if row.error:
        yield _error(row)


def _error(row: Row) -> str:
    return f'<p class="error">{escape(row.error_text)}</p>'


def _words(row: Row) -> str:
    sign = {Kind.END: "■ ", Kind.SWITCH: "⇄ "}.get(row.kind, "")
    goes_on = " goes" if row.kind is Kind.RESULT else ""
    return f'<span class="words{goes_on}">{sign}{escape_text(row.text)}</span>'


def _result(row: Row) -> str:
    return f' <span class="answer">→ {escape(row.result)}</span>' if row.result else ""


def _tail(row: Row) -> str:
    """Return the part of an arrow to the right that is inside the lane, with its tip if the next lane is the target."""
    targets = {lane for lane, _ in row.waits_for if lane > row.lane}
    tip = " tip" if row.lane + 1 in targets else ""
    return f'<span class="tail{tip}"></span>' if targets else ""


def _session(lane: Lane, session: str) -> str:
    """Return whose row it is: the full name for screen readers, and the short one, of which page.css hides a part.

    On a wide screen the lane tells the actor, so only the number of a second session is shown.
    """
    label = escape(lane.label(session))
    number = label.removeprefix(lane.letter)
    classes = f"session{'' if number else ' sole'}"
    shown = f'<span class="{classes}" aria-hidden="true"><span class="who">{lane.letter}</span>{number}</span>'
    return f'<span class="hidden">{escape_text(session)}: </span>{shown}'


def _tracks(tracks: tuple[tuple[Track, ...], ...]) -> str:
    """Return the tracks of a row, lane by lane."""
    parts = []
    for i, lane_tracks in enumerate(tracks):
        spans = "".join(map(_track, lane_tracks))
        parts.append(f'<span class="rails {hue(i)}" style="--lane: {i}" aria-hidden="true">{spans}</span>')
    return "".join(parts)


def _track(track: Track) -> str:
    classes = [
        "rail",
        *([track.state.value] if track.state is not State.IDLE else []),
        *["begins"] * track.begins,
        *["ends"] * track.ends,
    ]
    return f'<span class="{" ".join(classes)}"></span>'


def _arrow(lane: int, target: int) -> str:
    """Return the arrow from the lane that waits to its target. Grid column 2 i + 2 has the tracks of lane i."""
    left = target < lane
    start, end = (2 * target + 3, 2 * lane + 2) if left else (2 * lane + 4, 2 * target + 2)
    if target == lane or start >= end:
        return ""
    style = f"--wide-from: {start}; --wide-to: {end}"
    return f'<span class="arrow {"left" if left else "right"}" style="{style}" aria-hidden="true"></span>'
