"""Makes a failing schedule simpler: fewer switches, then fewer runs, then fewer choices, then fewer counted steps.

Greedy: a run is left out, merged or shortened, and the simpler schedule is kept if it fails in the same way. This ends,
because each kept schedule is simpler than the one before. The result need not be the simplest of all; but a search that
begins with few switches has tried those before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.races.schedule import preemptions, schedule_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbtools.races.run import RunResult
    from dbtools.races.schedule import Schedule

MAX_TRIES = 100
"""How many schedules are run to shrink one."""


def shrink(found: RunResult, run: Callable[[Schedule], RunResult]) -> tuple[Schedule, RunResult]:
    """Return the simplest schedule that was seen to fail as `found` did, and its run."""
    best, schedule, left = found, schedule_of(found.choices), MAX_TRIES
    tried = {schedule}
    again = True
    while again and left:
        again = False
        for candidate in _simpler(schedule):
            if candidate in tried or not left:
                continue
            tried.add(candidate)
            left -= 1
            result = run(candidate)
            if result.failures == found.failures and not result.diverged and _size(result) < _size(best):
                best, schedule, again = result, schedule_of(result.choices), True
                break
    return schedule, best


def _size(result: RunResult) -> tuple[int, int, int, int]:
    schedule = schedule_of(result.choices)
    steps = sum(count or 0 for _, count in schedule)
    return preemptions(result.choices), len(schedule), len(result.choices), steps


def _simpler(schedule: Schedule) -> Iterator[Schedule]:
    for position in range(len(schedule)):
        yield from filter(None, [schedule[:position] + schedule[position + 1 :]])
    for position, (actor, count) in enumerate(schedule):
        if count is not None:
            yield (*schedule[:position], (actor, None), *schedule[position + 1 :])  # let it run on
            less = count // 2
            while less:
                yield (*schedule[:position], (actor, count - less), *schedule[position + 1 :])
                less //= 2
