"""Make a failing schedule as simple as it can be: fewest switches, then fewest runs, then fewest steps before them.

Greedy: a run is left out, merged or made shorter, and the simpler schedule is kept if it fails in the same way. This
ends, because each kept one is simpler; it need not find the simplest of all, though the search that goes by the number
of switches has begun with those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.races.strategies import preemptions, runs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbtools.races.execution.lab import Played
    from dbtools.races.strategies import Runs

TRIES = 100
"""Schedules that are run to shrink one."""


def shrink(found: Played, play: Callable[[Runs], Played]) -> tuple[Runs, Played]:
    """Return the simplest schedule that was seen to fail as `found` did, and its run."""
    best, schedule, left = found, runs_of(found.choices), TRIES
    tried = {schedule}
    again = True
    while again and left:
        again = False
        for candidate in _simpler(schedule):
            if candidate in tried or not left:
                continue
            tried.add(candidate)
            left -= 1
            played = play(candidate)
            if played.failure == found.failure and not played.diverged and _size(played) < _size(best):
                best, schedule, again = played, runs_of(played.choices), True
                break
    return schedule, best


def _size(played: Played) -> tuple[int, int, int, int]:
    runs = runs_of(played.choices)
    return preemptions(played.choices), len(runs), len(played.choices), sum(count or 0 for _, count in runs)


def _simpler(runs: Runs) -> Iterator[Runs]:
    for at in range(len(runs)):
        yield from filter(None, [runs[:at] + runs[at + 1 :]])
    for at, (actor, count) in enumerate(runs):
        if count is not None:
            yield (*runs[:at], (actor, None), *runs[at + 1 :])  # let it run on
            less = count // 2
            while less:
                yield (*runs[:at], (actor, count - less), *runs[at + 1 :])
                less //= 2
