"""Reports of shards, put together: what is refused, what is counted once, and when the whole has held."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dbtools.__main__ import main
from dbtools.errors import ConfigurationError
from dbtools.races import Actor, Scenario, Verdict, report
from dbtools.races.merge import Merged, merge
from dbtools.races.result import ExplorationResult
from dbtools.races.shard_report import read
from dbtools.races.shards import Deal, Shard

LOCK = "advisory lock 7"


def explored(number: int, of: int = 3, *, expect: str = "", waits: str = "", **more: Any) -> dict[str, Any]:
    """Return the report of a shard in which nothing has failed, and each of whose schedules has switched."""
    found = ExplorationResult(
        Scenario("counter", [Actor("a"), Actor("b")], expect=expect, waits=waits),
        16,
        complete=2,
        switched=True,
        longest=8,
        bound=2,
        seconds=1.5,
        deal=Deal(Shard(number, of), 12, 99),
    )
    found.schedules.update({"one after the other": 4, "0 switches": 2})
    found.waits.update({LOCK: 1})
    found.shared = found.counts
    found.schedules.update({"1 switch": 4, "2 switches": 10 * number})
    found.waits.update({LOCK: number})
    for name, value in more.items():
        setattr(found, name, value)
    return {**report.to_json(found), "path": f"{number}.json"}


def violated(number: int, *, switches: int = 1, expected: bool = False, failure: str = "deadlock") -> dict[str, Any]:
    trace = {"failures": [{"detail": f"What {number} saw."}]}
    token = f"pgr1-{number}"
    found = {"verdict": "violated", "failure": failure, "switches": switches, "token": token, "trace": trace}
    return explored(number, reason="?") | found | {"expected": expected, "reason": ""}


def merged(folder: Path, *reports: dict[str, Any]) -> Merged:
    paths = []
    for number, found in enumerate(reports):
        paths.append(folder / f"{number}-{found['path']}")
        paths[-1].write_text(json.dumps({key: value for key, value in found.items() if key != "path"}), "utf-8")
    return merge([read(path) for path in paths])


def test_what_all_have_run_is_counted_once(tmp_path: Path) -> None:
    found = merged(tmp_path, explored(2), explored(3), explored(1))
    assert report.merged(found) == [
        "✓ counter: held. All schedules with up to 2 switches: 74, none fails.",
        "  Merged from 3 shards.",
        "  Besides: 4 one after the other; none fails.",
        f"  78 schedules in 4.5 s; waits seen: {LOCK} in 7 of 78.",
        "  Statements were not overlapped: what two do to each other inside the server while both run was not tried.",
    ]
    assert found.exit_code == 0
    shown = report.merged_json(found)
    assert (shown["verdict"], shown["expected"], shown["shards"]) == ("held", True, 3)
    assert shown["schedules"] == {"one after the other": 4, "0 switches": 2, "1 switch": 12, "2 switches": 60}


def test_one_report_of_a_search_that_was_not_divided_is_merged_as_well(tmp_path: Path) -> None:
    whole = explored(1, 1, verdict=Verdict.HELD)
    assert merged(tmp_path, whole).result.verdict == "held"


def test_what_has_to_be_seen_may_be_seen_in_any_shard(tmp_path: Path) -> None:
    blind: dict[str, Any] = {"waits": LOCK, "switched": False, "silent": {"b"}}
    unseen = [explored(number, **blind) for number in (1, 3)]
    for one in unseen:
        one["waits"] = {}
    assert merged(tmp_path, unseen[0], explored(2, waits=LOCK), unseen[1]).result.verdict == "held"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"silent": {"b"}}, "b sent no SQL."),
        ({"switched": False}, "No schedule preempted an actor: there is nothing to interleave."),
        ({"waits": "advisory lock 8"}, "No schedule waited for advisory lock 8, so the lock was not tested."),
    ],
)
def test_what_no_shard_saw_leaves_it_inconclusive(tmp_path: Path, more: dict[str, Any], reason: str) -> None:
    found = merged(tmp_path, *(explored(number, **more) for number in (1, 2, 3)))
    assert (found.result.verdict, found.result.reason, found.exit_code) == ("inconclusive", reason, 1)


def test_a_shard_that_was_not_tried_leaves_it_inconclusive(tmp_path: Path) -> None:
    short: dict[str, Any] = {"complete": 0, "reason": "Not even all schedules with 1 switch were tried: 7 are too few."}
    strange: dict[str, Any] = {
        "unjudged": Counter({"After 30 s: a computes.": 1}),
        "reason": "1 of 26 could not be judged.",
    }
    found = merged(tmp_path, explored(1, **short), explored(2, **strange), explored(3, **short))
    assert report.merged(found)[0] == (
        "? counter: inconclusive. In shard 1, 3: Not even all schedules with 1 switch were tried: 7 are too few."
        " In shard 2: 1 of 26 could not be judged."
    )


@pytest.mark.parametrize("deal", [Deal(Shard(3, 3), 14, 99), Deal(Shard(3, 3), 12, 98)])
def test_shards_that_divided_something_else_prove_nothing(tmp_path: Path, deal: Deal) -> None:
    found = merged(tmp_path, explored(1), explored(2), explored(3, deal=deal))
    assert (found.result.verdict, found.result.reason) == (
        "inconclusive",
        f"Shard 3 did not divide the same schedules as shard 1: {deal.count} and 12 places for a first switch."
        " The programs do not always do the same, so some schedules may be in no shard.",
    )


def test_the_least_that_was_tried_is_what_was_tried(tmp_path: Path) -> None:
    found = merged(tmp_path, explored(1), explored(2, complete=1), explored(3))
    assert report.merged(found)[0] == (
        "✓ counter: held. All schedules with up to 1 switch: 14, and 60 of those with 2; none fails."
    )


def test_violated_is_the_whole_with_the_token_of_the_fewest_switches(tmp_path: Path) -> None:
    found = merged(tmp_path, violated(1, switches=2), violated(2), violated(3))
    assert report.merged(found)[:3] == [
        "✗ counter: violated in shard 2 of 3. deadlock, with 1 switch.",
        "  What 2 saw.",
        "  Token: pgr1-2",
    ]
    assert found.exit_code == 6
    shown = report.merged_json(found)
    assert (shown["verdict"], shown["token"], shown["expected"]) == ("violated", "pgr1-2", False)


def test_a_failure_counts_although_another_shard_was_not_tried(tmp_path: Path) -> None:
    found = merged(tmp_path, explored(1, complete=0, reason="Too few."), violated(2), explored(3))
    assert (found.result.verdict, found.exit_code) == ("violated", 6)


def test_the_expected_failure_goes_before_another(tmp_path: Path) -> None:
    reports = [violated(1), violated(2, switches=2, expected=True, failure="exit 1"), explored(3)]
    found = merged(tmp_path, *reports)
    assert report.merged(found)[0] == "✓ counter: violated, as expected in shard 2 of 3. exit 1, with 2 switches."
    assert found.exit_code == 0


def test_an_expected_failure_that_no_shard_found_is_not_the_expected_result(tmp_path: Path) -> None:
    found = merged(tmp_path, *(explored(number, expect="deadlock") for number in (1, 2, 3)))
    assert (found.result.verdict, found.exit_code) == ("held", 6)


def refused(folder: Path, *reports: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as error:
        merged(folder, *reports)
    return str(error.value).replace(f"{folder}/", "")


def test_shards_that_are_missing_or_there_twice_are_named(tmp_path: Path) -> None:
    assert refused(tmp_path, explored(2)) == (
        "Of 3 shards, 2 are missing.\n"
        "There is no report of shard 1, 3.\n"
        "Explore what is missing, with the same options: --shard 1/3"
    )
    assert refused(tmp_path, explored(1), explored(2)).startswith("Of 3 shards, 1 is missing.\n")
    assert refused(tmp_path, explored(1), explored(2), explored(1)) == (
        "The report of shard 1 of 3 is there twice.\n"
        "It is in 0-1.json and in 2-1.json.\n"
        "Name the report of each shard once."
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bound", 1),
        ("every", True),
        ("seed", 7),
        ("random", 10),
        ("depth", 5),
        ("major", 18),
        ("scenario", Scenario("other", [Actor("a"), Actor("b")])),
    ],
)
def test_reports_of_another_exploration_are_refused(tmp_path: Path, name: str, value: object) -> None:
    first, second = explored(1), explored(2, **dict[str, Any]({name: value}))
    if name == "major":  # it decides the definition too
        second["shard"]["definition"] = first["shard"]["definition"]
    before = {**first, **first["shard"]}[name]
    after = {**second, **second["shard"]}[name]
    assert refused(tmp_path, first, second, explored(3)) == (
        "The reports are not of one exploration.\n"
        f"They differ in the {name}: {before} in 0-1.json, {after} in 1-2.json.\n"
        "Explore every shard with the same scenario, version of PostgreSQL and options."
    )


def test_another_number_of_shards_and_another_definition_are_refused(tmp_path: Path) -> None:
    assert "They differ in the number of shards: 3 in 0-1.json, 4 in 1-2.json.\n" in refused(
        tmp_path, explored(1), explored(2, 4)
    )
    other = explored(2, scenario=Scenario("counter", [Actor("a"), Actor("b")], definition="changed"))
    assert "They differ in the definition: " in refused(tmp_path, explored(1), other)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "It is not JSON: Expecting value: line 1 column 1 (char 0)."),
        ('{"token": "pgr1"}', "It is of another task, or of another version of dbtools."),
        ("[]", "It is of another task, or of another version of dbtools."),
        (
            '{"error": {"what": "There is no scenario \'x\'.", "why": "None is known."}}',
            "That shard failed: There is no scenario 'x'. None is known.",
        ),
    ],
)
def test_a_file_that_is_no_report_is_named(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "1.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError) as error:
        read(path)
    assert str(error.value) == (
        f"{path} holds no report that can be merged.\n"
        f"{why}\n"
        "Write it again: invoke race.explore SCENARIO --shard 1/8 --json > FILE"
    )


def test_a_report_that_lacks_something_is_no_report(tmp_path: Path) -> None:
    path, whole = tmp_path / "1.json", explored(1)
    for key in [*whole.keys() - {"path", "unsteady", "anomaly", "trace"}]:
        path.write_text(json.dumps({name: value for name, value in whole.items() if name != key}), "utf-8")
        with pytest.raises(ConfigurationError, match="holds no report that can be merged"):
            read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        read(tmp_path / "1.json")
    assert str(error.value) == (
        f"The report {tmp_path / '1.json'} cannot be read.\n"
        "No such file or directory.\n"
        "Name the files that race.explore --json wrote, one for each shard."
    )


def test_the_task_prints_the_verdict_and_ends_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def run(*reports: dict[str, Any], more: tuple[str, ...] = ()) -> tuple[int, str, str]:
        for found in reports:
            (tmp_path / found["path"]).write_text(json.dumps(found), "utf-8")
        monkeypatch.setattr(sys, "argv", ["dbtools", "race.merge", *(found["path"] for found in reports), *more])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    monkeypatch.chdir(tmp_path)
    assert run(explored(1), explored(2), explored(3))[:2] == (
        0,
        "✓ counter: held. All schedules with up to 2 switches: 74, none fails.\n"
        "  Merged from 3 shards.\n"
        "  Besides: 4 one after the other; none fails.\n"
        f"  78 schedules in 4.5 s; waits seen: {LOCK} in 7 of 78.\n"
        "  Statements were not overlapped: what two do to each other inside the server while both run was not tried.\n",
    )
    code, out, _ = run(explored(1), violated(2), explored(3), more=("--json",))
    assert (code, json.loads(out)["token"]) == (6, "pgr1-2")
    assert run(explored(1), explored(2), explored(3, complete=0, reason="Too few."))[0] == 1
    assert run(explored(1))[0] == 2
    assert run()[::2] == (
        2,
        "There is nothing to merge.\n"
        "No report was named. Nothing was run.\n"
        "Name what race.explore --json wrote for each shard: dbtools race.merge shards/*.json\n",
    )
