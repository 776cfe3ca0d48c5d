"""The seed lock between real sessions: exclusion, waiting, who holds it, and how it ends."""

from __future__ import annotations

import os
import socket
import threading

import psycopg
import pytest

from dbtools.chain.lock import FENCE, SeedLock, TransactionLock
from dbtools.chain.target import Waits
from dbtools.config import LOCK_KEY
from dbtools.db.blockers import Blocker
from dbtools.errors import ChainFailed, LockTimeout
from dbtools.server import Server
from tests.support.sessions import TIMEOUTS, Connect, advisory_locks, freed_at_last, is_waiting, shown
from tests.support.waiting import LIMIT_S, until


def ignore(holder: Blocker | None) -> None:
    """A waiter that says nothing."""


def join_fence(work: psycopg.Connection) -> None:
    """Put a session behind the fence, as the sessions of a project's programs are."""
    work.execute("select pg_advisory_lock_shared(%s)", (FENCE | LOCK_KEY,))


def test_it_is_the_lock_that_other_programs_take(connect: Connect) -> None:
    lock, other = SeedLock(connect(), LOCK_KEY), connect()
    lock.acquire(Waits(0), ignore)
    assert other.execute("select pg_try_advisory_lock(1196576591)").fetchone() == (False,)
    held = other.execute(
        "select classid, objid, objsubid from pg_locks where locktype = 'advisory' and database ="
        " (select oid from pg_database where datname = current_database())"
    )
    assert held.fetchall() == [(0, 1196576591, 1)]
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
    assert caught.value.what == "The seed advisory lock (key=1196576591) was lost before it was released."


def test_releasing_what_is_not_held_is_an_error(connect: Connect) -> None:
    connection = connect()
    with pytest.raises(ChainFailed) as caught:
        SeedLock(connection, LOCK_KEY).release()
    assert str(caught.value) == (
        "The seed advisory lock (key=1196576591) was lost before it was released.\n"
        "The server says that this session did not hold it. The work was committed before.\n"
        "Run this again; if a pooler stands in between, connect past it."
    )


def test_work_is_refused_once_the_lock_is_lost(connect: Connect) -> None:
    lock, work, other = SeedLock(connect("mine"), LOCK_KEY), connect(), connect("theirs")
    lock.acquire(Waits(0), ignore)
    join_fence(work)
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
    join_fence(work)
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


def test_each_form_refuses_the_other_ones_connection(connect: Connect) -> None:
    with pytest.raises(AssertionError):
        SeedLock(connect(autocommit=False), LOCK_KEY)
    with pytest.raises(AssertionError):
        TransactionLock(connect(), LOCK_KEY)


def test_the_transaction_form_excludes_the_session_form_and_ends_with_its_transaction(connect: Connect) -> None:
    session, transaction = SeedLock(connect(), LOCK_KEY), TransactionLock(connect(autocommit=False), LOCK_KEY)
    assert transaction.acquire(Waits(0), ignore) == 0.0
    with freed_at_last(transaction.connection), pytest.raises(LockTimeout):
        session.acquire(Waits(0), ignore)
    transaction.connection.commit()
    session.acquire(Waits(0), ignore)
    with freed_at_last(session.connection), pytest.raises(LockTimeout):
        transaction.acquire(Waits(0), ignore)


def test_a_waiting_transaction_goes_on_when_the_lock_is_freed(connect: Connect) -> None:
    holder, watcher = connect("holder"), connect()
    holder.execute("select pg_advisory_lock(1196576591)")
    lock = TransactionLock(connect("waiter", autocommit=False), LOCK_KEY)
    waited: list[float] = []
    thread = threading.Thread(target=lambda: waited.append(lock.acquire(Waits(LIMIT_S), ignore)))
    thread.start()
    until(lambda: is_waiting(watcher, lock.connection.info.backend_pid))
    holder.execute("select pg_advisory_unlock(1196576591)")
    thread.join(LIMIT_S)
    assert waited
    assert advisory_locks(watcher, lock.connection.info.backend_pid) == [(0, LOCK_KEY, "ExclusiveLock")]
    assert shown(lock.connection, "lock_timeout") == ["0"]
    lock.connection.commit()
    assert shown(lock.connection, "lock_timeout") == ["0"]


def test_a_waiting_transaction_is_open_only_while_it_tries(connect: Connect) -> None:
    holder = connect("holder")
    holder.execute("select pg_advisory_lock(1196576591)")
    lock = TransactionLock(connect(autocommit=False), LOCK_KEY)
    states: list[tuple[int, psycopg.pq.TransactionStatus]] = []

    def tell(blocker: Blocker | None) -> None:
        assert blocker is not None
        states.append((blocker.pid, lock.connection.info.transaction_status))
        if len(states) == 3:
            holder.execute("select pg_advisory_unlock(1196576591)")

    with freed_at_last(holder):
        lock.acquire(Waits(LIMIT_S, first_try=0.01, longest_try=0.01, reminder=0.0), tell)
    assert len(states) >= 3
    assert set(states) == {(holder.info.backend_pid, psycopg.pq.TransactionStatus.IDLE)}


@pytest.mark.parametrize("form", [SeedLock, TransactionLock])
def test_the_shortest_slices_end_too(connect: Connect, form: type[SeedLock | TransactionLock]) -> None:
    holder = connect("holder")
    holder.execute("select pg_advisory_lock(1196576591)")
    lock = form(connect(autocommit=form is SeedLock), LOCK_KEY)
    with freed_at_last(holder), pytest.raises(LockTimeout):
        lock.acquire(Waits(0.1, first_try=0.0001, longest_try=0.0001), ignore)


def test_a_slice_is_as_long_as_it_was_asked_to_be(connect: Connect) -> None:
    holder, seen = connect("holder"), list[object]()
    holder.execute("select pg_advisory_lock(1196576591)")
    lock = SeedLock(connect(), LOCK_KEY)

    def tell(blocker: Blocker | None) -> None:
        seen.extend(shown(lock.connection, "lock_timeout"))
        if len(seen) == 2:
            holder.execute("select pg_advisory_unlock(1196576591)")

    with freed_at_last(holder):
        lock.acquire(Waits(60.0, first_try=0.02, longest_try=0.02, reminder=0.0), tell)
    assert seen[:2] == ["0", "20ms"]


def test_the_transaction_form_disables_timeouts_for_its_transaction_only(connect: Connect) -> None:
    admin = connect()
    for setting in TIMEOUTS:
        admin.execute(f"alter database \"{admin.info.dbname}\" set {setting} = '1h'")
    for setting, value in (("isolation", "serializable"), ("read_only", "on"), ("deferrable", "on")):
        admin.execute(f"alter database \"{admin.info.dbname}\" set default_transaction_{setting} = '{value}'")
    lock = TransactionLock(connect(autocommit=False), LOCK_KEY)
    lock.acquire(Waits(0), ignore)
    assert shown(lock.connection, *TIMEOUTS) == ["0"] * 4
    assert shown(lock.connection, "tcp_keepalives_idle", "client_connection_check_interval") == ["4", "3s"]
    assert shown(lock.connection, "transaction_isolation", "transaction_read_only") == ["read committed", "off"]
    lock.connection.commit()  # a rollback would undo settings of the session, too
    assert shown(lock.connection, *TIMEOUTS) == ["1h"] * 4


def test_the_session_form_disables_timeouts_for_good(connect: Connect) -> None:
    admin = connect()
    for setting in TIMEOUTS:
        admin.execute(f"alter database \"{admin.info.dbname}\" set {setting} = '1h'")
    lock = SeedLock(connect(), LOCK_KEY)
    assert shown(lock.connection, *TIMEOUTS[:3], "client_connection_check_interval") == ["0", "0", "0", "3s"]


def test_a_session_that_only_waits_for_the_lock_does_not_hold_it(connect: Connect) -> None:
    holder, lock, work = connect("holder"), SeedLock(connect(), LOCK_KEY), connect()
    holder.execute("select pg_advisory_lock(1196576591)")
    thread = threading.Thread(target=lock.acquire, args=(Waits(LIMIT_S, first_try=LIMIT_S), ignore))
    thread.start()
    until(lambda: is_waiting(work, lock.pid))
    with pytest.raises(ChainFailed, match=rf"It is held by pid {holder.info.backend_pid} "):
        lock.check(work)
    holder.close()
    thread.join(LIMIT_S)
    lock.check(work)


def test_the_same_key_elsewhere_or_in_another_form_is_another_lock(connect: Connect, pg_server: Server) -> None:
    elsewhere = connect(url=pg_server.url)
    elsewhere.execute("select pg_advisory_lock(1196576591)")
    connect().execute("select pg_advisory_lock(0, 1196576591)")
    lock, work = SeedLock(connect(), LOCK_KEY), connect()
    assert lock.holder() is None
    lock.acquire(Waits(0), ignore)
    assert lock.holder() is not None
    lock.release()
    with pytest.raises(ChainFailed, match="It is free now"):
        lock.check(work)


def test_the_fence_lets_the_sessions_of_one_run_in_together(connect: Connect) -> None:
    lock, works = SeedLock(connect(), LOCK_KEY), [connect(), connect()]
    lock.acquire(Waits(0), ignore)
    lock.wait_for_fence(Waits(0), ignore)
    for work in works:
        work.execute("set lock_timeout = '10s'")
        join_fence(work)
        held = advisory_locks(work, work.info.backend_pid)
        assert held == [(0x46454E43, LOCK_KEY, "ShareLock")]
    assert advisory_locks(works[0], lock.pid) == [(0, LOCK_KEY, "ExclusiveLock")]


def test_the_transaction_form_waits_for_earlier_work_too_and_keeps_the_lock_meanwhile(connect: Connect) -> None:
    lost, work, watcher = SeedLock(connect(), LOCK_KEY), connect("still at work"), connect()
    lost.acquire(Waits(0), ignore)
    join_fence(work)
    watcher.execute("select pg_terminate_backend(%s)", (lost.pid,))
    lock = TransactionLock(connect(autocommit=False), LOCK_KEY)
    lock.acquire(Waits(LIMIT_S), ignore)
    pid = lock.connection.info.backend_pid
    held: list[list[tuple[object, ...]]] = []

    def tell(blocker: Blocker | None) -> None:
        assert blocker is not None
        assert blocker.application == "still at work"
        held.append(advisory_locks(watcher, pid))
        if len(held) == 3:
            work.close()

    with freed_at_last(work):
        lock.wait_for_fence(Waits(LIMIT_S, first_try=0.01, longest_try=0.01, reminder=0.0), tell)
    mine = (0, LOCK_KEY, "ExclusiveLock")
    assert held == [[mine]] * 3
    assert advisory_locks(watcher, pid) == [mine, (FENCE >> 32, LOCK_KEY, "ExclusiveLock")]
    assert shown(lock.connection, "lock_timeout") == ["0"]


@pytest.mark.parametrize("form", [SeedLock, TransactionLock])
def test_a_deadlock_over_the_fence_is_a_failed_try(
    connect: Connect, pg_admin: str, form: type[SeedLock | TransactionLock]
) -> None:
    """Work behind the fence that waits for the seed lock itself, as a migration might."""
    work, watcher = connect("work", url=pg_admin), connect(url=pg_admin)
    work.execute("set deadlock_timeout = '1h'")
    work.execute("select pg_advisory_lock_shared(%s)", (FENCE | LOCK_KEY,))
    lock = form(connect(autocommit=form is SeedLock, url=pg_admin), LOCK_KEY)
    lock.connection.execute("set deadlock_timeout = '10ms'")
    if form is TransactionLock:
        lock.connection.commit()
    lock.acquire(Waits(0), ignore)
    waiting = threading.Thread(target=work.execute, args=("select pg_advisory_lock(1196576591)",))
    waiting.start()
    until(lambda: is_waiting(watcher, work.info.backend_pid))
    with pytest.raises(LockTimeout, match="still at work"):
        lock.wait_for_fence(Waits(0.5, first_try=0.2), ignore)
    lock.connection.close()
    waiting.join(LIMIT_S)


def test_a_release_through_a_connection_that_broke_names_what_was_seen_of_it(connect: Connect) -> None:
    lock = SeedLock(connect(), LOCK_KEY)
    lock.acquire(Waits(0), ignore)
    with socket.socket(fileno=os.dup(lock.connection.fileno())) as link:
        link.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ChainFailed) as caught:
        lock.release()
    assert caught.value.reason == (
        "The lock's session is gone: consuming input failed: server closed the connection unexpectedly This probably"
        " means the server terminated abnormally before or while processing the request. The work was committed before."
    )
