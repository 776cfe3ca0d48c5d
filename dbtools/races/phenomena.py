"""The phenomena of isolation between two programs: each asks a run for the circle of dependencies that its name means.

Sources: Adya 1999 (see `dependencies`); Berenson et al., "A Critique of ANSI SQL Isolation Levels", SIGMOD 1995; Fekete
et al., "Making Snapshot Isolation Serializable", TODS 2005.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbtools.races.anomaly import Anomaly
from dbtools.races.dependencies import Dependencies, Dependency, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.races.footprint import Change


def late_lock(seen: Dependencies, one: str, other: str) -> Anomaly | None:
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


def missed_row(seen: Dependencies, one: str, other: str) -> Anomaly | None:
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


def lost_update(seen: Dependencies, one: str, other: str) -> Anomaly | None:
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


def check_then_insert(seen: Dependencies, one: str, other: str) -> Anomaly | None:
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


def skew(seen: Dependencies, one: str, other: str) -> Anomaly | None:
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


def read_skew(seen: Dependencies, one: str, other: str) -> Anomaly | None:
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


def check_then_act(seen: Dependencies, one: str, other: str) -> Anomaly | None:
    """Return a check whose answer is no longer true when `one` acts on it: that fails."""
    failed = seen.failed
    for read in seen.between(one, other, Kind.RW):
        if failed is not None and failed.actor == one and seen.released(read.first) < seen.released(failed):
            return _acted(read, f"step {failed.number} fails")
    return None


def act_in_vain(seen: Dependencies, one: str, other: str) -> Anomaly | None:
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


PHENOMENA: tuple[Callable[[Dependencies, str, str], Anomaly | None], ...] = (
    late_lock,
    missed_row,
    lost_update,
    check_then_insert,
    skew,
    act_in_vain,
    read_skew,
    check_then_act,
)
"""In the order in which they are asked: a narrower name comes before a wider one."""


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
