"""The seed lock between real sessions: exclusion, waiting, who holds it, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeAlias

import psycopg
import pytest

from dbtools.chain.lock import SeedLock
from dbtools.chain.target import Waits
from dbtools.config import LOCK_KEY
from dbtools.db.blockers import Blocker
from dbtools.errors import ChainFailed, LockTimeout
from tests.support.waiting import LIMIT_S, until

Connect: TypeAlias = Callable[..., psycopg.Connection]


@pytest.fixture
def connect(pg_database: str) -> Iterator[Connect]:
    """Sessions on one database that are closed at the end."""
    opened: list[psycopg.Connection] = []

    def open_one(name: str = "test") -> psycopg.Connection:
        opened.append(psycopg.connect(pg_database, autocommit=True, application_name=name))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


def ignore(holder: Blocker | None) -> None:
    """A waiter that says nothing."""


def is_waiting(watcher: psycopg.Connection, pid: int) -> bool:
    row = watcher.execute(
        "select wait_event_type = 'Lock' and wait_event = 'advisory' from pg_stat_activity where pid = %s", (pid,)
    ).fetchone()
    return bool(row and row[0])


def test_it_is_the_lock_that_other_programs_take(connect: Connect) -> None:
    lock, other = SeedLock(connect(), LOCK_KEY), connect()
    lock.acquire(Waits(0), ignore)
    assert other.execute("select pg_try_advisory_lock(1196576591)").fetchone() == (False,)
    assert other.execute("select classid, objid, objsubid from pg_locks where locktype = 'advisory'").fetchall() == [
        (0, 1196576591, 1)
    ]
    lock.release()
    assert other.execute("select pg_try_advisory_lock(1196576591)").fetchone() == (True,)


def test_a_waiter_goes_on_when_the_lock_is_freed(connect: Connect) -> None:
    holder, watcher = connect("holder"), connect()
    holder.execute("select pg_advisory_lock(1196576591)")
    lock, told = SeedLock(connect("waiter"), LOCK_KEY), list[Blocker | None]()
    waited: list[float] = []
    thread = threading.Thread(target=lambda: waited.append(lock.acquire(Waits(LIMIT_S), told.append)))
    thread.start()
    until(lambda: is_waiting(watcher, lock.connection.info.backend_pid))
    holder.execute("select pg_advisory_unlock(1196576591)")
    thread.join(LIMIT_S)
    assert waited
    assert waited[0] > 0
    assert [one.pid for one in told if one] == [holder.info.backend_pid]
    lock.release()


def test_the_holder_is_described(connect: Connect) -> None:
    connection = connect("nightly reset")
    connection.execute("select pg_advisory_lock(1196576591)")
    holder = SeedLock(connect(), LOCK_KEY).holder()
    assert holder is not None
    assert str(holder) == (
        f"pid {connection.info.backend_pid} (application 'nightly reset', user {connection.info.user},"
        f" client 127.0.0.1, state idle, connected {holder.connected})"
    )


def test_time_runs_out_with_the_holders_name(connect: Connect) -> None:
    connect("other").execute("select pg_advisory_lock(1196576591)")
    lock = SeedLock(connect(), LOCK_KEY)
    with pytest.raises(LockTimeout, match=r"within \d+\.\d s\.\nHeld by pid \d+ \(application 'other'"):
        lock.acquire(Waits(0.6), ignore)


def test_timeouts_of_the_role_do_not_cut_the_wait_or_end_the_holder(connect: Connect, pg_database: str) -> None:
    admin = connect()
    name = admin.info.dbname
    for setting in ("statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout", "lock_timeout"):
        admin.execute(f"alter database \"{name}\" set {setting} = '100ms'")
    holder, waiter = SeedLock(connect(), LOCK_KEY), SeedLock(connect(), LOCK_KEY)
    holder.acquire(Waits(0), ignore)
    with pytest.raises(LockTimeout):
        waiter.acquire(Waits(1.0), ignore)
    holder.release()
    waiter.acquire(Waits(0), ignore)
    waiter.release()


def test_a_lost_session_frees_the_lock_and_its_owner_is_told(connect: Connect) -> None:
    lost, next_one = SeedLock(connect(), LOCK_KEY), SeedLock(connect(), LOCK_KEY)
    lost.acquire(Waits(0), ignore)
    pid = lost.connection.info.backend_pid
    next_one.connection.execute("select pg_terminate_backend(%s)", (pid,))
    next_one.acquire(Waits(LIMIT_S), ignore)
    with pytest.raises(ChainFailed) as caught:
        lost.release()
    assert caught.value.what == "The seed advisory lock (key=1196576591) was lost before the work was done."


def test_releasing_what_is_not_held_is_an_error(connect: Connect) -> None:
    connection = connect()
    with pytest.raises(ChainFailed) as caught:
        SeedLock(connection, LOCK_KEY).release()
    assert str(caught.value) == (
        "The seed advisory lock (key=1196576591) was lost before the work was done.\n"
        "The server says that this session did not hold it. The work was committed before.\n"
        "Run this again; if a pooler stands in between, connect past it."
    )


def test_work_is_refused_once_the_lock_is_lost(connect: Connect) -> None:
    lock, work, other = SeedLock(connect("mine"), LOCK_KEY), connect(), connect("theirs")
    lock.acquire(Waits(0), ignore)
    lock.join_fence(work)
    lock.check(work)
    other.execute("select pg_terminate_backend(%s)", (lock.pid,))
    until(lambda: SeedLock(other, LOCK_KEY).holder() is None)
    with pytest.raises(ChainFailed) as caught:
        lock.check(work)
    assert str(caught.value) == (
        "The seed advisory lock (key=1196576591) was lost before the work was done.\n"
        "It is free now.\n"
        "Run this again; if a pooler stands in between, connect past it."
    )
    other.execute("select pg_advisory_lock(1196576591)")
    with pytest.raises(ChainFailed, match=r"It is held by pid \d+ \(application 'theirs'"):
        lock.check(work)


def test_a_new_holder_waits_for_the_work_of_the_one_before(connect: Connect) -> None:
    lost, work, watcher = SeedLock(connect(), LOCK_KEY), connect("still at work"), connect()
    lost.acquire(Waits(0), ignore)
    lost.join_fence(work)
    watcher.execute("select pg_terminate_backend(%s)", (lost.pid,))
    new = SeedLock(connect(), LOCK_KEY)
    new.acquire(Waits(LIMIT_S), ignore)
    with pytest.raises(LockTimeout) as caught:
        new.wait_for_fence(Waits(0.3), ignore)
    pid = work.info.backend_pid
    assert caught.value.what == (
        "A run that lost the seed advisory lock is still at work, and this one waits for it no longer."
    )
    assert caught.value.reason.startswith(f"Held by pid {pid} (application 'still at work'")
    assert caught.value.hint == (
        f"Wait longer with --lock-timeout SECONDS, or end that session: select pg_terminate_backend({pid});"
    )
    told: list[Blocker | None] = []
    thread = threading.Thread(target=new.wait_for_fence, args=(Waits(LIMIT_S), told.append))
    thread.start()
    until(lambda: is_waiting(watcher, new.pid))
    work.close()
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert [one.application for one in told if one] == ["still at work"]


def test_a_holder_can_build_an_index_concurrently_while_others_wait(connect: Connect) -> None:
    holder, work, watcher = SeedLock(connect(), LOCK_KEY), connect(), connect()
    work.execute("create table t (a int)")
    holder.acquire(Waits(0), ignore)
    waiter = SeedLock(connect(), LOCK_KEY)
    thread = threading.Thread(target=waiter.acquire, args=(Waits(LIMIT_S), ignore))
    thread.start()
    until(lambda: is_waiting(watcher, waiter.connection.info.backend_pid))
    # A waiter that blocked without end would hold a snapshot that this statement waits for: a hang that no deadlock
    # detector sees, because the lock's own session is idle.
    work.execute("set statement_timeout = '60s'")
    work.execute("create index concurrently on t (a)")
    holder.release()
    thread.join(LIMIT_S)
    assert not thread.is_alive()


def test_twenty_waiters_all_get_their_turn(connect: Connect) -> None:
    holder = SeedLock(connect(), LOCK_KEY)
    holder.acquire(Waits(0), ignore)
    turns: list[int] = []

    def take(lock: SeedLock) -> None:
        lock.acquire(Waits(LIMIT_S), ignore)
        turns.append(lock.connection.info.backend_pid)
        lock.release()

    locks = [SeedLock(connect(), LOCK_KEY) for _ in range(20)]
    threads = [threading.Thread(target=take, args=(lock,)) for lock in locks]
    for thread in threads:
        thread.start()
    watcher = connect()
    waiting = f"select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = {LOCK_KEY}"
    until(lambda: watcher.execute(waiting).fetchone() == (20,))
    holder.release()
    for thread in threads:
        thread.join(LIMIT_S)
    assert sorted(turns) == sorted(lock.connection.info.backend_pid for lock in locks)
