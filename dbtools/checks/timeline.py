"""When each process of a round waited for the seed lock and when it held it, drawn as SVG."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbtools.checks.job import Result
    from dbtools.checks.reader import Reads
    from dbtools.checks.round import Round

_WIDTH, _LEFT, _RIGHT, _LANE, _STRIP = 900, 90, 10, 18, 40
"""Units of the drawing: its width, what the names take, the margin, the height of a process's lane and of the reads."""


def timelines(rounds: Sequence[Round]) -> str:
    """Return a drawing for each round in which a process had the lock, as HTML; "" if there is none.

    Times are the server's, from the first moment on at which a process waited. A pale bar is a wait, a dark one the
    critical section: two dark bars never stand over each other where the lock holds. Below them is a line for each read
    of the reader, as long as the read took.
    """
    drawings = [
        f"<h3>Round {number}: {escape(played.processes)}</h3>\n{_draw(spans, played.reads)}"
        for number, played in enumerate(rounds, 1)
        if (spans := sorted(_spans(played.results), key=lambda span: span[2]))
    ]
    return "\n".join(["<h2>The lock</h2>", *drawings]) if drawings else ""


def _spans(results: Sequence[Result]) -> Iterator[tuple[str, float, float, float]]:
    """Yield the action of each process, and the Unix times at which it began to wait, got the lock and gave it back."""
    for result in results:
        if result.acquired_at and result.released_at:
            acquired = datetime.fromisoformat(result.acquired_at).timestamp()
            released = datetime.fromisoformat(result.released_at).timestamp()
            yield result.action, acquired - result.waited, acquired, released


def _draw(spans: Sequence[tuple[str, float, float, float]], reads: Reads) -> str:
    first, last = min(span[1] for span in spans), max(span[3] for span in spans)
    scale = (_WIDTH - _LEFT - _RIGHT) / max(last - first, 1e-6)
    lanes = _LANE * len(spans)
    strip = [
        (_LEFT + (at - first) * scale, max(seconds / reads.longest * _STRIP, 1))
        for at, seconds in reads.spans
        if first <= at <= last
    ]
    height = lanes + 16 + (_STRIP + 8) * bool(strip)
    shapes = [f'<line class="line" x1="{_LEFT}" y1="{height - 14}" x2="{_WIDTH - _RIGHT}" y2="{height - 14}"/>']
    for lane, (action, waits, acquired, released) in enumerate(spans):
        y = lane * _LANE
        words = f"{action}: waited {acquired - waits:.3f} s, held the lock for {released - acquired:.3f} s"
        shapes += [
            f"<g><title>{escape(words)}</title>",
            f'<text x="0" y="{y + 13}">{escape(action)}</text>',
            *(
                f'<rect class="{name}" x="{_LEFT + (start - first) * scale:.1f}" y="{y + 4}"'
                f' width="{max((end - start) * scale, 1):.1f}" height="{_LANE - 8}"/>'
                for name, start, end in (("wait", waits, acquired), ("hold", acquired, released))
            ),
            "</g>",
        ]
    if strip:
        base = lanes + _STRIP + 6
        words = f"{reads.number} reads, {len(reads.errors)} failed, the longest took {reads.longest:.3f} s"
        lines = " ".join(f"M{x:.1f} {base}v{-length:.1f}" for x, length in strip)
        shapes += [f"<g><title>{escape(words)}</title>", f'<text x="0" y="{base}">reads</text>']
        shapes += [f'<path class="reads" d="{lines}"/>', "</g>"]
    shapes.append(f'<text class="faint" x="{_LEFT}" y="{height - 2}">0 s</text>')
    shapes.append(
        f'<text class="faint" x="{_WIDTH - _RIGHT}" y="{height - 2}" text-anchor="end">{last - first:.3f} s</text>'
    )
    head = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Waits and critical sections">'
    return "".join([head, *shapes, "</svg>"])
