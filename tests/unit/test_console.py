"""What people see."""

import datetime as dt
import io
import json
import os

import pytest

from dbtools.console import (
    Console,
    accept_any_text,
    explain,
    report_failure,
    table,
    unexpected,
)
from dbtools.errors import ChainFailed, ConfigurationError, LockTimeout


def test_columns_are_aligned_and_numbers_stand_to_the_right() -> None:
    assert table(("table", "rows"), [("pets", "176"), ("staff", "4")]) == (
        "table  rows\n-----  ----\npets    176\nstaff     4"
    )
    assert table(("a", "b"), []) == "a  b\n-  -"


def test_results_go_to_standard_output_and_notes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    out = Console()
    out.doing("Working...")
    out.done("Worked")
    out.note("waiting")
    captured = capsys.readouterr()
    assert captured.out == "Working...\n✓ Worked\n"
    assert captured.err == "waiting\n"


def test_quiet_keeps_standard_output_for_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    out = Console(quiet=True)
    out.done("Worked")
    out.data({"rows": 3})
    assert capsys.readouterr().out == '{\n  "rows": 3\n}\n'
    assert out.lines == ["✓ Worked"]


def test_an_error_is_three_lines_and_a_traceback_is_masked() -> None:
    try:
        raise ChainFailed("What.", "Why: postgresql://u:hunter2@h/d.", "Do this.") from ValueError("://u:hunter2@h")
    except ChainFailed as error:
        assert explain(error).splitlines()[0] == "What."
        shown = explain(error, debug=True)
    assert "Traceback" in shown
    assert "ValueError: ://u:***@h" in shown


def test_an_unexpected_error_has_the_same_form_and_is_masked() -> None:
    assert explain(unexpected(ValueError("no\nroom at postgresql://u:hunter2@h/d."))) == (
        "Unexpected error.\n"
        "ValueError: no room at postgresql://u:***@h/d. What was not committed is rolled back by the server.\n"
        "Run it again with --debug to see where. If the server is healthy, please report it."
    )
    assert "Traceback" not in explain(unexpected(ValueError()))


class Latin(io.TextIOWrapper):
    """A stream that knows neither ticks nor frames."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="latin-1")

    @property
    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode("latin-1")


def test_a_stream_that_knows_no_tick_gets_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    out, errors = Latin(), Latin()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", errors)
    accept_any_text()
    Console().done("Created 3 Zähne")
    Console().say("✗ gone … → │ 猫 \udcff")
    Console().note("✓ waited")
    assert out.text == "OK Created 3 Zähne\nFAILED gone ... -> | ? ?\n"
    assert errors.text == "OK waited\n"


def test_a_log_for_machines_has_an_object_in_every_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBTOOLS_LOG", "json")
    out = Console(quiet=True)
    out.doing("Seeding database...")
    out.done("Acquired the lock", key=7, waited=0.5)
    out.note("waiting for postgresql://u:hunter2@h/d")
    out.data({"rows": 3})
    error = LockTimeout("What ://u:hunter2@h.", "Why.", "Do this.", "Nothing was changed.")
    assert report_failure(error, 4, json=True) is None
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert captured.err == ""
    for line in lines:
        assert dt.datetime.fromisoformat(line.pop("time")).tzinfo is not None
        assert line.pop("pid") == os.getpid()
    assert lines == [
        {"level": "info", "event": "begin", "message": "Seeding database..."},
        {"level": "info", "event": "done", "message": "Acquired the lock", "key": 7, "waited": 0.5},
        {"level": "info", "event": "note", "message": "waiting for postgresql://u:***@h/d"},
        {"level": "info", "event": "result", "message": "", "result": {"rows": 3}},
        {
            "level": "error",
            "event": "error",
            "message": "What ://u:***@h.",
            "type": "LockTimeout",
            "exit_code": 4,
            "what": "What ://u:***@h.",
            "why": "Why.",
            "state": "Nothing was changed.",
            "hint": "Do this.",
        },
    ]


def test_an_unknown_kind_of_log_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBTOOLS_LOG", "xml")
    with pytest.raises(ConfigurationError) as caught:
        Console()
    assert str(caught.value) == "DBTOOLS_LOG is not known: 'xml'.\nNothing was changed.\nSet it to json, or to text."
    assert report_failure(caught.value, 2) == str(caught.value)


def test_a_failure_is_an_object_too_where_the_result_would_be_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Console, "answered", False)
    error = LockTimeout("What.", "Why.", "Do this.", "Nothing was changed.")
    assert report_failure(error, 4, json=True) == "What.\nWhy. Nothing was changed.\nDo this."
    assert json.loads(capsys.readouterr().out) == {
        "error": {
            "type": "LockTimeout",
            "exit_code": 4,
            "what": "What.",
            "why": "Why.",
            "state": "Nothing was changed.",
            "hint": "Do this.",
        }
    }
    assert report_failure(error, 4, json=True) is not None
    assert capsys.readouterr().out == ""  # one document is enough


@pytest.mark.parametrize(
    ("called", "shown"),
    [
        ("/venv/bin/dbtools", "dbtools"),
        ("/venv/lib/dbtools/__main__.py", "python -m dbtools"),
        ("/venv/bin/invoke", "invoke"),
        ("/venv/lib/invoke/__main__.py", "invoke"),
        ("/venv/bin/pytest", "invoke"),
    ],
)
def test_a_hint_names_the_program_that_was_called(
    called: str, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [called, "reset"])
    out = Console()
    out.say("Run: invoke reset; or, to keep the data, invoke migrate.")
    out.note("(invoke server.stop ends it)")
    error = ChainFailed("What.", "Why.", "Wait: invoke wait-for-db --timeout 60")
    captured = capsys.readouterr()
    assert captured.out == f"Run: {shown} reset; or, to keep the data, {shown} migrate.\n"
    assert captured.err == f"({shown} server.stop ends it)\n"
    assert explain(error).endswith(f"Wait: {shown} wait-for-db --timeout 60")
