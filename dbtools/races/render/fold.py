"""A picture of 600 steps that can be read: long runs of one actor's steps become one row each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.races.render import sanitize as words
from dbtools.races.render.rows import Kind, Rail, Row, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ENDS = 3
"""Steps that are shown at each end of a run of steps that is folded."""
_RARE = 2
"""What a run does at most so often is worth a row, however long the run."""
_WORTH = 5
"""Fewer steps than these are not folded."""


@dataclass(frozen=True)
class Fold:
    """Rows of one lane that say little one by one."""

    rows: tuple[Row, ...]
    text: str
    rails: tuple[tuple[Rail, ...], ...]

    @property
    def lane(self) -> int:
        """The lane of its rows."""
        return self.rows[0].lane


def folded(rows: Sequence[Row]) -> tuple[Row | Fold, ...]:
    """Return the rows with long runs of one actor's steps folded.

    The ends of a run stay, and so does what is rare in it. Waits, errors, switches and ends are never folded.
    """
    items: list[Row | Fold] = []
    for run in _runs(rows):
        often = Counter(words.verb(row.step) for row in run if row.step)
        hidden = [
            _plain(row)
            and _ENDS <= i < len(run) - _ENDS
            and row.step is not None
            and often[words.verb(row.step)] > _RARE
            for i, row in enumerate(run)
        ]
        start = 0
        while start < len(run):
            end = start + 1
            while end < len(run) and hidden[end] == hidden[start]:
                end += 1
            part = run[start:end]
            items += [_fold(part)] if hidden[start] and len(part) >= _WORTH else part
            start = end
    return tuple(items)


def _runs(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield the rows in stretches of one lane that nothing interrupts."""
    run: list[Row] = []
    for row in rows:
        if run and (row.lane != run[-1].lane or not (_plain(row) and _plain(run[-1]))):
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _plain(row: Row) -> bool:
    return row.kind is Kind.STEP and not row.error and row.result != "no answer"


def _fold(rows: list[Row]) -> Fold:
    verbs = Counter(words.verb(row.step) for row in rows if row.step).most_common()
    if len(verbs) == 1:
        text = f"{len(rows):,} more {verbs[0][0]} steps"
    else:
        rest = sum(count for _, count in verbs[3:])
        named = [f"{count:,} {name}" for name, count in verbs[:3]] + ([f"{rest:,} other"] if rest else [])
        text = f"{len(rows):,} more steps: {', '.join(named)}"
    first, last = rows[0].rails, rows[-1].rails
    rails = tuple(
        tuple(_across(first[i][j], last[i][j], [row.rails[i][j] for row in rows]) for j in range(len(first[i])))
        for i in range(len(first))
    )
    return Fold(tuple(rows), text, rails)


def _across(first: Rail, last: Rail, between: list[Rail]) -> Rail:
    """Return one rail for several rows: in its state where any is, with its ends where those are among the rows."""
    state = next((rail.state for rail in between if rail.state is not State.IDLE), State.IDLE)
    if state is State.IDLE:
        return Rail(state)
    return Rail(
        state,
        begins=first.begins or first.state is State.IDLE,
        ends=last.ends or last.state is State.IDLE,
    )
