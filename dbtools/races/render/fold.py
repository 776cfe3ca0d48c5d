"""Fold the rows of a picture: long runs of one actor's steps become one row each, so that 600 steps can be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.races.render import sanitize
from dbtools.races.render.rows import Kind, Row, State, Track

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_STEPS_AT_EACH_END = 3
"""Steps that stay at each end of a run of steps that is folded."""
_MAX_RARE_STEPS = 2
"""Statements with the same first word are rare, and stay, if a run has no more of them than this."""
_MIN_FOLDED_STEPS = 5
"""Fewer steps than this are not folded."""
_MAX_NAMED_VERBS = 3


@dataclass(frozen=True)
class Fold:
    """Rows of one lane that are shown as one."""

    rows: tuple[Row, ...]
    text: str
    tracks: tuple[tuple[Track, ...], ...]
    """Per lane, per session, as in a row."""

    @property
    def lane(self) -> int:
        """The lane of its rows."""
        return self.rows[0].lane


def fold_rows(rows: Sequence[Row]) -> tuple[Row | Fold, ...]:
    """Return the rows, in which each long run of one actor's steps is folded.

    The ends of a run stay, and so do its rare statements. Waits, errors, switches and ends are never folded.
    """
    items: list[Row | Fold] = []
    for run in _runs(rows):
        verbs = Counter(sanitize.verb(row.step) for row in run if row.step)
        hidden = [
            _is_plain(row)
            and _STEPS_AT_EACH_END <= i < len(run) - _STEPS_AT_EACH_END
            and row.step is not None
            and verbs[sanitize.verb(row.step)] > _MAX_RARE_STEPS
            for i, row in enumerate(run)
        ]
        start = 0
        while start < len(run):
            end = start + 1
            while end < len(run) and hidden[end] == hidden[start]:
                end += 1
            part = run[start:end]
            items += [_fold(part)] if hidden[start] and len(part) >= _MIN_FOLDED_STEPS else part
            start = end
    return tuple(items)


def _runs(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield the rows in runs of one lane that nothing interrupts."""
    run: list[Row] = []
    for row in rows:
        if run and (row.lane != run[-1].lane or not (_is_plain(row) and _is_plain(run[-1]))):
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _is_plain(row: Row) -> bool:
    return row.kind is Kind.STEP and not row.error and row.result != "no answer"


def _fold(rows: list[Row]) -> Fold:
    verbs = Counter(sanitize.verb(row.step) for row in rows if row.step).most_common()
    if len(verbs) == 1:
        text = f"{len(rows):,} more {verbs[0][0]} steps"
    else:
        counts = [f"{count:,} {verb}" for verb, count in verbs[:_MAX_NAMED_VERBS]]
        if rest := sum(count for _, count in verbs[_MAX_NAMED_VERBS:]):
            counts.append(f"{rest:,} other")
        text = f"{len(rows):,} more steps: {', '.join(counts)}"
    tracks = tuple(
        tuple(_merge([row.tracks[lane][session] for row in rows]) for session in range(len(sessions)))
        for lane, sessions in enumerate(rows[0].tracks)
    )
    return Fold(tuple(rows), text, tracks)


def _merge(tracks: list[Track]) -> Track:
    """Return one track for those of one session in several rows.

    It has the first state that is not idle, and that state's begin and end if they are among the rows.
    """
    state = next((track.state for track in tracks if track.state is not State.IDLE), State.IDLE)
    if state is State.IDLE:
        return Track(state)
    first, last = tracks[0], tracks[-1]
    return Track(
        state,
        begins=first.begins or first.state is State.IDLE,
        ends=last.ends or last.state is State.IDLE,
    )
