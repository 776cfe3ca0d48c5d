"""The digest: equal for equal content, whatever the order, the session or the server's settings."""

from __future__ import annotations

import hashlib
import threading

import psycopg
import pytest

from dbtools.db.digest import Digest, digest
from tests.live.test_lock import Connect, connect, is_waiting_for_a_table, until

__all__ = ["connect"]  # a fixture

SCHEMA = """
create table a (id int primary key, at timestamptz, price numeric(8,2), ok bool, doc jsonb, raw bytea, ratio float8);
create table b (id int, a_id int references a);
create table alembic_version (version_num text);
"""
ROW = "insert into a values ({n}, '2026-11-23 12:00:00+00', 9.50, true, '{{\"k\": 1}}', '\\x00ff', 0.1)"


def test_the_same_rows_in_another_order_are_the_same_content(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(SCHEMA)
        for n in (1, 2, 3):
            connection.execute(ROW.format(n=n))
        first = digest(connection)
        connection.execute("truncate a, b")
        for n in (3, 1, 2):
            connection.execute(ROW.format(n=n))
        assert digest(connection) == first
        assert [(one.name, one.rows) for one in first.tables] == [("a", 3), ("b", 0)]
        assert first.rows == 3


def test_a_changed_value_a_missing_row_and_a_copied_row_all_show(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(SCHEMA)
        connection.execute("insert into b values (1, null), (1, null), (2, null)")
        seen = {digest(connection).sha256}
        for change in (
            "update b set id = 3 where id = 2",
            "insert into b values (3, null)",
            "delete from b where id = 1",
            "delete from b",
        ):
            connection.execute(change)
            seen.add(digest(connection).sha256)
        assert len(seen) == 5


def test_session_settings_do_not_leak_in(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(SCHEMA)
        connection.execute(ROW.format(n=1))
        first = digest(connection)
        connection.execute(
            "set timezone = 'Asia/Tokyo'; set datestyle = 'German'; set bytea_output = 'escape';"
            " set extra_float_digits = -5; set intervalstyle = 'iso_8601'"
        )
        assert digest(connection) == first
        assert connection.execute("show timezone").fetchone() == ("Asia/Tokyo",)


def test_the_version_table_is_no_content(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(SCHEMA)
        first = digest(connection)
        connection.execute("insert into alembic_version values ('0009')")
        assert digest(connection) == first


def test_a_schema_without_tables_has_a_digest(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        assert digest(connection, "public").tables == ()


def test_all_tables_are_read_from_one_snapshot(connect: Connect) -> None:
    """Somebody changes two tables while the digest is between them."""
    reader, other, watcher = connect(), connect(autocommit=False), connect()
    reader.execute(SCHEMA)
    reader.execute("insert into b values (1, null)")
    before, found = digest(reader), list[Digest]()
    other.execute("lock table b")
    other.execute(ROW.format(n=1))
    other.execute("insert into b values (2, null)")
    reading = threading.Thread(target=lambda: found.append(digest(reader)))
    reading.start()
    until(is_waiting_for_a_table, watcher, reader.info.backend_pid)
    other.commit()
    reading.join(20)
    assert found == [before]
    assert digest(reader) != before
    assert reader.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_digest_writes_nothing(connect: Connect) -> None:
    """The text of a row may run code of the application, and that must not change what is being read."""
    session = connect()
    session.execute(
        "create table seen (); create type odd as (n int); create table t (o odd);"
        "create function write(odd) returns text language plpgsql as $$ begin insert into seen default values;"
        " return 'x'; end $$; insert into t values (row(1)); create function text(t) returns text language sql"
        " as 'select write(($1).o)'"
    )
    session.execute("create cast (t as text) with function text(t)")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        digest(session)


def test_rows_of_partitions_count_once_and_views_not_at_all(connect: Connect) -> None:
    session = connect()
    session.execute(
        "create table parts (n int) partition by range (n);"
        "create table low partition of parts for values from (0) to (10);"
        "create table high partition of parts for values from (10) to (20) partition by range (n);"
        "create table higher partition of high for values from (10) to (20);"
        "insert into parts values (1), (2), (11); create view seen as select * from parts;"
        "create materialized view kept as select * from parts; create schema other; create table other.t (n int)"
    )
    assert [(table.name, table.rows) for table in digest(session).tables] == [("parts", 3)]


def test_tables_come_in_the_order_of_their_bytes(connect: Connect) -> None:
    session = connect()
    session.execute(
        'create table b (); create table "B" (); create table _a (); create table "a-b" (); create table ab ()'
    )
    assert [table.name for table in digest(session).tables] == ["B", "_a", "a-b", "ab", "b"]


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_every_column_counts_whatever_it_is_called(connect: Connect) -> None:
    session = connect()
    session.execute("create table a (n int, t text, h text); insert into a values (1, 'x', 'y')")
    before = digest(session)
    session.execute("update a set n = 2")
    assert digest(session) != before


def test_what_a_digest_is_made_of(connect: Connect) -> None:
    """Pinned: other machines and later versions are to find the same."""
    session = connect()
    session.execute("create table a (n int, t text); create table b (n int)")
    session.execute("insert into a values (1, 'x'), (2, null), (10, 'y')")
    found = digest(session)
    full, empty = md5("".join(sorted(md5(row) for row in ("(1,x)", "(2,)", "(10,y)")))), md5("")
    assert [(table.name, table.rows, table.md5) for table in found.tables] == [("a", 3, full), ("b", 0, empty)]
    assert found.sha256 == hashlib.sha256(f"a 3 {full}\nb 0 {empty}\n".encode()).hexdigest()
    assert found.rows == 3


@pytest.mark.parametrize(
    ("value", "setting"),
    [
        ("interval '1 day 2 hours'", "intervalstyle = 'iso_8601'"),
        ("date '2026-11-23'", "datestyle = 'German'"),
        ("date '2026-11-03'", "datestyle = 'SQL, DMY'"),
        ("timestamptz '2026-11-23 12:00+00'", "timezone = 'Asia/Tokyo'"),
        ("0.1::float8 + 0.2::float8", "extra_float_digits = -5"),
        ("'\\x00ff'::bytea", "bytea_output = 'escape'"),
    ],
)
def test_no_setting_changes_the_text_of_a_value(connect: Connect, value: str, setting: str) -> None:
    session = connect()
    session.execute(f"create table t as select {value} as v")
    first = digest(session)
    session.execute(f"set {setting}")
    assert digest(session) == first
