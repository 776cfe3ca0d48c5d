"""Names the anomaly of a failing run in the field's words, as far as its dependencies bear the name out.

What ends a run at once is asked first: a deadlock, a hang, a definition (DDL) under the feet of another program. Then
come the phenomena of isolation (see `phenomena`). Where none is found, only the class is said: a read-write conflict,
or a write-write conflict.
"""

from __future__ import annotations

import re
from itertools import permutations
from typing import TYPE_CHECKING

from dbtools.db.deadlock import DEADLOCK
from dbtools.races.anomaly import Anomaly
from dbtools.races.dependencies import Dependencies, Kind
from dbtools.races.footprint import AccessKind
from dbtools.races.overlap import defines
from dbtools.races.phenomena import PHENOMENA

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.races.run import RunResult
    from dbtools.races.trace import Step

_SHARE = re.compile(r"\bfor\s+(key\s+)?share\b", re.IGNORECASE)
_ABSENT = ("42P01", "42703", "42704", "3F000", "XX000")
"""What was there a moment ago is not, or was changed meanwhile: table, column, object, schema, catalogue row."""
_PRESENT = ("42P07", "42701", "42710", "42723", "42P06")
"""What was not there a moment ago is: table, column, object such as a type, function, schema."""
_WAITED = re.compile(r"waits for \w+ on (.+); blocked by")


def name_anomaly(run: RunResult, matters: Callable[[Step, str], bool] = lambda *_: True) -> Anomaly:
    """Return the anomaly of a failing, observed run; for `matters` see `Dependencies`."""
    seen = Dependencies(run, matters)
    for whole in (_deadlock, _hang):
        if found := whole(seen, run):
            return found
    if seen.footprint.blind:
        return Anomaly("unknown", "A program locks one of the server's catalogues, so the run could not be observed.")
    pairs = list(permutations(run.trace.actors, 2))
    for rule in (_definition, *PHENOMENA):
        for one, other in pairs:
            if found := rule(seen, one, other):
                return found
    return _class_only(seen)


def _deadlock(seen: Dependencies, run: RunResult) -> Anomaly | None:
    if not any(failure.name.startswith(DEADLOCK) for failure in run.trace.failures) or seen.failed is None:
        return None
    lines = tuple(seen.failed.detail.splitlines())
    locks = [match[1] for line in lines if (match := _WAITED.search(line))]
    shared = any(access.kind is AccessKind.SHARE for access in seen.footprint.accesses) or any(
        _SHARE.search(step.sql) for step in seen.trace.steps
    )
    if shared or (locks and len(set(locks)) == 1 and locks[0] != "transaction"):
        why = (
            "Each waits for a lock that another one holds. A lock held in a shared mode is among them, or one lock is."
        )
        return Anomaly("deadlock", f"{why} So the order of taking them need not be the cause.", lines=lines)
    why = "Each holds a lock that another one waits for: they take the same locks in different orders."
    return Anomaly("deadlock by order", why, lines=lines)


def _hang(_seen: Dependencies, run: RunResult) -> Anomaly | None:
    hangs = tuple(failure.detail for failure in run.trace.failures if failure.name == "hang")
    why = "The programs wait for each other, and not for locks of the server alone: it does not see a circle."
    return Anomaly("hang", why, lines=hangs) if hangs else None


def _definition(seen: Dependencies, one: str, other: str) -> Anomaly | None:
    """Return a DDL race: one defines what the other one defines, writes or reads meanwhile."""
    failed = seen.failed
    theirs = [change.relation for change in seen.footprint.changes if change.defined and seen.actor(change) == other]
    does = any(map(defines, seen.sent(other)))
    catalogue = failed is not None and failed.subject.startswith("pg_")
    clash = failed is not None and (catalogue or failed.sqlstate in (*_ABSENT, *_PRESENT))
    if failed is not None and failed.actor == one and (theirs or does) and clash:
        is_both = defines(failed.sql)
        mine = "also creates, alters or drops" if is_both else "needs"
        names = ", ".join(dict.fromkeys(theirs)) or "something"
        what = f"{other} defines {names} while {one} {mine} something"
        if not theirs and is_both:  # schemas, functions and the like
            what = f"{other} and {one} create, alter or drop something at once"
        why = f"{what}: step {failed.number} of {one} fails by that."
        lines = (f"Step {failed.number} of {one}: {failed.sqlstate} {failed.message}",)
        return Anomaly("DDL race", why, tuple(seen.between(other, one))[:1], lines=lines)
    for there in seen.between(one, other):
        for back in seen.between(other, one):
            if there.relation == back.relation and there.before and there.before.defined and back.kind is Kind.WW:
                why = (
                    f"{one} defines {there.relation} and goes on to use it as it has made it; {other} comes in between."
                )
                return Anomaly("DDL race", why, (there, back))
    return None


def _class_only(seen: Dependencies) -> Anomaly:
    """Return the class of a run that none of the names fits for sure: a circle, or else any dependency."""
    for name, kind in (("read-write conflict", Kind.RW), ("write-write conflict", Kind.WW)):
        for there in (dependency for dependency in seen.all if dependency.kind is kind):
            back = seen.between(there.second.actor, there.first.actor)
            why = f"{there.first.actor} and {there.second.actor} meet in {there.relation};"
            return Anomaly(name, f"{why} the evidence does not decide for a narrower name.", (there, *back[:1]))
    return Anomaly("unknown", "No dependency between the programs was seen.")
