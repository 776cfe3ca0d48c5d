"""The sweep of what resets have replaced: what it takes, what it leaves alone, and how it gives way."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import psycopg
import pytest

from dbtools.chain import cleanup
from dbtools.chain.cleanup import SWEEP_KEY, sweep, vacuum_catalogs
from dbtools.db.catalog import REPLACED_COMMENT
from dbtools.db.sql import quote
from tests.support.sessions import Connect, freed_at_last
from tests.support.waiting import LIMIT_S, until


def leave(connection: psycopg.Connection, name: str, comment: str = REPLACED_COMMENT, tables: int = 1) -> None:
    """Make a schema as an exchange leaves it."""
    connection.execute(f"create schema {quote(name)}; comment on schema {quote(name)} is '{comment}'")
    for number in range(1, tables + 1):
        connection.execute(f"create table {quote(name)}.t{number} (a int)")


def schemas(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute("select nspname from pg_namespace where nspname ~ '^dbtools' order by 1")
    return [str(name) for (name,) in rows]


@pytest.fixture
def sweeper(connect: Connect) -> psycopg.Connection:
    return connect("sweeper")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set at the first pause, between two tries."""
    paused = threading.Event()

    def pause(seconds: float) -> None:
        paused.set()
        time.sleep(seconds)

    monkeypatch.setattr(cleanup, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pause))
    return paused


def test_every_schema_that_an_exchange_has_left_is_dropped(sweeper: psycopg.Connection) -> None:
    leave(sweeper, "dbtools_old_1", tables=3)
    leave(sweeper, "dbtools_old_2")
    sweeper.execute("create view dbtools_old_2.v as select 1; create type dbtools_old_2.e as enum ('x')")
    assert sweep(sweeper, 0.0) == ""
    assert schemas(sweeper) == []


def test_names_and_comments_that_only_look_like_it_are_left_alone(sweeper: psycopg.Connection) -> None:
    leave(sweeper, "dbtools_old_1", comment="mine")
    leave(sweeper, "dbtoolsXoldX2")
    leave(sweeper, "dbtools_new_3")
    assert sweep(sweeper, 0.0) == ""
    assert schemas(sweeper) == ["dbtoolsXoldX2", "dbtools_new_3", "dbtools_old_1"]


def test_what_another_role_has_left_is_left_to_that_role(
    connect: Connect, sweeper: psycopg.Connection, pg_admin: str
) -> None:
    leave(connect(url=pg_admin), "dbtools_old_1")
    leave(sweeper, "dbtools_old_2")
    assert sweep(sweeper, 0.0) == ""
    assert schemas(sweeper) == ["dbtools_old_1"]


@pytest.mark.parametrize("form", ["pg_advisory_lock", "pg_advisory_lock_shared"])
def test_sweepers_take_turns(
    connect: Connect, sweeper: psycopg.Connection, patient: threading.Event, form: str
) -> None:
    leave(sweeper, "dbtools_old_1")
    other = connect("other sweeper")
    other.execute(f"select {form}({SWEEP_KEY})")
    with freed_at_last(other):
        assert sweep(sweeper, 0.0) == "dbtools_old_1"
    assert schemas(sweeper) == ["dbtools_old_1"]
    assert not patient.is_set()
    other.execute("select pg_advisory_unlock_all()")
    assert sweep(sweeper, 0.0) == ""


def test_a_table_in_use_is_left_and_named(connect: Connect, sweeper: psycopg.Connection) -> None:
    leave(sweeper, "dbtools_old_1")
    reader = connect("reader", autocommit=False)
    reader.execute("select from dbtools_old_1.t1")
    with freed_at_last(reader):
        assert sweep(sweeper, 0.0) == "dbtools_old_1"
        assert schemas(sweeper) == ["dbtools_old_1"]


def test_a_table_in_use_is_tried_again_until_its_reader_ends(
    connect: Connect, sweeper: psycopg.Connection, patient: threading.Event
) -> None:
    leave(sweeper, "dbtools_old_1")
    reader, left = connect("reader", autocommit=False), list[str]()
    reader.execute("select from dbtools_old_1.t1")
    sweeping = threading.Thread(target=lambda: left.append(sweep(sweeper, LIMIT_S)))
    sweeping.start()
    until(patient.is_set)
    reader.close()
    sweeping.join(LIMIT_S)
    assert left == [""]
    assert schemas(connect()) == []


def test_each_statement_is_a_small_transaction_that_gives_way_and_does_not_time_out(
    connect: Connect, sweeper: psycopg.Connection, pg_admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event trigger, which the server calls before each drop, writes down what it finds."""
    monkeypatch.setattr(cleanup, "BATCH", 2)
    leave(sweeper, "dbtools_old_1", tables=3)
    sweeper.execute(
        "create table seen (number int generated always as identity, command text, lock_timeout text,"
        " statement_timeout text, turn bool, transaction xid8);"
        "create function look() returns event_trigger language plpgsql as $$ begin insert into public.seen"
        " (command, lock_timeout, statement_timeout, turn, transaction) select tg_tag, current_setting('lock_timeout'),"
        " current_setting('statement_timeout'), exists (select from pg_locks where locktype = 'advisory' and granted"
        " and pid = pg_backend_pid() and classid = 1398228304 and objid = 0 and objsubid = 1), pg_current_xact_id();"
        " end $$; set statement_timeout = '1h'; set lock_timeout = '1h'"
    )
    connect(url=pg_admin).execute("create event trigger looks on ddl_command_start execute function public.look()")
    assert sweep(sweeper, 0.0) == ""
    rows = sweeper.execute("select command, lock_timeout, statement_timeout, turn from seen order by number").fetchall()
    drop_table, drop_schema = (f"DROP {kind}" for kind in ("TABLE", "SCHEMA"))
    assert rows == [(command, "100ms", "0", True) for command in (drop_table, drop_table, drop_schema)]
    assert sweeper.execute("select count(distinct transaction) from seen").fetchone() == (3,)
    assert sweeper.execute("show lock_timeout").fetchone() == ("1h",)
    assert sweeper.execute("select from pg_locks where locktype = 'advisory'").fetchall() == []


def churn(connect: Connect) -> None:
    """Leave some thousand dead rows in the catalog of columns, and let the server count them."""
    wide = f"create table wide ({', '.join(f'c{number} int' for number in range(1500))}); drop table wide"
    with connect("churn") as session:
        for _ in range(8):
            session.execute(wide)


def test_catalogs_full_of_dead_rows_are_vacuumed(connect: Connect, sweeper: psycopg.Connection) -> None:
    def vacuumed() -> bool:
        churn(connect)  # each time anew: autovacuum may come first
        return "pg_attribute" in vacuum_catalogs(sweeper)

    until(vacuumed)
    dead = "select pg_stat_get_dead_tuples('pg_attribute'::regclass) < 1000, pg_stat_clear_snapshot()"
    until(lambda: (sweeper.execute(dead).fetchone() or (False,))[0])
    assert vacuum_catalogs(sweeper) == []


def test_only_the_databases_owner_vacuums(connect: Connect, pg_admin: str) -> None:
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute("drop role if exists guest")
        admin.execute("create role guest")
        try:
            churn(connect)
            admin.execute("set role guest")
            assert vacuum_catalogs(admin) == []
            admin.execute("reset role")
        finally:
            admin.execute("drop role guest")
