"""Who waits for whom, asked of a real server while sessions really wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from dbtools.db.deadlock import DeadlockWait
from dbtools.db.lock_probe import PREPARED, Probe
from dbtools.server.embedded import EmbeddedServer
from tests.support.waiting import until


class Lab:
    """Sessions on one database: statements are sent and not waited for."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self._url = url
        self._stack = stack
        self.probe = Probe(self.open())

    def open(self, name: str = "") -> psycopg.Connection:
        connection = psycopg.connect(self._url, autocommit=True, application_name=name)
        self._stack.callback(connection.close)  # leaving its `with` block would wait for its statement
        return connection

    def blocked(self, connection: psycopg.Connection, sql: str) -> int:
        """Send a statement, return its session's process id once the server says that somebody blocks it."""
        pid = connection.info.backend_pid
        connection.pgconn.send_query(sql.encode())
        until(lambda: self.probe.blockers([pid]), f"not blocked: {sql}")
        return pid


def pid(connection: psycopg.Connection) -> int:
    return connection.info.backend_pid


@pytest.fixture
def lab(pg_database: str) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(pg_database, stack)


def test_nobody_waits(lab: Lab) -> None:
    pids = [pid(lab.open()), pid(lab.open())]
    assert (lab.probe.blocked(pids), lab.probe.blockers(pids), lab.probe.stuck(pids, pids)) == ({}, {}, set())
    assert lab.probe.blocked([]) == {}


def test_one_question_names_every_blocker_of_every_session(lab: Lab) -> None:
    holder, second, third = lab.open(), lab.open(), lab.open()
    holder.execute("select pg_advisory_lock(1)")
    lab.blocked(second, "select pg_advisory_lock(1)")
    lab.blocked(third, "select pg_advisory_lock(1)")
    pids = [pid(holder), pid(second), pid(third)]
    # A queued request counts as well as a held lock.
    everyone = {pid(second): (pid(holder),), pid(third): tuple(sorted([pid(holder), pid(second)]))}
    assert lab.probe.blocked(pids) == lab.probe.blockers(pids) == everyone
    assert lab.probe.stuck(pids, pids) == {pid(second), pid(third)}
    holder.execute("select pg_advisory_unlock(1)")
    # The server passes the lock on before it answers, so there is nothing to wait for.
    assert lab.probe.blocked(pids) == {pid(third): (pid(second),)}


def test_an_outsider_blocks_nobody_of_the_test_and_is_named(lab: Lab) -> None:
    outsider, unnamed, waiter = lab.open("somebody's shell"), lab.open(), lab.open()
    outsider.execute("select pg_advisory_lock_shared(1)")
    unnamed.execute("select pg_advisory_lock_shared(1)")
    waiting = lab.blocked(waiter, "select pg_advisory_lock(1)")
    assert lab.probe.blocked([waiting]) == {}
    assert lab.probe.stuck([waiting], [waiting]) == set()
    outside = tuple(sorted([pid(outsider), pid(unnamed)]))
    assert lab.probe.blockers([waiting]) == {waiting: outside}
    gone = 2**22 + 1  # above the kernel's highest process id
    assert lab.probe.describe([*outside, gone]) == {
        pid(outsider): f"pid {pid(outsider)} (somebody's shell)",
        pid(unnamed): f"pid {pid(unnamed)} (no name)",
        gone: f"pid {gone} (gone)",
    }


def test_a_wait_for_a_safe_snapshot_is_a_wait(lab: Lab) -> None:
    writer, reader = lab.open(), lab.open()
    writer.execute("create table t (id int)")
    writer.execute("begin isolation level serializable")
    writer.execute("insert into t values (1)")
    reader.execute("begin isolation level serializable read only deferrable")
    waiting = lab.blocked(reader, "table t")
    assert lab.probe.blocked([waiting, pid(writer)]) == {waiting: (pid(writer),)}
    assert lab.probe.blocked([waiting]) == {}
    assert lab.probe.stuck([waiting], [waiting]) == {waiting}


def test_a_prepared_transaction_is_no_process() -> None:
    with EmbeddedServer.start(settings={"max_prepared_transactions": "2"}) as server, ExitStack() as stack:
        lab = Lab(server.url, stack)
        preparer, waiter = lab.open(), lab.open()
        preparer.execute("begin")
        preparer.execute("select pg_advisory_xact_lock(1)")
        preparer.execute("prepare transaction 'held'")
        waiting = lab.blocked(waiter, "select pg_advisory_lock(1)")
        assert lab.probe.blockers([waiting]) == {waiting: (PREPARED,)}
        assert lab.probe.blocked([waiting, pid(preparer)]) == {}
        assert lab.probe.describe([PREPARED]) == {PREPARED: "a prepared transaction"}


def test_the_lock_of_a_wait_that_is_over_is_named_as_it_was_during_the_wait(lab: Lab) -> None:
    def named(mode: str, lock: str) -> str:
        return lab.probe.deadlock_lock(DeadlockWait(1, mode, lock, 2))

    owner = lab.open()
    owner.execute("create table t (id int)")
    row = owner.execute("select 't'::regclass::oid, oid from pg_database where datname = current_database()").fetchone()
    assert row is not None
    table, database = row
    assert named("ShareLock", f"relation {table} of database {database}") == "ShareLock on t"
    assert named("ShareLock", f"relation {table} of database {database + 1}") == "ShareLock on a new table"
    assert named("ExclusiveLock", f"tuple (0,1) of relation {table} of database {database}") == "row of t"
    assert named("ExclusiveLock", f"tuple (0,1) of relation {table} of database 0") == "tuple"
    assert named("ShareLock", "relation 1214 of database 0") == "ShareLock on pg_shdepend"
    assert named("ShareLock", "transaction 738") == named("ShareLock", "virtual transaction 4/7") == "transaction"
    assert named("ExclusiveLock", f"extension of relation {table} of database {database}") == "extend"
    assert named("AccessExclusiveLock", "object 1 of class 2 of database 3") == "object"
    assert named("ExclusiveLock", f"advisory lock [{database},4294967295,4294967289,1]") == "advisory lock -7"
    assert named("ExclusiveLock", f"advisory lock [{database},1,4294967295,2]") == "advisory lock (1, -1)"
