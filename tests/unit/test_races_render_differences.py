"""The rows that differ, in text and on the page."""

from __future__ import annotations

from dbtools.races.render import html, rows_that_differ, text
from dbtools.races.trace import Failure, TableDifference, Trace
from tests.support.traces import Tape

ROWS = (
    ("here", ("x", "…")),
    ("here", ("<b>\x1b[31m", "NULL")),
    ("after a, b or b, a", ()),
)


def failed() -> Trace:
    tape = Tape("a", "b")
    tape.run("a", "insert into w values ('x')", "INSERT 0 1")
    different = TableDifference("w", ("b", "made"), ROWS)
    tape.trace.failures.append(Failure("serial", "no serial order", "It differs.", differences=(different,)))
    return tape.trace


def test_the_rows_are_below_the_failure() -> None:
    assert text(failed()).endswith(
        "✗ serial no serial order: It differs.\n"
        "  w                  | b           | made\n"
        "  here               | x           | …\n"
        "  here               | <b>␛[31m    | NULL\n"
        "  after a, b or b, a | no such row"
    )


def test_on_the_page_they_are_a_table() -> None:
    page = html(failed(), "w")
    assert (
        '<table class="rows-that-differ">\n<tr><th>w</th><th>b</th><th>made</th></tr>\n'
        "<tr><td>here</td><td>x</td><td>…</td></tr>\n"
        "<tr><td>here</td><td>&lt;b&gt;␛[31m</td><td>NULL</td></tr>\n"
        "<tr><td>after a, b or b, a</td><td>no such row</td></tr>\n</table>"
    ) in page
    assert "\x1b" not in page


def test_long_values_are_cut() -> None:
    (_, line) = rows_that_differ([TableDifference("w", ("b",), (("here", ("x" * 100,)),))])
    assert line == f"here | {'x' * 39}…"
