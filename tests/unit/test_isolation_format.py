"""Tables as libpq's PQprint prints them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtools.isolation.format import pqprint


def test_a_table() -> None:
    rows = [[b"1", b"first", None], [b"-20.5", None, None]]
    assert pqprint([b"number", b"text", b"nothing"], rows) == (
        b"number|text |nothing\n------+-----+-------\n     1|first|       \n -20.5|     |       \n(2 rows)\n\n"
    )


@pytest.mark.parametrize("value", [b"1", b"1e5", b"1E5", b"- 1", b"1-2", b".5", b"1.2.3", b"2026-11-23"])
def test_numbers_and_what_looks_like_one_stand_right(value: bytes) -> None:
    assert pqprint([b"long heading"], [[value]]).split(b"\n")[2] == value.rjust(12)


@pytest.mark.parametrize("value", [b"a", b"e1", b"E1", b"1e", b"1.", b"-", b"1 ", b"+1", b"1e+5", b"1,5", b"\xc3\xa9"])
def test_all_else_stands_left(value: bytes) -> None:
    assert pqprint([b"long heading"], [[b"1"], [value]]).split(b"\n")[2:4] == [b"1".ljust(12), value.ljust(12)]


def test_the_heading_follows_its_column_and_is_counted_in_bytes() -> None:
    assert pqprint(["ä".encode()], [["öö".encode()]]) == "ä  \n----\nöö\n(1 row)\n\n".encode()
    assert pqprint([b"n"], [[b"100"]]) == b"  n\n---\n100\n(1 row)\n\n"


def test_a_value_is_printed_up_to_its_nul_byte_and_counted_whole_unless_it_begins_with_one() -> None:
    rows = [[b"12\x003", b"\0\0\0\x01"], [b"1", b"x"]]
    assert pqprint([b"a", b"b"], rows) == b"   a|b\n----+-\n  12| \n   1|x\n(2 rows)\n\n"


def test_no_rows_and_no_columns() -> None:
    assert pqprint([b"a", b"bc"], []) == b"a|bc\n-+--\n(0 rows)\n\n"
    assert pqprint([], [[], []]) == b""


cell = st.one_of(st.none(), st.binary(max_size=5).filter(lambda text: b"\n" not in text))


@given(st.lists(st.tuples(cell, cell), max_size=4))
def test_every_line_is_as_wide_as_the_rule(rows: list[tuple[bytes | None, bytes | None]]) -> None:
    lines = pqprint([b"a", b"b"], rows).split(b"\n")
    assert {len(line) for line in lines[: len(rows) + 2]} == {len(lines[1])}
    assert lines[-3:] == [b"(1 row)" if len(rows) == 1 else b"(%d rows)" % len(rows), b"", b""]
