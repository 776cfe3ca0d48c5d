"""The in-place strategy on a live server: one transaction, rights, readers, and what an unprotected run does."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest

from dbtools.chain import in_place
from dbtools.chain.phase import NOT_COMMITTED, ROLLED_BACK
from dbtools.chain.schema import check_rights
from dbtools.chain.target import Target, Waits
from dbtools.config import LOCK_KEY
from dbtools.db.dsn import Dsn
from dbtools.errors import ChainFailed, LockTimeout
from tests.support.runs import PASS_GATE, Acting, Runner, closed_gate, content, query, waits_at_gate
from tests.support.sessions import Connect, freed_at_last
from tests.support.toy import TABLES
from tests.support.waiting import until

FAILS = "alter table shops add check (id < 0)"
"""A history that no rows fit into."""
PARTLY = "The schema is as it was, or dropped and rebuilt in part."


@pytest.fixture
def target(pg_database: str) -> Target:
    return Target(Dsn.parse(pg_database), LOCK_KEY, in_place=True)


@pytest.fixture
def run(target: Target, tmp_path: Path) -> Runner:
    return Runner(target, tmp_path)


def test_the_record_of_a_reset(run: Runner, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    vacuumed: list[bool] = []
    monkeypatch.setattr(in_place, "vacuum_catalogs", lambda work: vacuumed.append(work.autocommit))
    assert run().lines == [
        "✓ Acquired seed advisory lock (key=1196576591)",
        "Dropping all application tables...",
        "✓ All tables and enums dropped",
        "Running migrations...",
        "✓ Migrations applied",
        "Seeding database...",
        "✓ Created 3 shops as of 2026-11-23",
        "Seed complete!",
        "✓ Released seed advisory lock",
        "✓ Reset complete (advisory lock key=0x47524f4f)",
    ]
    assert query(target, "select count(*) from items") == [(3,)]
    assert vacuumed == [True]


def test_a_role_without_rights_is_told_before_anything_is_dropped(run: Runner, target: Target, pg_admin: str) -> None:
    run()
    before, role = content(target), target.dsn.user
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute(
            f"alter database {target.dsn.dbname} owner to current_user;"
            f" revoke create on schema public from {role}, public"  # before PostgreSQL 15 everybody has it
        )
        with pytest.raises(ChainFailed) as caught:
            run()
    assert str(caught.value) == (
        f"Role {role} may not create anything in schema public.\n"
        f"It would drop what it cannot build again. {ROLLED_BACK}\n"
        f'As its owner: grant create, usage on schema "public" to "{role}"; or connect as the owner.'
    )
    assert content(target) == before


def test_a_history_that_commits_by_itself_is_installed_as_one(run: Runner, target: Target) -> None:
    concurrently = "create index concurrently byprice on items (price)"
    run(TABLES, concurrently)
    first = content(target)
    run(TABLES, concurrently)
    assert content(target) == first
    assert query(target, "select count(*) from pg_indexes where indexname = 'byprice'") == [(1,)]
    with pytest.raises(ChainFailed) as caught:
        run(TABLES, concurrently, FAILS)
    assert (caught.value.what, caught.value.state) == ("The seed phase failed.", ROLLED_BACK)
    assert content(target) == first


def test_what_cannot_be_moved_is_installed_again_and_again(run: Runner, target: Target) -> None:
    span = "create type span as range (subtype = int); create table days (s span); insert into days values ('[1,2)')"
    for _ in range(3):
        run(TABLES, span)
        assert query(target, "select s::text, shop_id from days, items where id = 1") == [("[1,2)", 1)]


def test_a_published_schema_stays_published(run: Runner, target: Target, pg_admin: str) -> None:
    run()
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        if admin.info.server_version < 150000:
            pytest.skip("PostgreSQL 14 publishes no schemas")
        admin.execute("create publication news for tables in schema public")
    run(TABLES, "create table late ()")
    assert query(target, "select tablename from pg_publication_tables order by 1") == [
        ("items",),
        ("late",),
        ("shops",),
    ]


@pytest.mark.parametrize(
    ("line", "never"),
    [
        ("All tables and enums dropped", "✓ Migrations applied"),
        ("Migrations applied", "✓ Created 3 shops as of 2026-11-23"),
        ("Seed complete!", "✓ Released seed advisory lock"),
    ],
)
def test_a_session_that_is_lost_at_any_point_loses_nothing(run: Runner, target: Target, line: str, never: str) -> None:
    run()
    before = content(target)

    def end_the_session() -> None:
        query(target, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dbtools reset'")

    log = Acting(line, end_the_session)
    with pytest.raises(ChainFailed) as caught:
        run(TABLES.replace("note text", "note text, more int"), log=log)
    assert caught.value.state in {ROLLED_BACK, NOT_COMMITTED}  # older versions of psycopg pass on no farewell
    assert caught.value.hint == "The connection to the server broke; once it is back, run this again."
    assert never not in log.lines
    assert content(target) == before


def test_readers_wait_and_find_the_new_tables_full(run: Runner, target: Target, connect: Connect) -> None:
    run()
    query(target, "update shops set note = 'old'")
    reader, seen = connect("report"), list[object]()
    building = threading.Thread(target=run, args=(TABLES, PASS_GATE))
    reading = threading.Thread(target=lambda: seen.extend(reader.execute("select distinct note from shops").fetchall()))
    with closed_gate(target):
        building.start()
        until(lambda: waits_at_gate(target))
        reading.start()
        until(lambda: query(target, "select 1 from pg_locks where relation = 'shops'::regclass and not granted") != [])
    building.join()
    reading.join()
    assert seen == [(None,)]


def test_tables_in_use_are_waited_for_before_anything_is_dropped(run: Runner, connect: Connect) -> None:
    run()
    reader = connect("report", autocommit=False)
    reader.execute("select from items")
    with freed_at_last(reader), pytest.raises(LockTimeout) as caught:
        run(waits=Waits(0))
    assert caught.value.what == "The old tables are in use and could not be dropped."
    assert "(application 'report', " in caught.value.reason


@pytest.mark.parametrize(("unprotected", "drops"), [(False, 1), (True, 3)], ids=["at once", "unprotected"])
def test_how_many_tables_one_statement_drops(
    run: Runner, target: Target, pg_admin: str, monkeypatch: pytest.MonkeyPatch, unprotected: bool, drops: int
) -> None:
    monkeypatch.setattr("dbtools.chain.in_place.BATCH", 1)
    run(TABLES, "create table more ()")
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute(
            "create schema spy; create table spy.seen (); grant all on schema spy to public;"
            " grant all on spy.seen to public; create function spy.look() returns event_trigger language plpgsql as"
            " $$ begin insert into spy.seen default values; end $$;"
            " create event trigger looks on ddl_command_start when tag in ('DROP TABLE') execute function spy.look()"
        )
    run(unprotected=unprotected)
    assert query(target, "select count(*) from spy.seen") == [(drops,)]


@pytest.mark.parametrize(
    ("unprotected", "state", "left"), [(False, ROLLED_BACK, 3), (True, PARTLY, 2)], ids=["at once", "unprotected"]
)
def test_a_drop_that_fails_says_what_is_left(
    run: Runner,
    target: Target,
    pg_admin: str,
    monkeypatch: pytest.MonkeyPatch,
    unprotected: bool,
    state: str,
    left: int,
) -> None:
    monkeypatch.setattr("dbtools.chain.in_place.BATCH", 1)
    run(TABLES, "create table one (); create table two (); create table three ()")
    tables = "select count(*) from pg_tables where schemaname = 'public' and tablename in ('one', 'two', 'three')"
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute(
            "create schema spy; create function spy.refuse() returns event_trigger language plpgsql as"
            f" $$ begin if ({tables}) < 2 then raise 'enough'; end if; end $$;"
            " create event trigger refuses on ddl_command_end when tag in ('DROP TABLE') execute function spy.refuse()"
        )
        with pytest.raises(ChainFailed) as caught:
            run(unprotected=unprotected)
    assert (caught.value.what, caught.value.state) == ("The drop phase failed.", state)
    assert query(target, tables) == [(left,)]


@pytest.mark.parametrize("right", ["create", "usage"])
def test_either_right_on_the_schema_alone_is_too_little(
    target: Target, connect: Connect, pg_admin: str, right: str
) -> None:
    admin, session = connect(url=pg_admin), connect()
    admin.execute("create schema shop")
    admin.execute(f"grant {right} on schema shop to {target.dsn.user}")
    with pytest.raises(ChainFailed) as caught:
        check_rights(session, "shop")
    assert caught.value.what == f"Role {target.dsn.user} may not create anything in schema shop."
    admin.execute(f"grant create, usage on schema shop to {target.dsn.user}")
    check_rights(session, "shop")


def test_a_schema_that_is_not_there_and_cannot_be_made_is_named(
    connect: Connect, target: Target, pg_admin: str
) -> None:
    check_rights(connect(), "shop")
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute(f"alter database {target.dsn.dbname} owner to current_user")
    with pytest.raises(ChainFailed) as caught:
        check_rights(connect(), "shop")
    role = target.dsn.user
    assert caught.value.what == f"The schema shop does not exist, and role {role} may not create it."
    assert caught.value.hint == f'As the database\'s owner: create schema "shop" authorization "{role}";'


def test_an_unprotected_run_takes_no_lock_and_every_statement_commits(
    run: Runner, target: Target, connect: Connect
) -> None:
    run()
    connect("holder").execute("select pg_advisory_lock(1196576591)")
    with pytest.raises(ChainFailed) as caught:
        run(TABLES, FAILS, unprotected=True)
    assert caught.value.reason.endswith(PARTLY)
    assert query(target, "select count(*) from shops") == [(0,)]
    log = run(unprotected=True)
    assert not [line for line in log.lines if "advisory lock" in line and "Reset complete" not in line]
    assert query(target, "select count(*) from shops") == [(3,)]
