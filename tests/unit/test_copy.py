"""Rows as COPY text. What PostgreSQL makes of it is tested on a live server."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from dbtools.chain.copy import encode
from dbtools.dataset import Dataset, TableRows
from dbtools.db.sql import quote
from tests.support.toy import ToyShop


def test_every_kind_of_value() -> None:
    rows = [("a\tb\\c\nd\re", 1, True, None), ("plain", -2, False, "\\N")]
    (encoded,) = encode(Dataset((TableRows('odd "name', ("s", "i", "b", "n"), rows),)))
    assert encoded.name == '"odd ""name"'
    assert encoded.columns == '"s", "i", "b", "n"'
    assert encoded.count == 2
    assert encoded.data == b"a\\tb\\\\c\\nd\\re\t1\tt\t\\N\nplain\t-2\tf\t\\\\N\n"


def test_no_rows_is_no_text() -> None:
    (encoded,) = encode(Dataset((TableRows("t", ("a",), []),)))
    assert (encoded.count, encoded.data) == (0, b"")


@given(st.lists(st.tuples(st.text(), st.none() | st.text()), min_size=1, max_size=5))
def test_a_row_is_a_line_and_a_value_a_field(rows: list[tuple[str, str | None]]) -> None:
    (encoded,) = encode(Dataset((TableRows("t", ("a", "b"), rows),)))
    lines = encoded.data.decode().split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(rows)
    assert all(line.count("\t") == 1 for line in lines)


def test_the_toy_needs_escaping() -> None:
    shops, _ = encode(ToyShop().generate("small", 42, dt.date(2026, 1, 1)))
    assert shops.data.splitlines()[0] == b"1\tShop\\t1 \\\\ 42\\n\t\\N"


def test_quoting() -> None:
    assert quote('a"b') == '"a""b"'
