"""What an exploration in which nothing failed lacks, to say that the scenario held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.races.shards import WHOLE
from dbtools.words import number_of

if TYPE_CHECKING:
    from dbtools.races.result import ExplorationResult


def lacking(result: ExplorationResult) -> str:
    """Return why nothing can be said although nothing failed, in a sentence; "" if something could have failed.

    Of a shard it is asked only what every shard must have. What has to be seen once may be seen in any.
    """
    scenario, waits = result.scenario, result.scenario.waits
    whole = result.deal.shard == WHOLE
    unjudged = [
        f"{count} of {result.total} schedules could not be judged: {why}" for why, count in result.unjudged.items()
    ]
    reason = ""
    if result.alone:
        reason = result.alone
    elif unjudged:
        reason = unjudged[0]
    elif result.silent and whole:
        reason = f"{', '.join(sorted(result.silent))} sent no SQL."
    elif result.complete < min(1, result.bound):
        reason = f"Not even all schedules with 1 switch were tried: {result.total} are too few."
        if result.out_of_time:
            reason = (
                f"The time was up after {number_of(result.total, 'schedule')}, before all with 1 switch were tried."
            )
    elif not result.interleaved and result.starved and whole:
        reason = (
            "In every schedule that preempted an actor, a program gave up waiting for one that could have gone on:"
            " give it more time."
        )
    elif not result.interleaved and whole:
        reason = "No schedule preempted an actor: there is nothing to interleave."
        if result.longest <= len(scenario.actors):
            latches = "[latches.NAME]" if scenario.file else "latches=[Latch(...)]"
            reason += f" A latch stops a statement in its middle: {latches}."
    elif waits and whole and not any(waits in lock for lock in result.waits):
        reason = f"No schedule waited for {waits}, so the lock was not tested."
    return reason
