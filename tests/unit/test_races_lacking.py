"""What an exploration lacks, to say that a scenario held."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from dbtools.races.evidence import lacking
from dbtools.races.result import ExplorationResult
from dbtools.races.scenario import Actor, Scenario


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({}, ""),
        ({"complete": 0}, "Not even all schedules with 1 switch were tried: 7 are too few."),
        (
            {"complete": 0, "out_of_time": True},
            "The time was up after 7 schedules, before all with 1 switch were tried.",
        ),
        ({"complete": 1, "out_of_time": True}, ""),
        ({"silent": {"b"}}, "b sent no SQL."),
    ],
    ids=["nothing", "few", "time", "late", "silent"],
)
def test_what_is_lacking_is_said(found: dict[str, Any], reason: str) -> None:
    whole: dict[str, Any] = {"complete": 2, "bound": 2, "switched": True, "schedules": Counter({"1 switch": 7})}
    scenario = Scenario("two", [Actor("a"), Actor("b")])
    assert lacking(ExplorationResult(scenario, 16, **(whole | found))) == reason
