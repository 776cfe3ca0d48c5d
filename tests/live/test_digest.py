"""The digest: equal for equal content, whatever the order, the session or the server's settings."""

from __future__ import annotations

import psycopg

from dbtools.db.digest import digest

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
