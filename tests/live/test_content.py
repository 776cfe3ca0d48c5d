"""How the content of a database differs from what it should be, in words."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from dbtools.checks.content import Content, Unsteady, differences, read_content
from dbtools.db.digest import digest
from dbtools.db.dsn import Dsn

WHOLE = """
create table items (id int primary key, name text); insert into items values (1, 'one'), (2, 'two');
create table lines (id serial primary key, item int references items); create index lines_item on lines (item);
create schema shop create table sales (amount int); insert into shop.sales values (5)
"""
CHANGES = [
    ("insert into items values (3, 'three')", ["items: 3 rows instead of 2"]),
    ("update items set name = 'zwei' where id = 2", ["items: other values"]),
    ("select nextval('lines_id_seq')", []),
    ("alter table items alter name set not null", ["another column items.name"]),
    ("drop index lines_item", ["no index lines_item"]),
    ("alter table lines drop constraint lines_item_fkey", ["no constraint lines.lines_item_fkey"]),
    ("create table more (id int)", ["table more, which should not be there"]),
    ("drop table lines", ["no table lines"]),
    ("drop schema public cascade", ["no table items", "no table lines", "no schema public"]),
    ("drop schema public cascade; create schema public", ["no table items", "no table lines"]),
    ("delete from items; drop table lines", ["no table lines", "items: 0 rows instead of 2"]),
]


@pytest.fixture
def run(pg_database: str) -> Callable[[str], Content]:
    """Run SQL, and return what schema public then holds."""

    def run(sql: str) -> Content:
        with psycopg.connect(pg_database, autocommit=True) as connection:
            connection.execute(sql)
        return read_content(Dsn.parse(pg_database), ["public"])

    return run


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=[change[:40] for change, _ in CHANGES])
def test_a_change_is_told_in_words(run: Callable[[str], Content], change: str, words: list[str]) -> None:
    whole = run(WHOLE)
    assert differences(run(change), whole, Unsteady()) == words
    assert differences(whole, whole, Unsteady()) == []


def test_what_is_unsteady_is_not_compared(run: Callable[[str], Content]) -> None:
    first = run(WHOLE)
    second = run("update items set name = 'zwei'; insert into lines values (7, 1); drop index lines_item")
    loose = Unsteady.between(first, second)
    assert loose == Unsteady(frozenset({"lines"}), frozenset({"items", "lines"}), frozenset({("index", "lines_item")}))
    assert differences(second, first, loose) == []
    assert differences(run("delete from lines; delete from items"), first, loose) == ["items: 0 rows instead of 2"]


def test_several_schemas_are_named_and_the_sum_is_that_of_the_digest(
    run: Callable[[str], Content], pg_database: str
) -> None:
    public = run(WHOLE)
    with psycopg.connect(pg_database, autocommit=True) as connection:
        assert public.sha256 == digest(connection).sha256
        both = read_content(Dsn.parse(pg_database), ["public", "shop"])
        connection.execute("delete from shop.sales; drop index lines_item")
    found = read_content(Dsn.parse(pg_database), ["public", "shop"])
    assert differences(found, both, Unsteady()) == ["no index public.lines_item", "shop.sales: 0 rows instead of 1"]


def test_a_long_list_ends_in_a_count(run: Callable[[str], Content]) -> None:
    whole = run(";".join(f"create table t{number} ()" for number in range(9)))
    found = differences(run("drop schema public cascade; create schema public"), whole, Unsteady())
    assert found[-2:] == ["no table t5", "and 3 more"]
