"""Tries cures of a race: explores the scenario again, each time with one thing changed around its unmodified programs.

A cure holds if no schedule within the bound of the search fails. Where the server refuses a statement instead (40001,
or 23505 by the tried index), what is left behind must be what the other programs leave without the refused one; then
it is as if that had not come yet, and it can be run again.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg

from dbtools.db.deadlock import DEADLOCK
from dbtools.db.sql import quote
from dbtools.races.pruning import may_change_isolation
from dbtools.races.result import Verdict, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbtools.races.anomaly import Anomaly
    from dbtools.races.execution.lab import Lab
    from dbtools.races.result import ExplorationResult
    from dbtools.races.run import RunResult
    from dbtools.races.scenario import Scenario

KEY = zlib.crc32(b"a tried cure")
"""The key of the advisory lock."""
INDEX = "dbtools_tried_key"
SERIALIZATION_FAILURE, DUPLICATE = "40001", "23505"
LEVELS = ("REPEATABLE READ", "SERIALIZABLE")
_GROUPS = re.compile(r"\bgroup\s+by\s+([\w\s,]+?)\s+having\s+count\s*\(\s*\*\s*\)\s*>\s*1", re.IGNORECASE)


@dataclass(frozen=True)
class Trial:
    """A cure, and what came of it."""

    cure: str
    """What was changed: "REPEATABLE READ", "unique index on clients (name)"."""
    verdict: str
    """"holds", "holds with retries (40001 in 3 of 6 schedules)", "does not help", and the like."""
    detail: str = ""
    """Why, and how much was tried."""
    held: bool = True
    """No schedule failed."""


def try_cures(lab: Lab, run: RunResult, anomaly: Anomaly, explore: Callable[[], ExplorationResult]) -> Iterator[Trial]:
    """Yield the cures of a failing run, each as soon as it is tried; `explore` explores the lab's scenario."""
    scenario = lab.scenario
    plain = replace(scenario, expect="", waits="")
    for level in LEVELS:
        if why := _level_is_fixed(run, scenario):
            yield Trial(level, "could not be tried", why, held=False)
            continue
        lab.scenario = replace(plain, allow=(*scenario.allow, SERIALIZATION_FAILURE))
        lab.set_isolation(level.lower())
        yield _judge(level, explore(), SERIALIZATION_FAILURE)
        lab.set_isolation()
    lab.scenario, lab.guard = plain, KEY
    yield _judge("a lock around each transaction", explore())
    lab.guard = None
    lab.scenario = replace(plain, actors=[actor.under_lock(KEY) for actor in scenario.actors])
    yield _judge("a lock around each program", explore())
    lab.scenario = scenario
    if anomaly.inserted and (columns := _key_columns(lab, run, anomaly.inserted)):
        cure = f"a unique index on {anomaly.inserted} ({', '.join(columns)})"
        names = ", ".join(quote(column) for column in columns)
        table = ".".join(quote(part) for part in anomaly.inserted.split("."))
        try:
            lab.alter_start(f"create unique index {INDEX} on {table} ({names})")
        except psycopg.Error as error:
            yield Trial(cure, "could not be tried", f"{error.diag.message_primary}.", held=False)
            return
        lab.scenario = replace(plain, allow=(*scenario.allow, f"{DUPLICATE} {INDEX}"))
        yield _judge(cure, explore(), DUPLICATE)
        lab.scenario = scenario


def _judge(cure: str, found: ExplorationResult, refusal: str = "") -> Trial:
    """Return the verdict on a cure; `refusal` is the SQLSTATE by which the server may have refused a statement."""
    if found.verdict is Verdict.INCONCLUSIVE:
        return Trial(cure, "could not be tried", found.reason, held=False)
    if found.verdict is Verdict.VIOLATED:
        circle = any(name.startswith(DEADLOCK) or name == "hang" for name in found.failures)
        words = "deadlocks" if circle else "does not help"
        return Trial(cure, words, f"{found.failure}, with {counted(found.switches)}.", held=False)
    tried = f"All schedules with up to {counted(found.complete)} were tried."
    if found.not_compared:
        tried += f" Not compared: {', '.join(found.not_compared)}."
    seen = found.sqlstates[refusal]
    refused = sum(count for name, count in found.tolerated.items() if refusal and name.startswith(refusal))
    if refused:
        retries = "retries" if refusal == SERIALIZATION_FAILURE else "handles that"
        words = f"refused with {refusal} in {refused} of {found.total} schedules; holds if the program {retries}"
        return Trial(cure, words, tried)
    if seen:
        return Trial(cure, f"holds with retries ({refusal} in {seen} of {found.total} schedules)", tried)
    return Trial(cure, "holds", tried)


def _level_is_fixed(run: RunResult, scenario: Scenario) -> str:
    """Return why a default isolation level would not reach the programs, or ""."""
    for step in run.trace.steps:
        if may_change_isolation(step.sql):
            return f"{step.actor} sets its isolation level itself: {' '.join(step.sql.split())[:80]}"
    if not run.plain:
        return "A setting of a connection, a role or the database fixes the isolation level."
    if any(actor.superuser for actor in scenario.actors):
        return "A program connects as the superuser, whom the setting does not reach."
    return ""


def _key_columns(lab: Lab, run: RunResult, relation: str) -> list[str]:
    """Return the columns that a unique index should have, by an invariant, or else by the rows that were inserted.

    These are the columns in which the rows of different programs agree, without the keys that the server hands out.
    """
    known = (
        {column.name: column for column in lab.start.tables[relation].columns} if relation in lab.start.tables else {}
    )
    for invariant in lab.scenario.invariants:
        if (groups := _GROUPS.search(invariant.query)) and re.search(rf"\b{relation}\b", invariant.query):
            columns = [column.strip() for column in groups[1].split(",")]
            if known.keys() >= {*columns}:
                return columns
    assert run.footprint is not None
    rows = [row for change in run.footprint.changes if change.relation == relation for row in change.inserted.values()]
    if len(rows) < 2:
        return []
    return [
        name
        for name, column in known.items()
        if not column.surrogate and len({str(row.get(name)) for row in rows}) == 1
    ]
