"""What counts as an effect of a step, and what does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from dbtools.build import effects
from dbtools.build.effects import Effects, check_alembic, check_migrated
from dbtools.build.replay import restore
from dbtools.build.scratch import Scratch, scratch_database
from dbtools.db.connect import open_session
from dbtools.db.dsn import Dsn
from dbtools.errors import StepFailed
from tests.support.sessions import Connect
from tests.support.sources import sql_source
from tests.support.toy import TABLES
from tests.support.waiting import until

OTHERS = "select from pg_stat_activity where datname = current_database() and application_name = 'dbtools test'"
REPORT_S = 1.5
"""A server counts what a session has done at most once a second."""


def test_rows_that_were_restored_before_the_step_are_not_its_own(pg_database: str, tmp_path: Path) -> None:
    dsn = Dsn.parse(pg_database)
    source = sql_source(tmp_path / "project", TABLES, "insert into shops (name) values ('one')")
    with open_session(dsn, "test") as session:
        snapshot = source.find(session) or source.build(dsn)
    with scratch_database(dsn, "public") as scratch:
        restore(scratch.session, snapshot)

        def take_long() -> None:
            with Effects(scratch, "a slow one"):
                for _ in range(2):
                    time.sleep(REPORT_S)
                    scratch.session.execute("select 1")

        with pytest.raises(StepFailed, match="changed nothing"):
            take_long()
        with Effects(scratch, "one that adds a row"), open_session(scratch.dsn, "test") as other:
            other.execute("insert into shops (name) values ('two')")


@pytest.mark.parametrize(
    "statement",
    [
        "insert into shops (name) values ('two')",
        "update shops set name = 'other'",
        "delete from shops",
        "delete from shops; insert into shops (name) values ('two')",
    ],
    ids=["insert", "update", "delete", "exchange"],
)
def test_a_step_that_changes_nothing_but_a_row_has_done_something(pg_database: str, statement: str) -> None:
    with scratch_database(Dsn.parse(pg_database), "public") as scratch:
        with open_session(scratch.dsn, "test") as step:
            step.execute(f"{TABLES}; insert into shops (name) values ('one')".encode())
        until(lambda: scratch.session.execute(OTHERS).rowcount == 0)  # its rows are counted when it has ended
        with Effects(scratch, "the row's"), open_session(scratch.dsn, "test") as step:
            step.execute(statement.encode())
        with (
            pytest.raises(StepFailed, match="changed nothing"),
            Effects(scratch, "one that rolls back"),
            open_session(scratch.dsn, "test") as step,
        ):
            step.execute(f"begin; {statement}; rollback".encode())


@pytest.fixture
def scratch(pg_database: str) -> Iterator[Scratch]:
    with scratch_database(Dsn.parse(pg_database), "public") as scratch:
        yield scratch


def test_a_step_that_makes_anything_but_a_table_has_done_something(scratch: Scratch, connect: Connect) -> None:
    others = connect()  # in another database: nothing of the step's, and left alone
    for statement in (
        "create table items (id int)",
        "create index on items (id)",
        "create type mood as enum ()",
        "create function f() returns int language sql return 1",
        "create or replace function f() returns int language sql return 2",
        "create schema other",
        "alter schema other rename to another",
    ):
        with Effects(scratch, "one that makes little"), open_session(scratch.dsn, "test") as step:
            step.execute(statement.encode())
    with pytest.raises(StepFailed, match="changed nothing"), Effects(scratch, "one that asks"):
        scratch.session.execute("select f()")
    with pytest.raises(ZeroDivisionError), Effects(scratch, "one that fails"):
        raise ZeroDivisionError
    assert others.execute("select 1").fetchone() == (1,)


def test_the_table_of_revisions_is_not_what_migrations_are_for(scratch: Scratch) -> None:
    scratch.session.execute("create table alembic_version (version_num text)")
    for no_revision, why in (
        (True, "Alembic found no revision."),
        (False, "They ran to their end, but the database is"),
    ):
        with pytest.raises(StepFailed) as caught:
            check_migrated(scratch, ["alembic"], no_revision=no_revision)
        assert caught.value.what == "The migrate steps (alembic) made no table."
        assert caught.value.why.startswith(why)
    scratch.session.execute("create table items (id int)")
    check_migrated(scratch, ["alembic"], no_revision=False)
    for there, wanted, why in (
        ((), ["1"], "It is at none; the history ends at 1."),
        (("1", "2"), ["3"], "It is at 1, 2; the history ends at 3."),
    ):
        for revision in there:
            scratch.session.execute("insert into alembic_version values (%s)", (revision,))
        with pytest.raises(StepFailed) as caught:
            check_alembic(scratch, wanted)
        assert caught.value.why == why
    check_alembic(scratch, ["2"])  # which depends on 1, a head of another branch


def test_a_transaction_of_others_that_is_open_makes_no_older_row_the_steps(scratch: Scratch, connect: Connect) -> None:
    connect(autocommit=False).execute("select pg_current_xact_id()")
    with open_session(scratch.dsn, "test") as before:
        before.execute("create table items (id int); insert into items values (1)")
    until(lambda: scratch.session.execute(OTHERS).rowcount == 0)
    with pytest.raises(StepFailed, match="changed nothing"), Effects(scratch, "one that does nothing"):
        pass


def test_sessions_that_a_step_leaves_are_ended_and_one_at_work_is_an_error(
    scratch: Scratch, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "IDLE_S", 0.0)
    with Effects(scratch, "one with a pooler"):
        idle = connect("pooler", url=scratch.dsn.url)
        idle.execute("create table items (id int)")
    with pytest.raises(psycopg.OperationalError):
        idle.execute("select 1")

    monkeypatch.setattr(effects, "LINGERING_S", 0.5)
    working = "select from pg_stat_activity where application_name = 'worker' and state = 'active'"
    worker = connect("worker", url=scratch.dsn.url)

    def work() -> None:
        with suppress(psycopg.Error):  # it is ended
            worker.execute("select pg_sleep(60)")

    thread = threading.Thread(target=work)
    with pytest.raises(StepFailed) as caught, Effects(scratch, "one that goes on"):  # noqa: PT012 - its end is meant
        connect("idle", url=scratch.dsn.url).execute("create table others (id int)")
        thread.start()
        until(lambda: scratch.session.execute(working).rowcount == 1)
    assert caught.value.what == "Step one that goes on has ended, but a session of it goes on: worker."
    thread.join()


def test_a_program_that_connects_again_goes_on(
    scratch: Scratch, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "IDLE_S", 0.0)
    monkeypatch.setattr(effects, "LINGERING_S", 0.5)
    again: list[psycopg.Connection] = []

    def connect_again(_: float) -> None:
        if not again:
            again.append(connect("again", url=scratch.dsn.url))

    monkeypatch.setattr("dbtools.build.effects.time.sleep", connect_again)
    with pytest.raises(StepFailed, match="a session of it goes on: again"), Effects(scratch, "one that goes on"):
        connect("first", url=scratch.dsn.url)


def test_a_step_that_ends_our_session_is_named(scratch: Scratch, connect: Connect) -> None:
    with pytest.raises(StepFailed) as caught, Effects(scratch, "one that ends all"):
        connect().execute("select pg_terminate_backend(%s, 60000)", (scratch.session.info.backend_pid,))
    assert caught.value.what == (
        "Step one that ends all dropped the database that it was to fill, or ended its sessions."
    )
