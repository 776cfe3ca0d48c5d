"""The client or its sessions are ended in the middle of a run."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools import chain
from dbtools.build.builder import Builder
from dbtools.chain.lock import FENCE
from dbtools.chain.report import NullReport
from dbtools.config import LOCK_KEY, Project
from dbtools.config.steps import Step
from tests.faults.audit import Audit
from tests.faults.child import Child
from tests.faults.environment import NEW, OLD, Moments, environment, port
from tests.faults.figures import at_least, at_most, exactly, none, shown
from tests.faults.load import answers, crowd
from tests.support.runs import GATE
from tests.support.sources import store
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dbtools.db.dsn import Dsn
    from dbtools.server.embedded import EmbeddedServer
    from tests.faults.environment import Environment
    from tests.faults.figures import Figure

FREED_S = 5.0
"""Within this time nothing of a run that has ended is left on the server."""
LATE_STEP = f"""
def run(connection):
    connection.execute("create table late (key int primary key)")
    connection.execute("select pg_advisory_xact_lock_shared({GATE})")
"""


def client(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """Kill -9 the process of a swap reset at random moments, with a reader at work."""
    wrong: list[str] = []
    failed: list[str] = []
    left: list[str] = []
    ends, freed, number = {OLD: 0, NEW: 0}, 0.0, 200 if full else 20
    with environment(server) as here:
        known, contents = answers(here, (NEW, OLD)), here.contents()
        with crowd(here, known, 1) as seen:
            moments = Moments(number, here.duration(), wanted=number // 2)
            for moment in moments:
                with here.resetting(NEW) as child:
                    time.sleep(moment)
                    moments.hits += child.kill()
                found = contents.get(here.digest())
                if found is None:
                    wrong.append(f"neither old nor new after {moment:.3f} s")
                else:
                    ends[found] += 1
                with here.resetting(OLD) as child:
                    ended = child.finish()
                if not ended.ok or contents.get(here.digest()) != OLD:
                    failed.append(ended.error or "wrong content")
                freed = max(freed, here.freed())
                left += here.leftovers()
    yield at_least("runs killed at work", moments.hits, number // 2)
    yield shown("database the old one, the new one", f"{ends[OLD]}, {ends[NEW]}")
    yield none("database neither", wrong)
    yield none("next resets failed", failed)
    yield none("schemas left behind after it", left)
    yield at_most("lock free after", freed, FREED_S, "s")
    yield none("failed reads", seen.readers.errors)
    yield exactly("mixed reads", seen.readers.mixtures, 0)
    yield at_least("reads", seen.readers.reads, 100)


def backend_swap(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """End the session of a swap reset at random moments."""
    wrong: list[str] = []
    failed: list[str] = []
    unclear: list[str] = []
    ends = {OLD: 0, NEW: 0}
    with environment(server) as here:
        contents = here.contents()
        moments = Moments(100 if full else 12, here.duration(), wanted=5)
        for moment in moments:
            with here.resetting(NEW) as child:
                time.sleep(moment)
                here.terminate(child.ports(port(here.url)))
                ended = child.finish()
            moments.hits += not ended.ok
            if not ended.clear:
                unclear.append(ended.error)
            found = contents.get(here.digest())
            if found is None or (ended.ok and found != NEW):
                wrong.append(f"after {moment:.3f} s: {ended}")
            else:
                ends[found] += 1
            with here.resetting(OLD) as child:
                ended = child.finish()
            if not ended.ok or contents.get(here.digest()) != OLD:
                failed.append(ended.error or "wrong content")
        freed, left = here.freed(), here.leftovers()
    yield at_least("runs stopped", moments.hits, 5)
    yield shown("database the old one, the new one", f"{ends[OLD]}, {ends[NEW]}")
    yield none("database neither, or old after success", wrong)
    yield none("unclear errors", unclear)
    yield none("next resets failed", failed)
    yield none("schemas left behind", left)
    yield at_most("lock free after", freed, FREED_S, "s")


def backend_in_place(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """End the session of one of two in-place resets at random moments, while the other waits."""
    with environment(server) as here:
        audit, length = Audit(here), here.duration(in_place=True)
        yield exactly("a planted interleaving is seen", audit.planted(), 1)
        yield from _pairs(here, audit, 60 if full else 8, 0.5 * length)


def lock_lost(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """End only the session that holds the lock of a migrate, while its step works; then reset.

    The reset gets the lock, but has to wait for the step, whose session is behind the fence. So what the step commits
    late is replaced as a whole.
    """
    number, lost, waited = 20 if full else 3, 0, 0
    silent: list[str] = []
    failed: list[str] = []
    wrong: list[str] = []
    with environment(server) as here, tempfile.TemporaryDirectory() as folder:
        upgrade = _late_step(Path(folder))
        contents = here.contents()
        for _ in range(number):
            with ExitStack() as stack:
                with here.holding(GATE):
                    work = partial(chain.migrate, here.target(), upgrade, NullReport())
                    first = stack.enter_context(Child(work, parent=True))
                    until(lambda: here.waiters(GATE) == 1)
                    lost += _end_lock_session(here, first)
                    second = stack.enter_context(here.resetting(NEW))
                    until(partial(_waits_for_fence_or_is_over, here, second))
                    waited += second.working
                migrated, reset = first.finish(), second.finish()
            if migrated.code != 1 or not migrated.foreseen or "lock" not in migrated.error:
                silent.append(migrated.error or "no error")
            if not reset.ok:
                failed.append(reset.error)
            if contents.get(here.digest()) != NEW:
                wrong.append(reset.error or "something of the step is left")
                here.reset(NEW)
        freed = here.freed()
    yield exactly("migrates that lost their lock", lost, number)
    yield none("of them did not say so, with exit code 1", silent)
    yield exactly("resets that waited for the step of such a one", waited, number)
    yield none("resets that failed", failed)
    yield none("database not what the reset wrote", wrong)
    yield at_most("lock free after", freed, FREED_S, "s")


def _late_step(folder: Path) -> Callable[[Dsn, int], Sequence[str]]:
    """Return an upgrade that makes a table and waits at the gate before it commits."""
    (folder / "late.py").write_text(LATE_STEP, "utf-8")
    project = Project(root=folder, migrate=(Step("call", ("late:run",), folder),))
    return Builder(project, store(), dict(os.environ), note=lambda _: None).upgrade


def _pairs(here: Environment, audit: Audit, number: int, length_s: float) -> Iterator[Figure]:
    contents = here.contents(in_place=True)
    wrong: list[str] = []
    failed: list[str] = []
    unclear: list[str] = []
    stopped = 0
    audit.clear()
    moments = Moments(number, length_s, wanted=number // 2)
    for moment in moments:
        with ExitStack() as stack:
            # The first holds the lock, and the fence keeps it from working until the second waits for the lock.
            with here.holding(FENCE | LOCK_KEY):
                first = stack.enter_context(here.resetting(OLD, in_place=True))
                until(lambda: here.holder() is not None)
                second = stack.enter_context(here.resetting(NEW, in_place=True))
                until(lambda: here.waiters(LOCK_KEY) == 1)
            time.sleep(moment)
            hit = here.terminate(first.ports(port(here.url))) > 0
            first_run, next_run = first.finish(), second.finish()
        moments.hits += hit
        stopped += hit and first_run.code == 1
        if not first_run.clear:
            unclear.append(first_run.error or "no error")
        if not next_run.ok:
            failed.append(next_run.error)
        # The run that got the lock last has the last word; a run that failed has none.
        last = OLD if first_run.ok and first_run.value.acquired_at > next_run.value.acquired_at else NEW
        if contents.get(here.digest()) != last:
            wrong.append(f"after {moment:.3f} s: {first_run.error or 'first done'}; {next_run.error or 'second done'}")
    checks, interleaved = audit.read()
    yield at_least("runs hit", moments.hits, number // 2)
    yield exactly("of them stopped with exit code 1", stopped, moments.hits)
    yield none("unclear errors", unclear)
    yield none("the other one failed", failed)
    yield exactly("writes of two chains interleaved", interleaved, 0)
    yield at_least("writes looked at", checks, number)
    yield none("database not what the last one wrote", wrong)
    yield at_most("lock free after", here.freed(), FREED_S, "s")


def _waits_for_fence_or_is_over(here: Environment, child: Child) -> bool:
    return here.waiters(FENCE | LOCK_KEY) == 1 or not child.working


def _end_lock_session(here: Environment, child: Child) -> bool:
    """End the session that holds the seed lock, if it is the child's; return whether it was."""
    pid = here.holder()
    return pid is not None and here.terminate(child.ports(port(here.url)), pid) > 0
