"""The digest: equal for equal content, whatever the order, the session or the server's settings."""

from __future__ import annotations

import hashlib
import threading

import psycopg
import pytest

from dbtools.db.digest import Digest, digest
from dbtools.db.structure import fingerprint
from dbtools.errors import VerificationFailed
from tests.support.sessions import shown
from tests.support.waiting import until

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


def test_session_settings_do_not_leak_in_nor_those_of_the_digest_out(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(SCHEMA)
        connection.execute(ROW.format(n=1))
        settings = ("lock_timeout", "row_security", "search_path")
        before = shown(connection, *settings)
        first = digest(connection)
        assert shown(connection, *settings) == before
        connection.execute(
            "set timezone = 'Asia/Tokyo'; set datestyle = 'German'; set bytea_output = 'escape';"
            " set extra_float_digits = -5; set intervalstyle = 'iso_8601'"
        )
        assert digest(connection) == first
        assert shown(connection, "timezone") == ["Asia/Tokyo"]


def test_the_version_table_is_no_content(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(SCHEMA)
        first = digest(connection)
        connection.execute("insert into alembic_version values ('0009')")
        assert digest(connection) == first


def test_a_schema_without_tables_has_a_digest(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        assert digest(connection, "public").tables == ()
        assert digest(connection, "public") == digest(connection, "public")


@pytest.mark.parametrize("column", ["t", "r", "h", "hashed", "ctid_", "md5", "count"])
def test_no_name_of_a_column_hides_a_change(pg_database: str, column: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(f"create table readings (id int primary key, {column} int, v text)")
        connection.execute("insert into readings values (1, 1, 'old')")
        before = digest(connection).sha256
        connection.execute("update readings set v = 'new'")
        assert digest(connection).sha256 != before


def test_no_cast_or_function_of_the_application_forges_it(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(
            "create table readings (id int, v text); insert into readings values (1, 'old');"
            " create function constant(readings) returns text language sql as $$ select 'same' $$;"
            " create cast (readings as text) with function constant(readings);"
            " create function md5(text) returns text language sql as $$ select 'same' $$;"
            " set search_path to public, pg_catalog"
        )
        before = digest(connection).sha256
        connection.execute("update readings set v = 'new'")
        assert digest(connection).sha256 != before


def test_rows_that_a_policy_hides_are_an_error_and_not_missing(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute("create table secrets (id int); insert into secrets values (1)")
        connection.execute("alter table secrets enable row level security, force row level security")
        with pytest.raises(VerificationFailed) as caught:
            digest(connection)
        assert str(caught.value) == (
            "The digest of schema public cannot be taken.\n"
            'query would be affected by row-level security policy for table "secrets". Nothing was changed.\n'
            "Connect as a role that may read every row: the owner of the tables, or with BYPASSRLS where policies are"
            " forced on the owner too."
        )


def test_every_row_counts_once(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(
            "create table parent (a int); create table child () inherits (parent);"
            " insert into parent values (1); insert into child values (2), (3);"
            " create table parts (a int) partition by list (a);"
            " create table part1 partition of parts for values in (1);"
            " insert into parts values (1);"
            " create schema other; create table other.root (a int) partition by list (a);"
            " create table lonely partition of other.root for values in (1); insert into other.root values (1);"
            " create materialized view totals as select count(*) from parent;"
            " create materialized view empty as select 1 with no data"
        )
        counts = {table.name: table.rows for table in digest(connection).tables}
        assert counts == {"child": 2, "lonely": 1, "parent": 1, "parts": 1, "totals": 1}


def test_one_snapshot_serves_all_tables(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection, psycopg.connect(pg_database) as writer:
        connection.execute("create table a (n int); create table b (n int); insert into a values (1)")
        before = digest(connection)
        writer.execute("lock table b in access exclusive mode; insert into a values (2); insert into b values (2)")
        found: list[Digest] = []
        thread = threading.Thread(target=lambda: found.append(digest(connection)))
        thread.start()
        with psycopg.connect(pg_database, autocommit=True) as watcher:
            until(lambda: bool(watcher.execute("select from pg_locks where not granted").fetchall()))
        writer.commit()
        thread.join()
        assert found == [before]


STRUCTURE = """
create type mood as enum ('good', 'bad');
create domain price as int check (value >= 0);
create type pair as (a int, b text);
create table a (id serial primary key, name text default 'x', mood mood, cost price);
create table b (id int generated by default as identity, a_id int references a);
create view names as select name from a;
create function f(int) returns int language sql as 'select $1';
create function touch() returns trigger language plpgsql as 'begin return new; end';
create trigger touched before insert on a for each row execute function touch();
create sequence tickets;
alter table b enable row level security;
create policy p on b using (id > 0);
"""


@pytest.mark.parametrize(
    "change",
    [
        "alter table a rename name to title",
        "alter table b alter a_id type bigint",
        "alter table a alter name set default 'y'",
        "alter table a alter name set not null",
        "alter table a add constraint c check (id > 0)",
        "alter table b drop constraint b_a_id_fkey",
        "create index on a (name)",
        "alter type mood add value 'so so'",
        "alter domain price drop constraint price_check",
        "alter type pair add attribute c int",
        "create or replace view names as select upper(name) as name from a",
        "create or replace function f(int) returns int language sql as 'select $1 + 1'",
        "alter function f(int) security definer",
        "alter table a disable trigger touched",
        "drop trigger touched on a",
        "select nextval('tickets')",
        "alter sequence tickets increment 2",
        "insert into a default values; delete from a",
        "alter policy p on b using (id > 1)",
        "alter table a force row level security",
        "create table c ()",
        "create rule r as on delete to a do instead nothing",
        "alter table b set unlogged",
    ],
)
def test_the_structure_sum_sees(pg_database: str, change: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(STRUCTURE)
        before = digest(connection)
        assert digest(connection) == before
        connection.execute(change)
        after = digest(connection)
        assert after.structure != before.structure
        assert after.both != before.both


def test_the_structure_sum_does_not_depend_on_the_schemas_name_nor_on_settings(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(STRUCTURE)
        first = digest(connection, "public")
        connection.execute(f"create schema other; set search_path to other; {STRUCTURE}")
        assert digest(connection, "other") == first
        connection.execute("set quote_all_identifiers = on; set search_path to public")
        assert digest(connection, "other") == first


FURTHER = """
create table plain (id int generated by default as identity, size varchar(9) check (size <> ''), n int,
    g int default 7);
create table one (a int); create table two (a int); create table heir () inherits (one, two);
create table parted (id int, n int) partition by range (id);
create table parted_1 partition of parted for values from (1) to (10);
create materialized view kept as select id from plain;
create view seen as select id, n from plain;
create function f(int) returns int language sql begin atomic; select $1; end;
create aggregate total (int) (sfunc = int4pl, stype = int, initcond = '0');
create rule quiet as on delete to plain do instead nothing;
create policy own on plain using (true) with check (true);
create type span as range (subtype = int);
create sequence tickets;
create function touch() returns trigger language plpgsql as 'begin return new; end';
create trigger touched before insert on plain for each row execute function touch();
"""
PROPERTIES = [
    "drop table parted_1; create table parted_1 partition of parted for values from (1) to (11)",
    "drop table parted; create table parted (id int, n int) partition by range (n);"
    " create table parted_1 partition of parted for values from (1) to (10)",
    "alter table parted detach partition parted_1",
    "drop materialized view kept; create materialized view kept as select id + 0 as id from plain",
    "drop view seen; create view seen as select id, n + 0 as n from plain",
    "drop table heir; create table heir () inherits (two, one)",
    "alter table plain alter size type varchar(8)",
    'alter table plain alter size type varchar(9) collate "C"',
    "alter table plain alter id drop identity",
    "alter table plain alter id set generated always",
    "alter table plain alter n set not null",
    "alter table plain drop g; alter table plain add g int generated always as (7) stored",
    "alter table plain drop n cascade; alter table plain add n int",
    "alter table plain enable row level security",
    "alter table plain force row level security",
    "alter table plain set unlogged",
    "alter table plain disable trigger touched",
    "alter table plain disable rule quiet",
    "drop rule quiet on plain; create rule quiet as on delete to plain do also nothing",
    "drop policy own on plain; create policy own on plain as restrictive using (true) with check (true)",
    "drop policy own on plain; create policy own on plain for update using (true) with check (true)",
    "alter policy own on plain using (false)",
    "alter policy own on plain with check (false)",
    "alter policy own on plain to pg_monitor",
    "alter sequence tickets cycle",
    "alter sequence tickets cache 5",
    "alter sequence tickets as int",
    "alter sequence tickets start 7",
    "alter function f stable",
    "alter function f strict",
    "alter function f parallel safe",
    "alter function f set work_mem = '1MB'",
    "create or replace function f(int) returns int language sql begin atomic; select $1 + 1; end",
    "drop function f(int); create function f(a int) returns int language sql begin atomic; select $1; end",
    "drop aggregate total (int); create aggregate total (int) (sfunc = int4pl, stype = int, initcond = '1')",
    "drop aggregate total (int); create aggregate total (int) (sfunc = int4mi, stype = int, initcond = '0')",
    "drop type span; create type span as range (subtype = bigint)",
    "create unique index on plain (n)",
    "create domain price as int default 1 not null",
]


def test_a_fingerprint_sees_every_property(pg_database: str) -> None:
    with psycopg.connect(pg_database) as connection:
        connection.execute(FURTHER.encode())
        before = fingerprint(connection, "public")
        for change in PROPERTIES:
            with connection.transaction(force_rollback=True):
                connection.execute(change.encode())
                assert fingerprint(connection, "public") != before, change
        assert fingerprint(connection, "public") == before


def test_a_fingerprint_is_of_what_a_dump_would_say_and_leaves_no_lock(pg_database: str, pg_admin: str) -> None:
    """Where a sequence stands, and what was dropped, is no part of it; nor is what belongs to an extension."""
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(FURTHER.encode())
        before = fingerprint(connection, "public")
        connection.execute("select nextval('tickets'); alter table plain add gone int; alter table plain drop gone")
        with psycopg.connect(pg_admin, autocommit=True) as admin:
            admin.execute("create table theirs (a int); create view owned as select 1 as a")
            admin.execute("alter extension plpgsql add table theirs; alter extension plpgsql add view owned")
        held = "select count(*) from pg_locks where relation >= 16384 and pid = pg_backend_pid()"
        with connection.transaction():
            assert fingerprint(connection, "public") == before
            assert connection.execute(held).fetchone() == (0,)
        for name, first, last in (("one", "a", "b"), ("two", "b", "a")):
            connection.execute(f"create schema {name} create table t (gone int, x int primary key, y int references t)")
            connection.execute(f"create table {name}.{first} (); create table {name}.{last} ()")
        connection.execute("alter table one.t drop gone; alter table two.t drop gone, add more int")
        connection.execute("alter table two.t drop more, add last int; alter table one.t add last int")
        assert fingerprint(connection, "two") == fingerprint(connection, "one")
        with psycopg.connect(pg_admin, autocommit=True) as admin:  # as a failed CREATE INDEX CONCURRENTLY leaves it
            admin.execute("update pg_index set indisvalid = false where indexrelid = 'two.t_pkey'::regclass")
        assert fingerprint(connection, "two") != fingerprint(connection, "one")


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_what_the_content_sum_is_made_of(pg_database: str) -> None:
    """Pinned: other machines and later versions are to find the same."""
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute("create table a (n int, t text); create table b (n int)")
        connection.execute("insert into a values (1, 'x'), (2, null), (10, 'y')")
        found = digest(connection)
    full, empty = md5("".join(sorted(md5(row) for row in ("(1,x)", "(2,)", "(10,y)")))), md5("")
    assert [(table.name, table.rows, table.md5) for table in found.tables] == [("a", 3, full), ("b", 0, empty)]
    assert found.sha256 == hashlib.sha256(f"a 3 {full}\nb 0 {empty}\n".encode()).hexdigest()
    assert found.rows == 3


def test_tables_come_in_the_order_of_their_bytes(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        for name in ("b", '"B"', "_a", '"a-b"', "ab"):
            connection.execute(f"create table {name} ()")
        assert [table.name for table in digest(connection).tables] == ["B", "_a", "a-b", "ab", "b"]


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
def test_no_setting_changes_the_text_of_a_value(pg_database: str, value: str, setting: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(f"create table t as select {value} as v")
        first = digest(connection)
        connection.execute(f"set {setting}")
        assert digest(connection) == first


def test_it_counts_which_rows_are_there_twice_and_both_sums_make_one(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute("create table t (n int); insert into t values (1), (1), (2)")
        before = digest(connection)
        connection.execute("update t set n = 2 where ctid = (select min(ctid) from t)")
        after = digest(connection)
    assert (before.rows, before.structure) == (after.rows, after.structure)
    assert before.sha256 != after.sha256
    assert before.both != after.both
