"""Loads run side by side, apart from resets; each is added as a whole, once, and the server has counted its rows."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from alembic import command
from sqlalchemy import create_engine, pool

from dbtools.chain.blocks import Job, Share
from dbtools.chain.load import load
from dbtools.chain.phase import server_time
from dbtools.chain.target import Target, Waits
from dbtools.config import LOCK_KEY
from dbtools.dataset import Dataset, TableRows, TableText
from dbtools.db.digest import digest
from dbtools.db.dsn import Dsn
from dbtools.errors import ChainFailed, ConfigurationError, LockTimeout, ResetRefused
from groombook.invariants import INVARIANTS
from tests.support.migrations import configure
from tests.support.projects import ROOT, start_task
from tests.support.runs import PLAN, Log, query
from tests.support.sessions import Connect
from tests.support.waiting import until

BLOCKS = 6
TABLES = """
drop table if exists shops, items, notes;
create table shops (id int primary key);
create table items (id int primary key, shop_id int not null references shops, "Name" text);
create table notes (id int primary key, item_id int not null references items);
"""


class Items:
    """A load of six blocks, each of ten items with two notes each."""

    blocks = BLOCKS
    base = Dataset((TableRows("shops", ("id",), [(1,)]),))

    def __init__(self, on_block: Callable[[int], object] = lambda number: None) -> None:
        self.on_block = on_block

    def block(self, number: int) -> Sequence[TableText]:
        self.on_block(number)
        items = [f"{10 * number + place}\t1\tItem\\t{place}\n" for place in range(10)]
        notes = [f"{20 * number + place}\t{10 * number + place // 2}\n" for place in range(20)]
        return (
            TableText("items", ("id", "shop_id", "Name"), 10, "".join(items).encode()),
            TableText("notes", ("id", "item_id"), 20, "".join(notes).encode()),
        )


@pytest.fixture
def target(pg_database: str, connect: Connect) -> Target:
    connect().execute(TABLES)
    return Target(Dsn.parse(pg_database), LOCK_KEY)


def run(target: Target, content: Items, share: Share | None = None, workers: int = 1) -> Job:
    return load(target, content, share or Share(), workers, PLAN, Log(), lambda job: None)[1]


def counts(target: Target) -> tuple[object, ...]:
    return query(target, "select (select count(*) from items), (select count(*) from notes), count(*) from shops")[0]


def test_workers_and_shares_leave_the_same_rows(target: Target, connect: Connect) -> None:
    session = connect()
    meeting = threading.Barrier(4)

    def meet(number: int) -> None:
        if number % 2 == 0:  # the first block of each of the three shares
            meeting.wait(60)
            meeting.wait(60)

    assert run(target, Items()).rows == {"items": 60, "notes": 120}
    once = digest(session, "public")
    session.execute(TABLES)
    assert run(target, Items(), workers=4).rows == {"items": 60, "notes": 120}
    assert digest(session, "public") == once
    session.execute(TABLES)
    with ThreadPoolExecutor(3) as processes:
        shares = [processes.submit(run, target, Items(meet), Share(number, 3)) for number in (1, 2, 3)]
        meeting.wait(60)
        # All three are at work, under the one lock, which nobody else gets meanwhile.
        held = "select count(*) from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and granted"
        assert query(target, held) == [(3,)]
        assert query(target, f"select pg_try_advisory_lock({LOCK_KEY})") == [(False,)]
        meeting.wait(60)
        assert [share.result().rows for share in shares] == [{"items": 20, "notes": 40}] * 3
    assert digest(session, "public") == once
    assert query(target, f"select pg_try_advisory_lock({LOCK_KEY})") == [(True,)]


SETTINGS = """
create function settings() returns text language sql as $$ select concat_ws(' ', current_setting('statement_timeout'),
    current_setting('datestyle'), current_setting('lock_timeout'), current_setting('search_path')) $$;
create function look() returns trigger language plpgsql as $$ begin
    if public.settings() <> '0 ISO, MDY 10s shop, public' then raise 'found %', public.settings(); end if;
    return null; end $$;
"""


def test_every_session_reads_text_as_it_was_written_into_the_schema_and_none_is_cut_short(
    target: Target, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = connect()
    session.execute(f"{SETTINGS} create schema shop; set search_path to shop; {TABLES}".encode())
    for table in ("shops", "items", "notes"):
        session.execute(f"create trigger t before insert on {table} execute function public.look()".encode())
    for setting in ("statement_timeout to '9min'", "datestyle to german", "lock_timeout to '9min'"):
        session.execute(f"alter database {target.dsn.dbname} set {setting}".encode())
    held: list[object] = []

    def timed(keeper: psycopg.Connection) -> str:
        held.extend(query(target, "select mode from pg_locks where locktype = 'advisory' and granted"))
        return server_time(keeper)

    monkeypatch.setattr("dbtools.chain.load.server_time", timed)
    shop = replace(target, schema="shop", waits=Waits(lock=7))
    outcome, job = load(shop, Items(), Share(), 2, PLAN, Log(), lambda job: None)
    assert (outcome.rows, job.rows.total(), held) == (181, 180, [("ShareLock",)] * 2)
    assert outcome.acquired_at < outcome.released_at
    seen = "select distinct tablename from pg_stats where schemaname = 'shop' order by 1"
    assert query(target, seen) == [("items",), ("notes",), ("shops",)]


def test_a_load_waits_for_a_reset(target: Target, connect: Connect) -> None:
    connect("resetting").execute("select pg_advisory_lock(%s)", (LOCK_KEY,))
    with pytest.raises(LockTimeout, match=r"^Could not get the seed advisory lock \(key=1196576591\) at the first try"):
        run(replace(target, waits=Waits(lock=0)), Items())
    assert counts(target) == (0, 0, 0)


def test_what_is_there_is_refused_as_a_whole(target: Target) -> None:
    run(target, Items(), Share(3, 3))
    with pytest.raises(ChainFailed) as caught:
        run(target, Items(), Share(2, 2), workers=2)
    assert str(caught.value).replace("(id)=(50)", "(id)=(40)") == (
        "The load phase failed.\n"
        'duplicate key value violates unique constraint "items_pkey" DETAIL: Key (id)=(40) already exists.'
        " CONTEXT: COPY items, line 1."
        " No row of a block was added; the rows that all blocks refer to may have been.\n"
        "These blocks, or other rows with their keys, are there already: invoke reset, or load another share."
    )
    assert counts(target) == (20, 40, 1)
    run(target, Items(), Share(1, 3))
    run(target, Items(), Share(2, 3))
    assert counts(target) == (60, 120, 1)


@pytest.mark.parametrize(
    ("trigger", "found"),
    [
        ("before insert on notes for each row execute function nothing()", 0),
        ("after insert on notes for each row execute function away()", 119),
    ],
)
def test_rows_that_did_not_arrive_are_no_success(target: Target, connect: Connect, trigger: str, found: int) -> None:
    connect().execute(
        "create function nothing() returns trigger language plpgsql as 'begin return null; end';"
        "create function away() returns trigger language plpgsql as"
        " 'begin delete from notes where id = 7; return null; end';"
        f"create trigger t {trigger}"
    )
    with pytest.raises(ChainFailed) as caught:
        run(target, Items())
    assert str(caught.value) == (
        f"The load did not arrive: {found} {'row' if found == 1 else 'rows'} of 120 came into notes.\n"
        "A trigger of the table may have kept them out, or removed them."
        " No row of a block was added; the rows that all blocks refer to may have been.\n"
        "Drop it for the load, or take the table out of the load."
    )
    assert counts(target) == (0, 0, 1)


@pytest.mark.parametrize(
    ("workers", "late", "state", "hint", "left"),
    [
        (
            1,
            "true",
            "No row of a block was added; the rows that all blocks refer to may have been.",
            "Read the server's answer above; --debug shows the traceback.",
            0,
        ),
        (
            2,
            "exists (select from items where xmin <> pg_current_xact_id()::xid)",
            "1 of 2 workers had committed their blocks; no other did.",
            "Run: invoke reset; then load again.",
            1,
        ),
    ],
)
def test_a_commit_that_fails_says_what_is_there(
    target: Target, connect: Connect, workers: int, late: str, state: str, hint: str, left: int
) -> None:
    both = threading.Barrier(workers)
    connect().execute(
        "create function late() returns trigger language plpgsql as"
        f" $$begin if {late} then raise 'too late'; end if; return null; end$$;"
        "create constraint trigger late after insert on items deferrable initially deferred"
        " for each row execute function late()"
    )
    with pytest.raises(ChainFailed) as caught:
        run(target, Items(lambda number: both.wait(60) if number < workers else None), workers=workers)
    assert str(caught.value) == (
        f"The commit phase failed.\ntoo late CONTEXT: PL/pgSQL function late() line 1 at RAISE. {state}\n{hint}"
    )
    items, notes, _ = counts(target)
    assert isinstance(items, int)
    assert (items > 0, notes) == (left > 0, 2 * items)
    assert items < 60


def test_a_lost_lock_is_seen_before_the_commit(target: Target, connect: Connect) -> None:
    session = connect()
    ended = "select pg_terminate_backend(pid, 60000) from pg_locks where locktype = 'advisory' and granted"

    def end_lock(number: int) -> None:
        if number == 3:
            assert session.execute(ended).fetchall() == [(True,)]

    with pytest.raises(ChainFailed) as caught:
        run(target, Items(end_lock), workers=2)
    assert str(caught.value) == (
        "The seed advisory lock was lost during the load.\n"
        "Its session is gone, so another run may have changed the tables meanwhile."
        " No row of a block was added; the rows that all blocks refer to may have been.\n"
        "Run: invoke reset; then load again."
    )
    assert counts(target) == (0, 0, 1)


def test_what_cannot_be_loaded_is_refused_before_anything(target: Target) -> None:
    with pytest.raises(ConfigurationError) as caught:
        run(replace(target, pool_size=4), Items(), workers=8)
    assert str(caught.value) == (
        "A pool of 4 is too small for 6 workers.\n"
        "Each has a connection, and one more holds the lock. Nothing was changed.\n"
        "Set --pool-size, DBTOOLS_POOL_SIZE or [tool.dbtools] pool-size to 7 or more."
    )
    with pytest.raises(ConfigurationError) as caught:
        run(target, Items(), Share(1, 8))
    assert str(caught.value) == (
        "There is nothing to load for share 1 of 8.\n"
        "The load has 6 blocks, and a share is of whole blocks. Nothing was changed.\n"
        "Load in 6 shares or fewer, or at a larger scale."
    )
    assert counts(target) == (0, 0, 0)


def test_a_production_environment_is_refused_before_a_connection_is_opened(target: Target) -> None:
    nowhere = replace(target, dsn=Dsn.parse("postgresql://app@127.0.0.1:1/shop"))
    plan = replace(PLAN, environ={"APP_ENV": "production"})
    with pytest.raises(ResetRefused):
        load(nowhere, Items(), Share(), 1, plan, Log(), lambda job: None)


def test_a_block_that_fails_ends_the_others(target: Target) -> None:
    jobs, computed = list[Job](), list[int]()

    def compute(number: int) -> None:
        computed.append(number)
        if number == 0:
            until(lambda: len(computed) == 2)
            raise ZeroDivisionError
        until(lambda: bool(jobs) and jobs[0].over.is_set())

    with pytest.raises(ZeroDivisionError):
        load(target, Items(compute), Share(), 2, PLAN, Log(), jobs.append)
    assert sorted(computed) == [0, 1]
    assert counts(target) == (0, 0, 1)


@pytest.fixture
def groombook(pg_database: str) -> str:
    """A database with GroomBook's tables, empty."""
    pytest.importorskip("numpy", reason="needs NumPy, of the dependency group load")
    with create_engine(Dsn.parse(pg_database).sqlalchemy_url, poolclass=pool.NullPool).begin() as migrating:
        command.upgrade(configure(migrating), "head")
    return pg_database


def test_the_rules_of_groombook_hold(groombook: str) -> None:
    from groombook.load import Load

    target = Target(Dsn.parse(groombook), LOCK_KEY)
    content = Load(8, 42, dt.date(2026, 11, 23), clients=100)
    loaded = [load(target, content, Share(number, 2), 2, PLAN, Log(), lambda job: None)[1].rows for number in (2, 1)]
    assert [rows["invoices"] for rows in loaded] == [4000, 4000]
    with psycopg.connect(groombook) as connection:
        for table in loaded[0]:
            assert query(target, f"select count(*) from {table}") == [(loaded[0][table] + loaded[1][table],)]
        assert [rule.name for rule in INVARIANTS if connection.execute(rule.query).fetchall()] == []


def test_the_task_is_interrupted_and_goes_on(groombook: str, connect: Connect) -> None:
    target = Target(Dsn.parse(groombook), LOCK_KEY)
    other = connect(autocommit=False)
    other.execute("lock table clients")
    task = start_task(groombook, "load")
    waiting = "select from pg_locks where relation = 'clients'::regclass and not granted"
    watching = connect()
    until(lambda: watching.execute(waiting).fetchall())
    task.send_signal(signal.SIGINT)
    out, errors = task.communicate(timeout=60)
    other.rollback()
    assert task.returncode == 130
    assert errors == (
        "Interrupted by SIGINT.\n"
        "In the load phase. No row of a block was added; the rows that all blocks refer to may have been.\n"
        "Run this again; invoke doctor looks at the database.\n"
    )
    assert out == "✓ Acquired seed advisory lock (key=1196576591)\nLoading rows...\n"
    assert query(target, "select count(*) from clients") == [(0,)]

    environ = os.environ | {"DATABASE_URL": groombook, "JOB_COMPLETION_INDEX": "1"}
    again = [sys.executable, "-m", "invoke", "load", "--scale", "2", "--shard", "job/2", "--json"]
    done = subprocess.run(again, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["scale"], found["shard"], found["rows"]["invoices"]) == (2, "2/2", 10_000)
    for table, count in found["rows"].items():
        assert query(target, f"select count(*) from {table}") == [(count,)]
