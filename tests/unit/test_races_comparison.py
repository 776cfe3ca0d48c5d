"""Which contents count as equal, and what is said not to be compared."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dbtools.races.canonical import Colors, Node
from dbtools.races.comparison import Comparison
from dbtools.races.content import Column, Content, Table
from dbtools.races.differences import differences

KEY = Column("id", surrogate=True, key=True)
ORDERS = (KEY, Column("who"))
ITEMS = (KEY, Column("order_id", refers=("orders", "id")), Column("what"))
LOOSE_ITEMS = (KEY, Column("order_id"), Column("what"))


def content(**tables: tuple[tuple[Column, ...], Sequence[tuple[object, ...]]]) -> Content:
    found = {}
    for name, (columns, values) in tables.items():
        rows = tuple(tuple(None if value is None else str(value) for value in row) for row in values)
        found[name] = Table(name, columns, len(rows), repr((columns, sorted(rows, key=repr))), rows)
    return Content(found)


def shop(
    orders: list[tuple[object, ...]], items: list[tuple[object, ...]], columns: tuple[Column, ...] = ITEMS
) -> Content:
    return content(orders=(ORDERS, orders), items=(columns, items))


EMPTY = shop([], [])
ANN_FIRST = shop([(1, "ann"), (2, "bob")], [(1, 1, "a"), (2, 2, "b")])


@pytest.mark.parametrize(
    ("orders", "items", "same"),
    [
        ([(1, "bob"), (2, "ann")], [(1, 1, "b"), (2, 2, "a")], True),
        ([(7, "bob"), (4, "ann")], [(9, 7, "b"), (3, 4, "a")], True),  # numbers were lost on the way
        ([(1, "ann"), (2, "bob")], [(1, 2, "a"), (2, 1, "b")], False),  # each has the other's item
        ([(1, "ann"), (2, "bob")], [(1, 2, "a"), (2, 2, "b")], False),
        ([(1, "ann"), (2, "bob")], [(1, None, "a"), (2, 2, "b")], False),
        ([(1, "ann"), (2, "bob")], [(1, 1, "a")], False),
        ([(1, "ann"), (2, "bob"), (3, "bob")], [(1, 1, "a"), (2, 2, "b")], False),
    ],
)
@pytest.mark.parametrize("columns", [ITEMS, LOOSE_ITEMS])
def test_keys_are_only_names_and_references_follow_them(
    orders: list[tuple[object, ...]], items: list[tuple[object, ...]], same: bool, columns: tuple[Column, ...]
) -> None:
    empty, first = shop([], [], columns), shop([(1, "ann"), (2, "bob")], [(1, 1, "a"), (2, 2, "b")], columns)
    comparison = Comparison(empty)
    comparison.learn(first, first)
    assert comparison.same(first, shop(orders, items, columns)) is same
    assert comparison.not_compared == []


def test_a_key_of_the_start_state_is_a_value_like_any() -> None:
    start = content(orders=(ORDERS, [(1, "ann"), (2, "ann")]))
    comparison = Comparison(start)
    one, other = (content(orders=(ORDERS, rows)) for rows in ([(1, "x"), (2, "ann")], [(1, "ann"), (2, "x")]))
    assert not comparison.same(one, other)
    assert comparison.same(one, content(orders=(ORDERS, [(2, "ann"), (1, "x")])))


LOG = (Column("b"), Column("made"))


def log(*rows: tuple[object, ...]) -> Content:
    return content(log=(LOG, list(rows)))


def test_a_column_that_varies_is_left_out_but_not_its_rows() -> None:
    comparison = Comparison(log(("old", "yesterday")))
    comparison.learn(log(("old", "yesterday"), ("x", "12:00")), log(("old", "yesterday"), ("x", "12:01")))
    assert comparison.not_compared == ["log.made"]
    right = log(("old", "yesterday"), ("x", "12:00"))
    assert comparison.same(right, log(("x", "12:02"), ("old", "yesterday")))
    assert not comparison.same(right, log(("old", "yesterday"), ("x", "12:02"), ("x", "12:03")))
    assert not comparison.same(right, log(("old", "yesterday"), ("y", "12:02")))
    # What the start state has is known, and NULL is no value at all.
    assert not comparison.same(right, log(("old", "12:02"), ("x", "12:02")))
    assert not comparison.same(right, log(("old", "yesterday"), ("x", None)))


@pytest.mark.parametrize(
    ("one", "again", "known"),
    [
        ('{"n": %s, "at": "2026-11-27T08:23:25.123456+00:00"}', '{"n": %s, "at": "2026-11-27T08:23:26"}', True),
        ("Nov 27 08:23:25 entry %s [0b0e1f1c-7d3c-4f6e-9d2e-2f1f4c1f8a11]",
         "Nov 27 08:23:26 entry %s [9b0e1f1c-7d3c-4f6e-9d2e-2f1f4c1f8a12]", True),
        ("%s at 1795768705.25", "%s at 1795768706", True),
        ("%s by process 4711", "%s by process 4712", False),
    ],
)  # fmt: skip
def test_of_a_text_that_varies_times_are_left_out_but_not_what_is_around_them(
    one: str, again: str, known: bool
) -> None:
    comparison = Comparison(log(("old", one % 7)))
    comparison.learn(log(("x", one % 1)), log(("x", again % 1)))
    assert comparison.same(log(("x", one % 1)), log(("x", again % 1)))
    assert comparison.same(log(("x", one % 1)), log(("x", one % 2))) is not known
    assert not comparison.same(log(("x", one % 7)), log(("x", one % 1)))  # it was there before
    assert comparison.not_compared == ["times and the like in log.made" if known else "log.made"]


def test_a_time_that_was_there_before_is_not_any_time() -> None:
    before, one, again = (f"2026-11-27 08:23:2{second}+00" for second in range(3))
    comparison = Comparison(log(("old", before)))
    comparison.learn(log(("x", one)), log(("x", again)))
    assert comparison.same(log(("x", one)), log(("x", again)))
    assert not comparison.same(log(("x", before)), log(("x", one)))
    assert comparison.not_compared == ["log.made"]


def test_where_even_that_varies_the_whole_column_is_left_out() -> None:
    comparison = Comparison(log())
    comparison.learn(log(("x", "1"), ("y", None)), log(("x", None), ("y", None)))
    assert comparison.not_compared == ["log.made"]
    assert comparison.same(log(("x", "1"), ("y", "2")), log(("x", None), ("y", None)))
    assert not comparison.same(log(("x", "1")), log(("y", None)))


def test_a_number_of_rows_that_varies_is_said_not_to_be_compared() -> None:
    comparison = Comparison(log())
    comparison.learn(log(("x", "1")), log(("x", "1"), ("x", "2")))
    assert comparison.not_compared == ["log (not even the number of rows)"]
    assert comparison.same(log(), log(("x", "1")))


def test_values_that_vary_in_how_they_go_together() -> None:
    comparison = Comparison(log())
    comparison.learn(log(("x", "1"), ("y", "2")), log(("x", "2"), ("y", "1")))
    assert comparison.not_compared == ["log.b", "log.made"]
    assert not comparison.same(log(("x", "1")), log())


def test_keys_that_the_programs_make_are_names_once_they_vary() -> None:
    named = (Column("id", key=True), Column("who"))
    item = (Column("of", refers=("orders", "id")), Column("what"))

    def made(first: str, second: str, whose: str) -> Content:
        return content(orders=(named, [(first, "ann"), (second, "bob")]), items=(item, [(whose, "ann's")]))

    comparison = Comparison(content(orders=(named, []), items=(item, [])))
    comparison.learn(made("u1", "u2", "u1"), made("u3", "u4", "u3"))
    assert comparison.not_compared == []
    assert comparison.same(made("u1", "u2", "u1"), made("u9", "u8", "u9"))
    assert not comparison.same(made("u1", "u2", "u1"), made("u9", "u8", "u8"))


def test_what_is_ignored() -> None:
    comparison = Comparison(log(), ["log.made", "audit"])
    audit = content(log=(LOG, [("x", "1")]), audit=((Column("n"),), [(1,)]))
    assert comparison.same(audit, log(("x", "2")))
    assert not comparison.same(audit, log(("y", "2")))
    assert comparison.not_compared == ["audit", "log.made"]
    assert comparison.unknown([log()]) == ["audit"]
    assert comparison.unknown([log(), audit]) == []


def test_circles_of_which_colours_say_nothing_are_not_claimed_to_be_equal() -> None:
    """Six rows in one circle, or in two of three: each looks like the other from any of its rows."""
    ring = (KEY, Column("next_id", refers=("ring", "id")))

    def rows(*circles: int) -> Content:
        found: list[tuple[object, ...]] = []
        for size in circles:
            first = len(found)
            found += [(first + at, first + (at + 1) % size) for at in range(size)]
        return content(ring=(ring, found))

    comparison = Comparison(content(ring=(ring, [])))
    assert comparison.same(rows(6), rows(3, 3))
    assert comparison.not_compared == ["how equal rows of ring fit together"]
    assert not comparison.same(rows(6), rows(3))


def test_a_table_that_came_or_went() -> None:
    comparison = Comparison(log())
    assert not comparison.same(log(), content())
    assert not comparison.same(log(), content(log=(LOG[:1], [])))
    assert comparison.same(content(), content())


def test_a_table_of_too_many_rows_is_compared_by_its_digest() -> None:
    start = Content({"big": Table("big", LOG, 0, "0", ())})

    def big(count: int, digest: str) -> Content:
        return Content({"big": Table("big", LOG, count, digest)})

    comparison = Comparison(start)
    assert not comparison.same(big(9, "a"), big(9, "b"))
    comparison.learn(big(9, "a"), big(9, "b"))
    assert comparison.same(big(9, "a"), big(9, "c"))
    assert not comparison.same(big(9, "a"), big(8, "c"))
    assert comparison.not_compared == ["big.b", "big.made"]


def test_the_rows_that_differ_beside_those_of_the_orders() -> None:
    comparison = Comparison(log())
    here, one, other = log(("x", "1"), ("y", "1")), log(("x", "2"), ("y", "1")), log(("x", "3"), ("y", "1"))
    (table,) = differences(comparison, here, [("a, b", one), ("b, a", other), ("a, b", one)])
    assert (table.table, table.columns) == ("log", ("b", "made"))
    assert table.rows == (("here", ("x", "1")), ("after a, b", ("x", "2")), ("after b, a", ("x", "3")))
    (table,) = differences(comparison, log(), [("a, b", one), ("b, a", one)])
    assert table.rows == (("here", ()), ("after a, b or b, a", ("x", "2")), ("after a, b or b, a", ("y", "1")))


def test_a_reference_is_shown_with_what_it_refers_to() -> None:
    comparison = Comparison(EMPTY)
    wrong = shop([(1, "ann"), (2, "bob")], [(1, 2, "a"), (2, 1, "b")])
    (table,) = differences(comparison, wrong, [("ann, bob", ANN_FIRST)])
    assert table.table == "items"
    assert table.rows == (
        ("here", ("1", "2 (bob)", "a")),
        ("here", ("2", "1 (ann)", "b")),
        ("after ann, bob", ("1", "1 (ann)", "a")),
        ("after ann, bob", ("2", "2 (bob)", "b")),
    )


@pytest.mark.parametrize("form", ["order {} was placed", '{{"order_id": {}, "pieces": 12}}', "{}"])
def test_names_in_the_middle_of_a_value_follow_the_keys(form: str) -> None:
    """Also where it cannot be seen from the start: a key of its own, of the same numbers, is in the same table."""
    notes = (KEY, Column("about"), Column("by"))

    def placed(*numbers: int, by: str = "ann ann bob bob") -> Content:
        names = ["ann", "ann", "bob", "bob"]
        orders = [(number, name) for number, name in zip(numbers, names, strict=True)]
        rows = [
            (at, form.format(number), name) for at, number, name in zip(range(1, 5), numbers, by.split(), strict=True)
        ]
        return content(orders=(ORDERS, orders), notes=(notes, rows))

    comparison = Comparison(content(orders=(ORDERS, []), notes=(notes, [])))
    right, other = placed(1, 2, 3, 4), placed(3, 4, 1, 2)
    for order in (right, other):
        comparison.learn(order, order)
    assert comparison.same(right, placed(1, 4, 2, 3))
    assert not comparison.same(right, placed(1, 4, 2, 3, by="bob ann ann bob"))
    assert not comparison.same(right, placed(1, 2, 3, 4, by="ann ann bob ann"))


def test_a_counter_is_no_name_although_its_numbers_are() -> None:
    def counted(first: str, second: str, n: int) -> Content:
        return content(orders=(ORDERS, [(1, first), (2, second)]), counter=((Column("n"),), [(n,)]))

    comparison = Comparison(content(orders=(ORDERS, []), counter=((Column("n"),), [(0,)])))
    for order in (counted("ann", "bob", 2), counted("bob", "ann", 2)):
        comparison.learn(order, order)
    assert comparison.same(counted("ann", "bob", 2), counted("bob", "ann", 2))
    assert not comparison.same(counted("ann", "bob", 2), counted("ann", "bob", 1))
    assert not comparison.same(counted("bob", "ann", 2), counted("ann", "bob", 1))


@pytest.mark.parametrize(
    ("rows", "ambiguous"),
    [
        ([{"a": "1"}, {"a": "1"}], False),  # two equal rows, and no circle
        ([{"a": "1", "b": "2"}, {"a": "1", "b": "2"}], True),
        ([{"a": "1", "b": "2"}, {"a": "2", "b": "1"}], True),
        ([{"a": "1", "b": "2"}, {"c": "1", "d": "2"}], False),  # a circle in which all differ
        ([{"a": "1", "b": "2"}, {"c": "1", "d": "2"}, {"a": "3"}, {"a": "3"}], False),  # one of each, but apart
    ],
)
def test_only_a_circle_with_equal_colours_leaves_it_open_how_rows_fit_together(
    rows: list[dict[str, str]], ambiguous: bool
) -> None:
    nodes = [Node("t", (), (), tuple((column, ("ids", name)) for column, name in row.items())) for row in rows]
    assert Colors().form(nodes).ambiguous == ({"t"} if ambiguous else set())
