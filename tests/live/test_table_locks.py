"""Locking many tables at one moment: all or none, in which order, for how long at a time, and who is named.

Attempts and pauses are taken on a clock of the test's own, so that each one has the length that the code gave it.
"""

from __future__ import annotations

import threading
from types import SimpleNamespace

import psycopg
import pytest

from dbtools.db import table_locks as module
from dbtools.db.blockers import Blocker
from dbtools.db.table_locks import lock_tables
from dbtools.errors import LockTimeout
from tests.support.clock import Clock
from tests.support.sessions import Connect, freed_at_last, is_waiting
from tests.support.waiting import LIMIT_S, until

TABLES = ["public.a", "public.b", "public.c"]
WHAT = "They could not be locked."


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    clock.put_into(module, monkeypatch)
    return clock


@pytest.fixture
def work(connect: Connect) -> psycopg.Connection:
    """A session with an open transaction on a database that has the tables."""
    connect().execute("create table a (); create table b (); create table c (); create sequence s")
    work = connect("work", autocommit=False)
    work.execute("select 1")
    return work


def reader(connect: Connect, table: str, name: str = "reader") -> psycopg.Connection:
    """A session whose open transaction uses the table."""
    session = connect(name, autocommit=False)
    session.execute(f"select from {table}")
    return session


def locked(watcher: psycopg.Connection, pid: int) -> set[str]:
    """The tables that a session has locked against everybody."""
    rows = watcher.execute(
        "select relation::regclass::text from pg_locks where locktype = 'relation' and granted and pid = %s"
        " and mode = 'AccessExclusiveLock' and relation::regclass::text !~ '^pg_'",
        (pid,),
    )
    return {str(name) for (name,) in rows}


def is_locked(watcher: psycopg.Connection, table: str) -> bool:
    try:
        watcher.execute(f"begin; lock table {table} in access share mode nowait")
    except psycopg.errors.LockNotAvailable:
        return True
    finally:
        watcher.execute("rollback")
    return False


def silent(blocker: Blocker | None) -> None:
    raise AssertionError("nobody was to be told")


def lock_timeout(work: psycopg.Connection) -> object:
    return (work.execute("show lock_timeout").fetchone() or ("",))[0]


def test_all_are_locked_until_the_transaction_ends(connect: Connect, work: psycopg.Connection) -> None:
    work.execute("set lock_timeout = '1h'")
    work.commit()
    lock_tables(work, TABLES, 1.0, silent, WHAT)
    assert locked(connect(), work.info.backend_pid) == {"a", "b", "c"}
    assert lock_timeout(work) == "0"
    work.commit()
    assert lock_timeout(work) == "1h"


@pytest.mark.parametrize(("timeout", "deadlock_timeout", "attempt"), [
    (1.0, "1s", "10ms"), (0.0, "1s", "500ms"), (0.0, "50ms", "40ms"), (0.0, "10s", "500ms"), (1.0, "5ms", "4ms"),
])  # fmt: skip
def test_the_first_attempt_is_short_and_none_outlasts_deadlock_timeout(
    connect: Connect, pg_admin: str, work: psycopg.Connection, clock: Clock,
    timeout: float, deadlock_timeout: str, attempt: str,
) -> None:  # fmt: skip
    admin = connect(url=pg_admin, autocommit=False)
    admin.execute(f"set deadlock_timeout = '{deadlock_timeout}'; create temporary table seen (setting text)")
    lock_tables(admin, TABLES, timeout, silent, WHAT, then="insert into seen select current_setting('lock_timeout')")
    assert admin.execute("select setting from seen").fetchall() == [(attempt,)]


def test_an_attempt_that_is_late_asks_for_a_moment_not_for_ever(
    connect: Connect, work: psycopg.Connection, clock: Clock
) -> None:
    clock.step = 1.0
    work.execute("create temporary table seen (setting text)")
    lock_tables(work, TABLES, 1.0, silent, WHAT, then="insert into seen select current_setting('lock_timeout')")
    assert work.execute("select setting from seen").fetchall() == [("1ms",)]


def test_a_failed_attempt_gives_everything_back_and_readers_get_as_long_a_turn(
    connect: Connect, work: psycopg.Connection, clock: Clock
) -> None:
    session, watcher = reader(connect, "c"), connect()
    seen: list[object] = []

    def look() -> None:
        seen.append([is_locked(watcher, table) for table in TABLES])
        seen.append(locked(watcher, work.info.backend_pid))

    clock.at_pause = {1: look, 4: session.close}
    lock_tables(work, TABLES, 10.0, silent, WHAT)
    assert seen == [[False] * 3, set()]
    assert clock.pauses == pytest.approx([0.01, 0.015, 0.0225, 0.03375])
    assert lock_timeout(work) == "0"


def test_attempts_grow_to_the_longest(connect: Connect, work: psycopg.Connection, clock: Clock) -> None:
    session = reader(connect, "c")
    clock.at_pause = {3: session.close}
    module_constants = (module.FIRST_ATTEMPT_S, module.LONGEST_ATTEMPT_S)
    assert module_constants == (0.01, 0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LONGEST_ATTEMPT_S", 0.012)
        lock_tables(work, TABLES, 10.0, silent, WHAT)
    assert clock.pauses == pytest.approx([0.01, 0.012, 0.012])


def test_the_table_in_the_way_comes_first_in_the_next_attempt(
    connect: Connect, work: psycopg.Connection, clock: Clock
) -> None:
    reader(connect, "c", "reads c")
    clock.at_pause = {1: lambda: reader(connect, "b", "reads b")}
    with pytest.raises(LockTimeout, match="Used by the open transaction of pid .* 'reads c'"):
        lock_tables(work, TABLES, 0.01, silent, WHAT)
    assert clock.pauses == [0.01]
    assert TABLES == ["public.a", "public.b", "public.c"]  # the caller's list is the caller's


def test_the_others_keep_their_order(connect: Connect, work: psycopg.Connection, clock: Clock) -> None:
    first = reader(connect, "c", "reads c")

    def look() -> None:
        first.close()
        reader(connect, "b", "reads b")
        reader(connect, "a", "reads a")

    clock.at_pause = {1: look}
    with pytest.raises(LockTimeout, match="'reads a'"):
        lock_tables(work, TABLES, 0.01, silent, WHAT)


def test_nothing_to_wait_with_is_one_attempt(connect: Connect, work: psycopg.Connection, clock: Clock) -> None:
    session = reader(connect, "b")
    with freed_at_last(session), pytest.raises(LockTimeout) as caught:
        lock_tables(work, TABLES, 0.0, silent, WHAT)
    assert clock.pauses == []
    pid = session.info.backend_pid
    assert caught.value.what == WHAT
    assert caught.value.why.startswith(f"Used by the open transaction of pid {pid} (application 'reader', ")
    assert caught.value.state == "Everything was rolled back: nothing was changed."
    assert caught.value.hint.startswith(f"End that session: select pg_terminate_backend({pid}); or wait longer with ")


def test_the_time_ends_with_the_attempt_that_reaches_it(
    connect: Connect, work: psycopg.Connection, clock: Clock
) -> None:
    reader(connect, "b")
    with pytest.raises(LockTimeout):
        lock_tables(work, TABLES, 0.025, silent, WHAT)
    assert clock.pauses == pytest.approx([0.01, 0.015])


def test_a_person_is_told_after_a_second_and_again_after_fifteen(
    connect: Connect, work: psycopg.Connection, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = reader(connect, "a")
    told: list[tuple[float, str | None]] = []
    monkeypatch.setattr(module, "random", SimpleNamespace(uniform=lambda low, high: 50.0))  # a pause of 0.5 s
    monkeypatch.setattr(module, "LONGEST_ATTEMPT_S", 0.01)
    clock.at_pause = {35: session.close}

    def tell(blocker: Blocker | None) -> None:
        told.append((clock.now - clock.began, blocker.application if blocker else None))

    lock_tables(work, TABLES, 60.0, tell, WHAT)
    assert told == [(1.5, "reader"), (17.0, "reader")]


def test_two_sides_that_wait_for_each_other_keep_attempts_short_and_say_nothing(
    connect: Connect, pg_admin: str, work: psycopg.Connection, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.execute("lock table a")
    other, watcher = connect("other", url=pg_admin, autocommit=False), connect(url=pg_admin)
    other.execute("set deadlock_timeout = '1h'; lock table b")
    waits = threading.Thread(target=other.execute, args=("lock table a",), daemon=True)
    waits.start()
    until(lambda: is_waiting(watcher, other.info.backend_pid, "relation"))
    monkeypatch.setattr(module, "QUIET_S", 0.0)
    with pytest.raises(LockTimeout, match="'other'"):
        lock_tables(work, ["public.b"], 0.045, silent, WHAT)
    assert clock.pauses == pytest.approx([0.01] * 5)
    work.close()
    waits.join(LIMIT_S)


def test_what_follows_the_locks_is_given_up_with_them(connect: Connect, work: psycopg.Connection, clock: Clock) -> None:
    """A sequence is no table, so nobody can be named."""
    session, watcher = connect("reader", autocommit=False), connect()
    session.execute("alter sequence s increment 2")
    seen: list[bool] = []
    clock.at_pause = {1: lambda: seen.append(is_locked(watcher, "public.a"))}
    with freed_at_last(session), pytest.raises(LockTimeout) as caught:
        lock_tables(work, TABLES, 0.01, silent, WHAT, then="alter sequence s increment 3")
    assert seen == [False]
    assert caught.value.why == "Used by the open transaction of others."
    assert caught.value.hint == "Wait longer with --lock-timeout SECONDS."


def test_a_statement_that_fails_for_another_reason_is_not_tried_again(work: psycopg.Connection, clock: Clock) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        lock_tables(work, TABLES, 1.0, silent, WHAT, then="select 1 / 0")
    assert clock.pauses == []


def test_in_one_transaction_a_session_that_came_later_is_named_too(
    connect: Connect, work: psycopg.Connection, clock: Clock
) -> None:
    """The server shows a transaction the sessions of its first look, unless it is asked to look again."""
    first = reader(connect, "a", "first")

    def change() -> None:
        reader(connect, "a", "second")
        first.close()

    clock.at_pause = {1: change}
    with pytest.raises(LockTimeout, match="'second'"):
        lock_tables(work, TABLES, 0.01, silent, WHAT)


def test_of_several_the_oldest_transaction_is_named(connect: Connect, work: psycopg.Connection, clock: Clock) -> None:
    """Whichever session it is: the server lists them in an order of its own."""
    readers = {name: connect(name, autocommit=False) for name in ("one", "two", "three")}
    reader(connect, "c", "elsewhere")
    for oldest in readers:
        for name in sorted(readers, key=lambda name: name != oldest):
            readers[name].execute("select from b")
        with pytest.raises(LockTimeout, match=f"'{oldest}'"):
            lock_tables(work, TABLES, 0.0, silent, WHAT)
        for session in readers.values():
            session.rollback()
