"""A step's output: lines, masked and cut, and what a failure makes of them."""

from __future__ import annotations

from pathlib import Path

from dbtools.build.failure import how_it_ended, step_failed
from dbtools.build.output import MAX_LINE_CHARACTERS, MAX_LINES, Output
from dbtools.config import Project
from dbtools.config.steps import Step
from dbtools.db import secrets

HERE = Path("/project")


def lines(*pieces: bytes) -> list[str]:
    seen: list[str] = []
    output = Output(seen.append)
    for piece in pieces:
        output.feed(piece)
    output.finish()
    assert output.lines == seen[-MAX_LINES:]
    return seen


def why(*printed: str, unfinished: bool = False) -> str:
    step = Step("command", ("seed",), HERE)
    error = step_failed(step, "", "It ended with exit code 1.", Project(HERE), lines=printed, unfinished=unfinished)
    assert error.what == "Step seed failed."
    return error.why


def test_lines_are_put_together_and_cleaned() -> None:
    assert lines(b"a\nb", b"c\r\n", b"\xc3", b"\xa9\n", b"end") == ["a", "bc", "é", "end"]
    assert lines(b"\x1b[1;32mok\x1b[0m\x07\n", b"10%\r20%\r100%\n", b"a\tb\n") == ["ok", "100%", "a\tb"]
    assert lines(b"\n", b"bad \xff\n", b"cut \xc3") == ["", "bad \ufffd", "cut \ufffd"]


def test_a_line_without_end_is_passed_on_in_pieces_that_hide_passwords() -> None:
    secrets.remember("very-secret-word")
    text = b"x" * (MAX_LINE_CHARACTERS - 8) + b"very-secret-word" + b"y" * 3000
    for cut in range(0, len(text), 501):
        seen = "".join(lines(*(text[start : start + cut + 7] for start in range(0, len(text), cut + 7))))
        assert seen == "x" * (MAX_LINE_CHARACTERS - 8) + "***" + "y" * 3000


def test_little_is_kept() -> None:
    output = Output(None)
    for number in range(10_000):
        output.feed(f"{number}\n".encode())
    assert output.lines == [str(number) for number in range(10_000 - MAX_LINES, 10_000)]


def test_the_exceptions_own_words_and_its_place() -> None:
    trace = [
        "Traceback (most recent call last):",
        '  File "/project/.venv/lib/python3.12/site-packages/alembic/config.py", line 9, in main',
        "    main()",
        '  File "/project/app/env.py", line 12, in <module>',
        '    os.environ["X"]',
        '  File "<frozen os>", line 685, in __getitem__',
    ]
    assert why("before", *trace, "KeyError: 'X'") == "KeyError: 'X', at app/env.py:12. It ended with exit code 1."
    assert why(*trace, "KeyError: 'X'", "[SQL: select 1]") == (
        "KeyError: 'X', at app/env.py:12.\n    [SQL: select 1]\nIt ended with exit code 1."
    )
    elsewhere = [trace[0], '  File "/usr/lib/python3.12/os.py", line 685, in getenv', "TypeError"]
    assert why(*elsewhere) == "TypeError, at /usr/lib/python3.12/os.py:685. It ended with exit code 1."
    handled = [*trace, "KeyError: 'X'", *("going on" for _ in range(20)), "no space left"]
    assert why(*handled).endswith("    no space left\nIt ended with exit code 1.")
    assert "KeyError" not in why(*handled)


def test_questions_are_noticed_and_answers_are_not() -> None:
    asked = "It seems to have asked for input, and a step is given none. It ended with exit code 1."
    for last in ("Are you sure? [y/N]", "? Is users renamed or created? \u203a", "Password:", "Drop (yes/no)"):
        assert why(last).endswith(asked)
    assert why("Your name>", unfinished=True).endswith(asked)
    for last in ("Error: no such table", "done [3/3]", "Caused by: x", "failed:", ""):
        assert asked not in why(last)


def test_how_a_program_ended() -> None:
    assert how_it_ended(3) == "It ended with exit code 3."
    assert how_it_ended(-11) == "It was killed by SIGSEGV."
    assert how_it_ended(-9) == "It was killed by SIGKILL, perhaps for want of memory."
    assert how_it_ended(-63).startswith("It was killed by ")
