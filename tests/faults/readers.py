"""Resets and seeds under readers and a writer, and beside them resets in place, under the same load."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from tests.faults.child import Child
from tests.faults.environment import NEW, OLD, environment
from tests.faults.figures import at_least, exactly, none, shown
from tests.faults.load import Crowd, answers, crowd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbtools.chain.phase import Outcome
    from dbtools.server.embedded import EmbeddedServer
    from tests.faults.environment import Environment
    from tests.faults.figures import Figure
    from tests.faults.load import Answers

READERS = 4


def under_reset(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """Reset 6 times (100 in full) under four readers, joins and transactions of two reads, and one writer."""
    number, compared = (100, 30) if full else (6, 2)
    with environment(server) as here:
        known = answers(here, (NEW, OLD))
        swap, in_place = here.reset, partial(here.reset, in_place=True)
        seen, failed, seconds = _runs(here, known, number, swap)
        yield none(f"of {number} swap resets failed", failed)
        yield none(f"of {seen.readers.reads} reads failed", seen.readers.errors)
        yield exactly("reads of a mixture", seen.readers.mixtures, 0)
        yield none(f"of {seen.writer.reads} writes failed", seen.writer.errors)
        yield at_least("reads during a reset", seen.readers.reads / number, 10)
        yield shown("worst latency of a read", seen.readers.worst, "s")
        yield shown("longest reset", seconds, "s")
        seen, failed, seconds = _runs(here, known, compared, in_place)
        yield shown(f"in place: of {compared} resets failed", len(failed))
        yield shown("in place: reads failed", f"{len(seen.readers.errors)} of {seen.readers.reads}")
        yield shown("in place: worst latency of a read", seen.readers.worst, "s")
        yield shown("in place: longest reset", seconds, "s")
        seen, failed, _ = _runs(here, known, number, here.seed)
        yield none(f"of {number} seeds failed", failed)
        yield none(f"of {seen.readers.reads} reads under them failed", seen.readers.errors)
        yield none(f"of {seen.writer.reads} writes under them failed", seen.writer.errors)
        # Not required: TRUNCATE shows an empty table to a snapshot that is older than it.
        yield shown("seed: reads of a mixture", seen.readers.mixtures)
        yield shown("seed: worst latency of a read", seen.readers.worst, "s")


def _runs(
    here: Environment, known: Answers, number: int, action: Callable[[int], Outcome]
) -> tuple[Crowd, list[str], float]:
    failed, longest = list[str](), 0.0
    with crowd(here, known, READERS, writer=True) as seen:
        for turn in range(number):
            started = time.monotonic()
            with Child(partial(action, OLD if turn % 2 else NEW)) as child:
                ended = child.finish()
            longest = max(longest, time.monotonic() - started)
            failed += [ended.error] * (not ended.ok)
    return seen, failed, longest
