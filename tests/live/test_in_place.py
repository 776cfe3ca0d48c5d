"""The in-place strategy on a live server: one transaction or phases, rights, the pool, and the fence."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest

from dbtools.chain.phase import ROLLED_BACK
from dbtools.chain.schema import check_rights
from dbtools.chain.target import Target, Waits
from dbtools.config import LOCK_KEY
from dbtools.db.dsn import Dsn
from dbtools.errors import ChainFailed, ConfigurationError, LockTimeout
from tests.support.runs import (
    AUTOCOMMIT,
    PASS_GATE,
    Acting,
    Log,
    Runner,
    closed_gate,
    content,
    holder,
    query,
    waits_at_gate,
)
from tests.support.sessions import Connect, freed_at_last
from tests.support.toy import TABLES, execute
from tests.support.waiting import until


@pytest.fixture
def target(pg_database: str) -> Target:
    return Target(Dsn.parse(pg_database), LOCK_KEY, in_place=True)


@pytest.fixture
def run(target: Target, tmp_path: Path) -> Runner:
    return Runner(target, tmp_path)


def test_the_record_of_a_reset(run: Runner, target: Target) -> None:
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
    assert query(target, "select version_num from alembic_version") == [("0001",)]


def test_a_role_without_rights_is_told_before_anything_is_dropped(run: Runner, target: Target, pg_admin: str) -> None:
    run()
    before, role = content(target), target.dsn.user
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute(
            f"alter database {target.dsn.dbname} owner to current_user; revoke create on schema public from {role}"
        )
        with pytest.raises(ChainFailed) as caught:
            run()
    assert str(caught.value) == (
        f"Role {role} may not create anything in schema public.\n"
        f"It would drop what it cannot build again. {ROLLED_BACK}\n"
        f'As its owner: grant create, usage on schema "public" to "{role}"; or connect as the owner.'
    )
    assert content(target) == before


def test_a_history_that_commits_by_itself_runs_in_phases(run: Runner, target: Target) -> None:
    run(execute(TABLES), AUTOCOMMIT)
    first = content(target)
    run(execute(TABLES), AUTOCOMMIT)
    assert content(target) == first
    assert query(target, "select count(*) from pg_indexes where indexname = 'byprice'") == [(1,)]
    assert query(target, "select count(*) from items") == [(3,)]


def test_a_failure_in_phases_says_what_is_left(run: Runner, target: Target) -> None:
    run()
    with pytest.raises(ChainFailed) as caught:
        run(execute(TABLES), AUTOCOMMIT, execute("select 1 / 0"))
    assert caught.value.what == "Migration 0003 failed."
    assert caught.value.reason == ("division by zero. The schema is dropped and only partly rebuilt: run reset again.")
    run()


def test_a_pool_of_one_is_refused_at_once(run: Runner) -> None:
    with pytest.raises(ConfigurationError) as caught:
        run(pool_size=1)
    assert str(caught.value) == (
        "A pool of 1 cannot run the chain.\n"
        "One connection is reserved for the lock, so a pool of 1 leaves none for the work and would hang."
        " Nothing was changed.\n"
        "Set --pool-size, DBTOOLS_POOL_SIZE or [tool.dbtools] pool-size to 2 or more."
    )


def test_a_pool_of_two_is_enough(run: Runner, target: Target) -> None:
    run(pool_size=2)
    assert query(target, "select count(*) from shops") == [(3,)]


def test_a_run_that_loses_its_lock_stops_and_the_next_waits_for_its_work(
    run: Runner, target: Target, connect: Connect
) -> None:
    """Only the lock's backend is ended while the work goes on and another chain waits."""
    run()
    before = content(target)
    errors: list[ChainFailed] = []
    logs: list[Log] = []
    gate = connect("gate")
    gate.execute("select pg_advisory_lock(4242)")

    def lose() -> None:
        with pytest.raises(ChainFailed) as caught:
            run(execute(TABLES), PASS_GATE)
        errors.append(caught.value)

    first = threading.Thread(target=lose)
    second = threading.Thread(target=lambda: logs.append(run()))
    with closed_gate(target):
        first.start()
        until(lambda: waits_at_gate(target))
        second.start()
        until(lambda: query(target, f"select pid from pg_locks where not granted and objid = {LOCK_KEY}") != [])
        lost = holder(target)
        query(target, f"select pg_terminate_backend({lost})")
        # The second has the lock now, and has changed nothing as long as the first one's work is there.
        until(lambda: holder(target) not in (None, lost))
        until(lambda: run.log.notes[-1:] and "a run that lost the lock" in run.log.notes[-1])
        assert content_is_locked(target)
    first.join()
    second.join()
    (error,) = errors
    assert error.what == "The seed advisory lock (key=1196576591) was lost before the work was done."
    assert error.reason.startswith("It is held by pid ")
    assert error.reason.endswith(ROLLED_BACK)
    (log,) = logs
    assert any(note.startswith("Waiting for the work of a run that lost the lock: pid ") for note in log.notes)
    assert content(target) == before


def content_is_locked(target: Target) -> bool:
    """Whether the first run's transaction still holds the tables it dropped."""
    with psycopg.connect(target.dsn.url) as connection:
        try:
            connection.execute("lock table shops in access share mode nowait")
        except psycopg.errors.LockNotAvailable:
            return True
    return False


LOST = "The seed advisory lock (key=1196576591) was lost before the work was done."
PARTLY = "The schema is dropped and only partly rebuilt: run reset again."
EMPTY = "The schema is migrated and holds no data: run seed."


def losing(target: Target, line: str) -> Acting:
    """A report that ends the lock's session at the moment of this line."""

    def lose() -> None:
        query(target, f"select pg_terminate_backend({holder(target)})")
        until(lambda: holder(target) is None)

    return Acting(line, lose)


@pytest.mark.parametrize(
    ("line", "never"),
    [
        ("All tables and enums dropped", "Running migrations..."),
        ("Migrations applied", "Seeding database..."),
        ("Seed complete!", "✓ Released seed advisory lock"),
    ],
)
def test_nothing_more_is_done_once_the_lock_is_lost(run: Runner, target: Target, line: str, never: str) -> None:
    run()
    before = content(target)
    log = losing(target, line)
    with pytest.raises(ChainFailed) as caught:
        run(execute(TABLES.replace("note text", "note text, more int")), log=log)
    assert caught.value.what == LOST
    assert caught.value.reason == f"It is free now. {ROLLED_BACK}"
    assert log.lines[-1].removeprefix("✓ ") == line
    assert never not in log.lines
    assert content(target) == before


@pytest.mark.parametrize(
    ("line", "state", "left"),
    [
        ("All tables and enums dropped", PARTLY, []),
        ("Migrations applied", EMPTY, [(0,)]),
        ("Seed complete!", EMPTY, [(0,)]),
    ],
)
def test_nor_in_phases_and_what_is_left_is_said(
    run: Runner, target: Target, line: str, state: str, left: list[tuple[object, ...]]
) -> None:
    run()
    log = losing(target, line)
    with pytest.raises(ChainFailed) as caught:
        run(execute(TABLES), AUTOCOMMIT, log=log)
    assert caught.value.what == LOST
    assert caught.value.reason == f"It is free now. {state}"
    assert log.lines[-1].removeprefix("✓ ") == line
    if left:
        assert query(target, "select count(*) from items") == left
    else:
        assert query(target, "select 1 from pg_tables where schemaname = 'public'") == left


def test_a_commit_in_phases_that_the_server_refuses_says_what_is_left(run: Runner, target: Target) -> None:
    refuse = execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;"
        " create constraint trigger refuses after insert on items deferrable initially deferred"
        " for each row execute function refuse()"
    )
    with pytest.raises(ChainFailed) as caught:
        run(execute(TABLES), refuse, AUTOCOMMIT)
    assert (caught.value.what, caught.value.state) == ("The commit phase failed.", EMPTY)
    assert query(target, "select count(*) from items") == [(0,)]


def test_tables_in_use_are_waited_for_before_anything_is_dropped(run: Runner, connect: Connect) -> None:
    run()
    reader = connect("report", autocommit=False)
    reader.execute("select from items")
    with freed_at_last(reader), pytest.raises(LockTimeout) as caught:
        run(waits=Waits(0))
    assert caught.value.what == "The old tables are in use and could not be dropped."
    assert "(application 'report', " in caught.value.reason


@pytest.mark.parametrize(("bodies", "drops"), [((), 1), ((AUTOCOMMIT,), 4)], ids=["at once", "in phases"])
def test_how_many_tables_one_statement_drops(
    run: Runner, target: Target, pg_admin: str, monkeypatch: pytest.MonkeyPatch, bodies: tuple[str, ...], drops: int
) -> None:
    monkeypatch.setattr("dbtools.chain.in_place.BATCH", 1)
    run(execute(TABLES), execute("create table more ()"))
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute(
            "create schema spy; create table spy.seen (); grant all on schema spy to public;"
            " grant all on spy.seen to public; create function spy.look() returns event_trigger language plpgsql as"
            " $$ begin insert into spy.seen default values; end $$;"
            " create event trigger looks on ddl_command_start when tag in ('DROP TABLE') execute function spy.look()"
        )
    run(execute(TABLES), *bodies)
    assert query(target, "select count(*) from spy.seen") == [(drops,)]


@pytest.mark.parametrize(
    ("bodies", "state", "left"),
    [
        ((), "The transaction was rolled back: the database is as it was before.", 3),
        ((AUTOCOMMIT,), "The schema is as it was, or dropped in part.", 2),
    ],
    ids=["at once", "in phases"],
)
def test_a_drop_that_fails_says_what_is_left(
    run: Runner,
    target: Target,
    pg_admin: str,
    monkeypatch: pytest.MonkeyPatch,
    bodies: tuple[str, ...],
    state: str,
    left: int,
) -> None:
    monkeypatch.setattr("dbtools.chain.in_place.BATCH", 1)
    run(execute(TABLES), execute("create table one (); create table two (); create table three ()"))
    tables = "select count(*) from pg_tables where schemaname = 'public' and tablename in ('one', 'two', 'three')"
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute(
            "create schema spy; create function spy.refuse() returns event_trigger language plpgsql as"
            f" $$ begin if ({tables}) < 2 then raise 'enough'; end if; end $$;"
            " create event trigger refuses on ddl_command_end when tag in ('DROP TABLE') execute function spy.refuse()"
        )
        with pytest.raises(ChainFailed) as caught:
            run(execute(TABLES), *bodies)
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


def test_a_schema_that_is_not_there_is_named(connect: Connect) -> None:
    with pytest.raises(ChainFailed) as caught:
        check_rights(connect(), "shop")
    assert caught.value.what == "The schema shop does not exist."
    assert caught.value.hint == 'Create it: create schema "shop"; or set [tool.dbtools] schema.'


def test_an_unprotected_run_takes_no_lock_and_every_statement_commits(
    run: Runner, target: Target, connect: Connect
) -> None:
    run()
    connect("holder").execute("select pg_advisory_lock(1196576591)")
    with pytest.raises(ChainFailed) as caught:
        run(execute(TABLES), execute("select 1 / 0"), unprotected=True)
    assert caught.value.reason.endswith(PARTLY)
    assert query(target, "select count(*) from shops") == [(0,)]
    log = run(unprotected=True)
    assert not [line for line in log.lines if "advisory lock" in line and "Reset complete" not in line]
    assert query(target, "select count(*) from shops") == [(3,)]
