"""What an exploration says of a cure, which index the rows suggest, and what a scenario allows."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from dbtools.application import Invariant
from dbtools.races.content import Column, Content, Table
from dbtools.races.cures import _judge, _key_columns, _level_is_fixed
from dbtools.races.footprint import Change, Footprint
from dbtools.races.judge import allows
from dbtools.races.result import ExplorationResult, Verdict
from dbtools.races.run import RunResult
from dbtools.races.scenario import Actor, Scenario
from dbtools.races.trace import Failure, Trace
from tests.support.traces import Tape

SCENARIO = Scenario("case", [Actor("ann", ("true",)), Actor("bob", ("true",))])


def explored(verdict: Verdict = Verdict.HELD, *failures: str, **more: Any) -> ExplorationResult:
    failing = RunResult(Trace(("ann",), failures=[Failure("error", name) for name in failures]), (), Content())
    return ExplorationResult(
        SCENARIO, 16, verdict, complete=2, schedules=Counter({"0 switches": 6}), failing=failing, **more
    )


@pytest.mark.parametrize(
    ("found", "refusal", "verdict", "held"),
    [
        (explored(), "", "holds", True),
        (explored(), "40001", "holds", True),
        (explored(sqlstates=Counter({"40001": 2})), "40001", "holds with retries (40001 in 2 of 6 schedules)", True),
        (explored(sqlstates=Counter({"40001": 2})), "", "holds", True),
        (explored(sqlstates=Counter({"23505": 2})), "40001", "holds", True),
        (
            explored(tolerated=Counter({"40001": 2, "40001 items": 1, "23505 x": 1})),
            "40001",
            "refused with 40001 in 3 of 6 schedules; holds if the program retries",
            True,
        ),
        (
            explored(tolerated=Counter({"23505 dbtools_tried_key": 1})),
            "23505",
            "refused with 23505 in 1 of 6 schedules; holds if the program handles that",
            True,
        ),
        (explored(tolerated=Counter({"40001": 2})), "", "holds", True),
        (explored(Verdict.INCONCLUSIVE, reason="ann sent no SQL."), "", "could not be tried", False),
        (explored(Verdict.VIOLATED, "40P01"), "", "deadlocks", False),
        (explored(Verdict.VIOLATED, "hang"), "", "deadlocks", False),
        (explored(Verdict.VIOLATED, "23505 items_pkey", "40P01"), "", "deadlocks", False),
        (explored(Verdict.VIOLATED, "23505 items_pkey"), "", "does not help", False),
    ],
    ids=str,
)
def test_a_cure_is_judged_by_what_was_explored(
    found: ExplorationResult, refusal: str, verdict: str, held: bool
) -> None:
    trial = _judge("SERIALIZABLE", found, refusal)
    assert (trial.cure, trial.verdict, trial.held) == ("SERIALIZABLE", verdict, held)


def test_how_much_was_tried_is_said() -> None:
    assert _judge("a", explored()).detail == "All schedules with up to 2 switches were tried."
    partly = _judge("a", explored(not_compared=["items.made", "log"]))
    assert partly.detail == "All schedules with up to 2 switches were tried. Not compared: items.made, log."
    failed = _judge("a", explored(Verdict.VIOLATED, "23505 items_pkey"))
    assert failed.detail == "23505 items_pkey, with 0 switches."
    assert _judge("a", explored(Verdict.INCONCLUSIVE, reason="ann sent no SQL.")).detail == "ann sent no SQL."


def test_a_level_that_is_fixed_is_said_to_be() -> None:
    tape = Tape("ann", "bob")
    tape.run("ann", "insert")
    assert _level_is_fixed(RunResult(tape.trace, (), Content(), plain=True), SCENARIO) == ""
    assert _level_is_fixed(RunResult(tape.trace, (), Content()), SCENARIO).startswith("A setting of a connection")
    powerful = Scenario("case", [Actor("ann", ("true",)), Actor("bob", ("true",), superuser=True)])
    fixed = _level_is_fixed(RunResult(tape.trace, (), Content(), plain=True), powerful)
    assert fixed.startswith("A program connects as the superuser")
    tape.run("bob", "set transaction\n isolation level serializable")
    assert _level_is_fixed(RunResult(tape.trace, (), Content(), plain=True), SCENARIO) == (
        "bob sets its isolation level itself: set transaction isolation level serializable"
    )


COLUMNS = (Column("id", surrogate=True), Column("name"), Column("city"), Column("note"))
ROWS = (
    {"id": 1, "name": "Bella", "city": "Rome", "note": "a"},
    {"id": 2, "name": "Bella", "city": "Rome", "note": "b"},
)


def key_columns(*rows: dict[str, Any], query: str = "select 1", relation: str = "clients") -> list[str]:
    changes = [Change(1, "clients", {str(number): row}) for number, row in enumerate(rows)]
    changes.append(Change(2, "elsewhere", {"9": {"id": 3, "name": "Max", "city": "Oslo", "note": "c"}}))
    run = RunResult(Trace(("ann",)), (), Content(), footprint=Footprint(changes=changes))
    start = Content({"clients": Table("clients", COLUMNS, 0, "", ())})
    scenario = SimpleNamespace(invariants=[Invariant("one", query)])
    return _key_columns(SimpleNamespace(start=start, scenario=scenario), run, relation)  # type: ignore[arg-type]


def test_the_index_is_on_what_the_rows_have_in_common_or_what_an_invariant_counts() -> None:
    assert key_columns(*ROWS) == ["name", "city"]
    assert key_columns(ROWS[0], ROWS[1] | {"id": 1}) == ["name", "city"]
    assert key_columns(ROWS[0]) == []
    assert key_columns(*ROWS, relation="unknown") == []
    grouped = "select {} from {} group by {} having count(*) > 1"
    assert key_columns(*ROWS, query=grouped.format("note", "clients", "note, city")) == ["note", "city"]
    assert key_columns(*ROWS, query=grouped.format("*", "clients", "id,name,city,note")) == [*ROWS[0]]
    assert key_columns(*ROWS, query=grouped.format("note", "others", "note")) == ["name", "city"]
    assert key_columns(*ROWS, query=grouped.format("age", "clients", "age")) == ["name", "city"]


@pytest.mark.parametrize(
    ("allow", "failure", "allowed"),
    [
        (("40001",), Failure("error", "40001"), True),
        (("40001",), Failure("error", "40001 items"), True),
        (("40001 items",), Failure("error", "40001 items"), True),
        (("40001 items",), Failure("error", "40001 lines"), False),
        (("40001 items",), Failure("error", "40001"), False),
        (("exit 1",), Failure("exit", "exit 1"), True),
        (("exit",), Failure("exit", "exit 1"), False),
        (("one",), Failure("invariant", "one"), False),
        (("invariant one",), Failure("invariant", "one"), True),
        ((), Failure("error", "40001"), False),
    ],
)
def test_a_refusal_is_allowed_by_its_name_or_its_sqlstate(
    allow: tuple[str, ...], failure: Failure, allowed: bool
) -> None:
    assert allows(allow, failure) is allowed
