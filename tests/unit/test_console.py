"""What people see."""

from pathlib import Path

import pytest

from dbtools.console import Console, explain, table, unexpected, write_evidence
from dbtools.errors import ChainFailed


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
    assert unexpected(ValueError("no\nroom at postgresql://u:hunter2@h/d.")) == (
        "Unexpected error.\n"
        "ValueError: no room at postgresql://u:***@h/d. What was not committed is rolled back by the server.\n"
        "Run it again with --debug to see where. If the server is healthy, please report it."
    )
    assert "Traceback" not in unexpected(ValueError())


def test_evidence_is_markdown(tmp_path: Path) -> None:
    path = tmp_path / "reset.md"
    write_evidence(path, "invoke reset", {"profile": "dev"}, ["✓ Done"], 0)
    assert path.read_text("utf-8") == ("# invoke reset\n\n- profile: dev\n\n```text\n✓ Done\n=== EXIT: 0 ===\n```\n")
