"""The client or its sessions are ended in the middle of a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from scripts.faults.audit import Audit
from scripts.faults.child import until
from scripts.faults.figures import at_least, at_most, exactly, none, shown
from scripts.faults.load import answers, crowd
from scripts.faults.stage import NEW, OLD, moments, port, stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.server.embedded import EmbeddedServer
    from scripts.faults.child import Child
    from scripts.faults.figures import Figure
    from scripts.faults.stage import Stage

FREED = 5.0
"""Seconds within which nothing of a run that has ended is left on the server."""
HOLDER = (
    "from pg_locks where locktype = 'advisory' and granted and classid = 0 and objid = 1196576591"
    " and database = (select oid from pg_database where datname = current_database())"
)


def client(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """Kill -9 the process of a swap reset at random moments, with a reader at work."""
    wrong: list[str] = []
    failed: list[str] = []
    left: list[str] = []
    ends, hit, freed = {OLD: 0, NEW: 0}, 0, 0.0
    with stage(server) as here:
        known, contents = answers(here, (NEW, OLD)), here.contents()
        with crowd(here, known, 1) as seen:
            length = here.duration()
            for moment in moments(200 if full else 20, length):
                with here.resetting(NEW) as child:
                    time.sleep(moment)
                    hit += child.kill()
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
    yield at_least("runs killed at work", hit, sum(ends.values()) // 2)
    yield shown("database the old one, the new one", f"{ends[OLD]}, {ends[NEW]}")
    yield none("database neither", wrong)
    yield none("next resets failed", failed)
    yield none("schemas left behind after it", left)
    yield at_most("lock free after", freed, FREED, "s")
    yield none("failed reads", seen.readers.errors)
    yield exactly("mixed reads", seen.readers.mixtures, 0)
    yield at_least("reads", seen.readers.reads, 100)


def backend_swap(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """End the session of a swap reset at random moments."""
    wrong: list[str] = []
    failed: list[str] = []
    unclear: list[str] = []
    stopped, ends = 0, {OLD: 0, NEW: 0}
    with stage(server) as here:
        contents, length = here.contents(), here.duration()
        for moment in moments(100 if full else 12, length):
            with here.resetting(NEW) as child:
                time.sleep(moment)
                here.terminate(child.ports(port(here.url)))
                ended = child.finish()
            stopped += not ended.ok
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
    yield at_least("runs stopped", stopped, 5)
    yield shown("database the old one, the new one", f"{ends[OLD]}, {ends[NEW]}")
    yield none("database neither, or old after success", wrong)
    yield none("unclear errors", unclear)
    yield none("next resets failed", failed)
    yield none("schemas left behind", left)
    yield at_most("lock free after", freed, FREED, "s")


def backend_in_place(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """End all sessions of one of two in-place resets at random moments, while the other waits."""
    with stage(server) as here:
        audit, length = Audit(here), here.duration(in_place=True)
        yield exactly("a planted interleaving is seen", audit.planted(), 1)
        yield from _pairs(here, audit, list(moments(60 if full else 8, 0.5 * length)), lock_only=False)


def lock_lost(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """End only the session that holds the lock of an in-place reset, while it works and another one waits."""
    with stage(server) as here:
        audit, length = Audit(here), here.duration(in_place=True)
        yield from _pairs(here, audit, list(moments(60 if full else 8, 0.6 * length)), lock_only=True)


def _pairs(here: Stage, audit: Audit, when: list[float], *, lock_only: bool) -> Iterator[Figure]:
    contents = here.contents(in_place=True)
    wrong: list[str] = []
    failed: list[str] = []
    unclear: list[str] = []
    hit = stopped = 0
    audit.clear()
    for moment in when:
        with here.resetting(OLD, in_place=True) as first:
            until(lambda: here.query(f"select pid {HOLDER}") != [])
            with here.resetting(NEW, in_place=True) as second:
                time.sleep(moment)
                ended_sessions = _end(here, first, lock_only=lock_only)
                one, two = first.finish(), second.finish()
        hit += ended_sessions
        stopped += bool(ended_sessions) and one.code == 1
        if not one.clear or (lock_only and ended_sessions and "lock" not in one.error):
            unclear.append(one.error or "no error")
        if not two.ok:
            failed.append(two.error)
        # The one that got the lock last has the last word; one that failed has none.
        last = OLD if one.ok and one.value.acquired_at > two.value.acquired_at else NEW
        if contents.get(here.digest()) != last:
            wrong.append(f"after {moment:.3f} s: {one.error or 'first done'}; {two.error or 'second done'}")
    checks, interleaved = audit.read()
    yield at_least("runs hit", hit, len(when) // 2)
    yield exactly("of them stopped with exit code 1", stopped, hit)
    yield none("unclear errors", unclear)
    yield none("the other one failed", failed)
    yield exactly("writes of two chains interleaved", interleaved, 0)
    yield at_least("writes looked at", checks, len(when))
    yield none("database not what the last one wrote", wrong)
    yield at_most("lock free after", here.freed(), FREED, "s")


def _end(here: Stage, child: Child, *, lock_only: bool) -> int:
    """End the session that holds the lock, or all of the child's; return whether the child was at work."""
    ports = child.ports(port(here.url))
    if not lock_only:
        return int(here.terminate(ports) > 0)
    return len(
        here.query(
            "select pg_terminate_backend(a.pid) from pg_stat_activity a where client_port = any(%s)"
            f" and pid in (select pid {HOLDER})",
            ports,
        )
    )
