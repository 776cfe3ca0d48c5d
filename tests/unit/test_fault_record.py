"""What the faults' table rests on: figures, rows that break off or cannot be shown, and children."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbtools.errors import ChainFailed
from tests.faults.child import Child, Ended
from tests.faults.environment import Moments
from tests.faults.figures import Figure, Skipped, at_least, at_most, exactly, none, shown
from tests.faults.load import Seen
from tests.faults.record import Record
from tests.support.waiting import seconds_until


@pytest.mark.parametrize(
    ("figure", "text", "required", "holds"),
    [
        (at_most("n", 15.0, 15, "s"), "15 s", "<= 15 s", True),
        (at_most("n", 15.01, 15, "s"), "15 s", "<= 15 s", False),
        (at_most("n", float("inf"), 15, "s"), "inf s", "<= 15 s", False),
        (at_least("n", 2, 3), "2", ">= 3", False),
        (exactly("n", "2, 2", "2, 2"), "2, 2", "2, 2", True),
        (exactly("n", 1, 0), "1", "0", False),
        (none("n", []), "0", "0", True),
        (none("n", ["one\n line", "two"]), "2: one line", "0", False),
        (shown("n", 0.0512, "s"), "0.0512 s", "", True),
        (shown("n", 1234.5, "MB"), "1234 MB", "", True),
    ],
)
def test_a_figure_says_what_is_required_and_whether_it_holds(
    figure: Figure, text: str, required: str, holds: bool
) -> None:
    assert (figure.text, figure.required, figure.holds) == (text, required, holds)


def test_a_long_cell_is_cut_and_the_text_is_not() -> None:
    figure = none("n", ["x" * 200])
    assert figure.cell == f"1: {'x' * 77}..."
    assert len(figure.text) == 203


def test_a_row_that_breaks_off_keeps_its_figures_and_fails() -> None:
    def figures() -> Iterator[Figure]:
        yield at_most("before", 2, 1)
        raise ValueError("no\nmore")

    record = Record()
    with pytest.raises(AssertionError) as caught:
        record.play("row", "a row", figures())
    assert str(caught.value) == (
        "a row: before: 2 (required: <= 1)\na row: broke off: ValueError('no\\nmore') (required: 0)"
    )
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_row_fails_with_all_figures_that_are_off_and_the_table_and_the_file_have_all(tmp_path: Path) -> None:
    record = Record()
    with pytest.raises(pytest.fail.Exception) as caught:
        record.play("row", "a row", iter([shown("size", 3, "MB"), exactly("n", 1, 0), at_least("m", 1, 2)]))
    off = ["a row: n: 1 (required: 0)", "a row: m: 1 (required: >= 2)"]
    assert str(caught.value) == "\n".join(off)
    record.play("other", "another row", iter([exactly("n", 0, 0)]))
    assert [line.split() for line in record.table().splitlines()[-4:]] == [
        ["a", "row", "size", "3", "MB", "-"],
        ["n", "1", "0", "OFF"],
        ["m", "1", ">=", "2", "OFF"],
        ["another", "row", "n", "0", "0"],
    ]
    record.write(tmp_path / "cache" / "faults.json", full=True)
    document = json.loads((tmp_path / "cache" / "faults.json").read_text("utf-8"))
    assert (document["full"], document["off"]) == (True, off)
    assert [row["fault"] for row in document["rows"]] == ["row", "other"]
    assert document["rows"][1]["figures"] == [{"name": "n", "value": 0, "unit": "", "required": "0", "holds": True}]


@pytest.mark.parametrize("ci", [False, True])
def test_a_row_that_cannot_be_shown_is_skipped_with_its_reason_and_fails_in_ci(
    ci: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def figures() -> Iterator[Figure]:
        raise Skipped("no iptables")
        yield

    monkeypatch.setenv("CI", "true" if ci else "")
    record = Record()
    with pytest.raises(pytest.fail.Exception if ci else pytest.skip.Exception, match="no iptables"):
        record.play("row", "a row", figures())
    assert record.rows[0].figures == [Figure("skipped", "no iptables", holds=not ci)]


def _fail_as_foreseen() -> None:
    raise ChainFailed("The seed phase failed.", "It said no.", "Run this again.")


def _fail() -> None:
    raise ValueError("no")


def test_how_a_child_ended() -> None:
    with Child(lambda: 7) as child:
        assert child.finish() == Ended(7)
    with Child(_fail_as_foreseen) as child:
        ended = child.finish()
    assert (ended.error.split("\n")[0], ended.code, ended.clear) == ("ChainFailed: The seed phase failed.", 1, True)
    with Child(_fail) as child:
        ended = child.finish()
    assert (ended.error, ended.code, ended.clear) == ("ValueError: no", 1, False)
    with Child(lambda: os.kill(os.getpid(), signal.SIGKILL)) as child:
        assert not child.finish().ok


@pytest.mark.parametrize("text", ["StepFailed: Step alembic failed.", "ChainFailed: ...: correct them, or the rows"])
def test_an_error_that_blames_the_project_for_the_server_is_not_clear(text: str) -> None:
    assert not Ended(error=text, code=1).clear


def test_a_child_that_hangs_is_ended_and_one_that_is_killed_is_known_to_have_worked() -> None:
    with Child(lambda: time.sleep(60)) as child:
        ended = child.finish(0.1)
        assert (ended.error, ended.ok, ended.foreseen) == ("hung for 0 s", False, False)
    with Child(lambda: time.sleep(60)) as child:
        assert child.working
        assert child.kill()
        assert not Child(lambda: None).finish().error
    with Child(lambda: None) as child:
        assert seconds_until(lambda: not child.working) < float("inf")
        assert not child.kill()


def test_what_does_not_come_true_in_time_takes_for_ever() -> None:
    assert seconds_until(lambda: False, 0.01) == float("inf")


def test_moments_are_spread_over_the_whole_length() -> None:
    found = sorted(Moments(10, 5.0, wanted=0))
    assert [int(moment * 2) for moment in found] == list(range(10))


def test_moments_go_on_until_enough_were_hits() -> None:
    moments = Moments(10, 5.0, wanted=3)
    assert len(list(moments)) == 30
    for count, _ in enumerate(moments, 1):
        moments.hits += count > 10
    assert (count, moments.hits) == (13, 3)


def test_what_readers_saw_adds_up() -> None:
    assert Seen(1, ["a"], 1, 0.5) + Seen(2, ["b"], 0, 0.7) == Seen(3, ["a", "b"], 1, 0.7)
