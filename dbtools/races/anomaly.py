"""Names the anomaly of a failing run in the field's words, as far as its dependencies bear the name out.

Each rule below asks for the circle of dependencies that its name stands for. Where none is found, only the class is
said: a read-write conflict, or a write-write conflict. Sources: Adya 1999 (see `dependencies`); Berenson et al., "A
Critique of ANSI SQL Isolation Levels", SIGMOD 1995; Fekete et al., "Making Snapshot Isolation Serializable", TODS 2005.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

from dbtools.db.deadlock import DEADLOCK
from dbtools.races.dependencies import Dependencies, Dependency, Kind
from dbtools.races.footprint import AccessKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.races.footprint import Change
    from dbtools.races.run import RunResult
    from dbtools.races.trace import Step

_SHARE = re.compile(r"\bfor\s+(key\s+)?share\b", re.IGNORECASE)
_DEFINES = re.compile(r"\s*(create|alter|drop)\b", re.IGNORECASE)
_ABSENT = ("42P01", "42703", "42704", "3F000", "XX000")
"""What was there a moment ago is not, or was changed meanwhile: table, column, object, schema, catalogue row."""
_PRESENT = ("42P07", "42701", "42710", "42723", "42P06")
"""What was not there a moment ago is: table, column, object such as a type, function, schema."""
_WAITED = re.compile(r"waits for \w+ on (.+); blocked by")


@dataclass(frozen=True)
class Anomaly:
    """What a failing run is called, and why."""

    name: str
    """Such as "lost update"."""
    why: str
    """What makes it one, in a sentence or two."""
    dependencies: tuple[Dependency, ...] = ()
    """Those that bear it out."""
    inserted: str = ""
    """The relation into which both have inserted what each had found missing; "" in other anomalies."""
    lines: tuple[str, ...] = ()
    """What bears it out where that is no dependency: who waited for whom."""

    @property
    def evidence(self) -> list[str]:
        """What bears the name out, in lines."""
        return [*(str(dependency) for dependency in self.dependencies), *self.lines]


def name_anomaly(run: RunResult, matters: Callable[[Step, str], bool] = lambda *_: True) -> Anomaly:
    """Return the anomaly of a failing, observed run; for `matters` see `Dependencies`."""
    seen = Dependencies(run, matters)
    for whole in (_deadlock, _hang):
        if found := whole(seen, run):
            return found
    if seen.footprint.blind:
        return Anomaly("unknown", "A program locks one of the server's catalogues, so the run could not be observed.")
    pairs = list(permutations(run.trace.actors, 2))
    for rule in _RULES:
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
    defines = any(map(_DEFINES.match, seen.sent(other)))
    catalogue = failed is not None and failed.subject.startswith("pg_")
    clash = failed is not None and (catalogue or failed.sqlstate in (*_ABSENT, *_PRESENT))
    if failed is not None and failed.actor == one and (theirs or defines) and clash:
        is_both = _DEFINES.match(failed.sql) is not None
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


def _late_lock(seen: Dependencies, one: str, other: str) -> Anomaly | None:
    """Return a lock taken too late: both take it, but `one` has read before it has got it."""
    for read, back in _circles(seen, one, other):
        theirs = {access.relation: access for access in seen.locks(other)}
        for mine in seen.locks(one):
            held = theirs.get(mine.relation)
            late = held is not None and seen.seen(read.first) < seen.took(mine) <= seen.released(back.second)
            if held is not None and late and seen.took(held) <= seen.released(read.second):
                why = (
                    f"{one} and {other} both take {mine.relation}, but {one} sees a state from before it has it"
                    f" (step {mine.step}): step {read.first.number} does not see what {other} wrote under it."
                )
                return Anomaly("lock taken too late", why, (read, back))
    return None


def _missed_row(seen: Dependencies, one: str, other: str) -> Anomaly | None:
    """Return a row missed behind a sequence: `one` has read a higher key, and `other` commits a lower one after."""
    for read in seen.between(one, other, Kind.RW):
        if read.change is None or seen.changed(one, read.relation):
            continue
        for known in seen.read_by(one):
            if known.relation != read.relation or known.change is None or known.second is not read.first:
                continue
            late, early = _numbers(read.change), _numbers(known.change)
            if late and early and min(late) < max(early):
                why = (
                    f"{one} had read row {max(early)} of {read.relation} when row {min(late)} was committed:"
                    f" keys are handed out in order, but not committed in order."
                )
                return Anomaly("missed row behind a sequence", why, (known, read))
    return None


def _lost_update(seen: Dependencies, one: str, other: str) -> Anomaly | None:
    """Return a lost update: r1[x] w2[x] w1[x], which is P4 of Berenson et al."""
    for read, back in _circles(seen, one, other):
        if back.kind is not Kind.WW or back.before is not read.change or read.change is None or back.change is None:
            continue
        if rows := sorted(read.change.updated & back.change.updated):
            row = f"a row of {read.relation}" if rows[0].startswith("(") else f"row {rows[0]} of {read.relation}"
            why = (
                f"{one} wrote {row} from what it had read before {other} wrote it:"
                f" the work of {other} is lost. {_across(seen, read, back)}"
            )
            return Anomaly("lost update", why.strip(), (read, back))
    return None


def _check_then_insert(seen: Dependencies, one: str, other: str) -> Anomaly | None:
    """Return a phantom by insertion: each looks into a relation, and inserts into it what the other does not see."""
    for read, back in _circles(seen, one, other):
        if read.change is None or not read.change.inserted or back.relation != read.relation:
            continue
        both = back.kind is Kind.RW and back.change is not None and back.change.inserted
        refused = back.second is seen.failed and seen.failed.sqlstate == "23505"
        if both or refused:
            end = "the unique key refuses the second row" if refused else "both rows are there"
            why = (
                f"{one} looked into {read.relation} before {other} had inserted, and then inserted as well: {end}."
                f" What it looked for was not there, so no lock on a row could stop it. {_across(seen, read, back)}"
            )
            return Anomaly("check-then-insert (phantom)", why.strip(), (read, back), read.relation)
    return None


def _skew(seen: Dependencies, one: str, other: str) -> Anomaly | None:
    """Return write skew: each reads what the other one changes, and they change different rows (A5B)."""
    for read, back in _circles(seen, one, other):
        if back.kind is not Kind.RW or read.change is None or back.change is None:
            continue
        if seen.between(one, other, Kind.WW) or seen.between(other, one, Kind.WW):
            continue
        phantom = bool(read.change.inserted or back.change.inserted)
        why = (
            f"{one} and {other} each decide by what the other one changes, and neither sees the other's change;"
            f" they change different rows, so no row lock meets. {_across(seen, read, read)}"
        )
        return Anomaly("write skew with a phantom" if phantom else "write skew", why.strip(), (read, back))
    return None


def _read_skew(seen: Dependencies, one: str, other: str) -> Anomaly | None:
    """Return read skew: `one` has read before `other` changed something, and again after (A5A).

    A non-repeatable read is the same with one row in the place of two, which reads do not tell.
    """
    for read in seen.between(one, other, Kind.RW):
        for again in seen.between(other, one, Kind.WR):
            if seen.released(read.first) < seen.released(again.second) and again.second is not seen.failed:
                what = "the same again" if again.relation == read.relation else again.relation
                if read.change and again.change and read.change.step == again.change.step:
                    why = f"{one} read {read.relation} before {other} committed, and {what} after: two states in one."
                    return Anomaly("read skew", f"{why} {_across(seen, read, again)}".strip(), (read, again))
    return None


def _check_then_act(seen: Dependencies, one: str, other: str) -> Anomaly | None:
    """Return a check whose answer is no longer true when `one` acts on it: that fails."""
    failed = seen.failed
    for read in seen.between(one, other, Kind.RW):
        if failed is not None and failed.actor == one and seen.released(read.first) < seen.released(failed):
            return _acted(read, f"step {failed.number} fails")
    return None


def _act_in_vain(seen: Dependencies, one: str, other: str) -> Anomaly | None:
    """Return a check whose answer is no longer true when `one` acts on it: that finds nothing to change."""
    for read in seen.between(one, other, Kind.RW):
        for step in seen.trace.steps:
            late = read.change is not None and seen.committed(read.change) < seen.released(step)
            if late and step.actor == one and step.tag.endswith(" 0") and seen.is_write(step, read.relation):
                return _acted(read, f"step {step.number} changes no row")
    return None


def _acted(read: Dependency, end: str) -> Anomaly:
    one, other = read.first.actor, read.second.actor
    why = f"{one} read {read.relation} before {other} changed it, and acted on that: {end}."
    return Anomaly("check-then-act", why, (read,))


_RULES: tuple[Callable[[Dependencies, str, str], Anomaly | None], ...] = (
    _definition,
    _late_lock,
    _missed_row,
    _lost_update,
    _check_then_insert,
    _skew,
    _act_in_vain,
    _read_skew,
    _check_then_act,
)


def _class_only(seen: Dependencies) -> Anomaly:
    """Return the class of a run that none of the names fits for sure: a circle, or else any dependency."""
    for name, kind in (("read-write conflict", Kind.RW), ("write-write conflict", Kind.WW)):
        for there in (dependency for dependency in seen.all if dependency.kind is kind):
            back = seen.between(there.second.actor, there.first.actor)
            why = f"{there.first.actor} and {there.second.actor} meet in {there.relation};"
            return Anomaly(name, f"{why} the evidence does not decide for a narrower name.", (there, *back[:1]))
    return Anomaly("unknown", "No dependency between the programs was seen.")


def _circles(seen: Dependencies, one: str, other: str) -> list[tuple[Dependency, Dependency]]:
    """Return the pairs of a read by `one` that `other` overtakes, and a dependency that leads back to a later step."""
    return [
        (read, back)
        for read in seen.between(one, other, Kind.RW)
        for back in seen.between(other, one)
        if seen.released(back.second) >= seen.released(read.first)
    ]


def _across(seen: Dependencies, read: Dependency, write: Dependency) -> str:
    """Return a remark if a program reads and writes in different transactions, else ""."""
    if write is read or seen.are_one(read.first, write.second):
        return ""
    return (
        f"Steps {read.first.number} and {write.second.number} of {read.first.actor} are in different transactions,"
        " so no isolation level connects them."
    )


def _numbers(change: Change) -> list[int]:
    return [int(key) for key in change.inserted if re.fullmatch(r"-?\d+", key)]
