"""The proxy between clients and a real server: what it holds, what it passes on, and what it does with rubbish."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import struct
import sys
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest

from dbtools.db.dsn import Dsn
from dbtools.races.execution import wire
from dbtools.races.execution.pipeline import MAX_REPEATS
from dbtools.races.execution.proxy import Proxy
from dbtools.races.execution.session import Phase, Session
from dbtools.server.embedded import EmbeddedServer
from dbtools.server.requirements import Requirements
from tests.support.wire_client import (
    FLUSH,
    SYNC,
    TERMINATE,
    Wire,
    bind,
    close,
    describe,
    execute,
    message,
    parse,
    query,
    startup,
)

Body = Callable[["Stage"], Awaitable[None]]
ONE, TWO = "insert into t values (1)", "insert into t values (2)"


class Stage:
    """A proxy before a server. Requests are released as they come, or by the test if `holding`."""

    def __init__(self, url: str, port: int = 0, guard: int | None = None) -> None:
        dsn = Dsn.parse(url)
        self.direct = url
        self.proxy = Proxy("actor", dsn.host, port or int(dsn.port), self._session_changed, guard)
        self.holding, self.admitting = False, True
        self.held: list[str] = []
        """Every request that was held, in order."""
        self.phases: list[Phase] = []
        """Of all sessions, in order."""
        self._changed = asyncio.Event()
        self._clients: list[Wire] = []

    @property
    def url(self) -> str:
        return Dsn.parse(self.direct).through_proxy("127.0.0.1", self.proxy.port).url

    def _session_changed(self, session: Session) -> None:
        self._changed.set()
        self.phases.append(session.phase)
        if session.phase is Phase.CONNECTING:
            if self.admitting:
                session.admit()
        elif session.phase is Phase.HELD:
            self.held.append(session.sql)
            if not self.holding or not session.choice:
                session.release()

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not true():
                self._changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.01)

    async def is_held(self, number: int = 0) -> Session:
        await self.until(lambda: len(self.sessions) > number and self.sessions[number].phase is Phase.HELD)
        return self.sessions[number]

    async def is_asleep(self) -> None:
        """Wait until the first session is in the middle of pg_sleep: a cancel request before that would be lost."""
        with psycopg.connect(self.direct, autocommit=True) as connection:
            ask = "select wait_event = 'PgSleep' from pg_stat_activity where pid = %s"
            await self.until(lambda: connection.execute(ask, (self.sessions[0].pid,)).fetchone() == (True,))

    async def wire(self, version: int = 3 << 16) -> Wire:
        """A client that has logged in."""
        client = await self.open()
        await client.log_in(self.direct, version)
        return client

    async def open(self) -> Wire:
        """A client that has said nothing yet."""
        self._clients.append(await Wire.open(self.proxy.port))
        return self._clients[-1]

    async def close(self) -> None:
        for client in self._clients:
            client.close()
            with suppress(OSError):
                await client.writer.wait_closed()
        await self.proxy.close()

    @property
    def sessions(self) -> list[Session]:
        return self.proxy.sessions

    def choices(self) -> list[str]:
        return [sql for sql in self.held if not wire.is_trivial(sql)]


def run_stage(url: str, body: Body, *, port: int = 0, guard: int | None = None) -> None:
    """Run a test's body with a proxy; fail also on errors that asyncio only logs."""
    complaints: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        stage = Stage(url, port, guard)
        await stage.proxy.open()
        try:
            async with asyncio.timeout(120):
                await body(stage)
        finally:
            await stage.close()
        assert all(session.phase is Phase.CLOSED for session in stage.sessions)

    asyncio.run(run())
    assert complaints == []


@contextmanager
def table(url: str, definition: str = "t (n int)") -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create table {definition}")
        yield connection


def test_a_request_does_nothing_until_it_is_let_through(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        stage.holding = True
        client = await stage.wire()
        client.send(query("insert into t values (1)"))
        session = await stage.is_held()
        assert (session.name, session.sql, session.pid > 0) == ("actor", "insert into t values (1)", True)
        assert direct.execute("select count(*) from t").fetchone() == (0,)
        session.release()
        assert await client.kinds() == "CZ"
        assert (session.phase, session.tag, session.transaction, session.ended) == (Phase.IDLE, "INSERT 0 1", "I", 1)
        assert direct.execute("select count(*) from t").fetchone() == (1,)
        client.send(TERMINATE)
        await stage.until(lambda: session.phase is Phase.CLOSED)

    with table(pg_database) as direct:
        run_stage(pg_database, body)


def test_encryption_is_declined_and_then_all_goes_on(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.open()
        for code in (wire.SSL_REQUEST, wire.GSS_REQUEST):
            client.send(struct.pack("!II", 8, code))
            assert await client.reader.readexactly(1) == b"N"
        client.send(startup(pg_database))
        assert (await client.receive())[0] == b"R"
        client.close()
        connection = await psycopg.AsyncConnection.connect(stage.url, sslmode="prefer", gssencmode="prefer")
        await connection.close()
        with pytest.raises(psycopg.OperationalError, match="server does not support SSL"):
            await psycopg.AsyncConnection.connect(stage.url, sslmode="require")

    run_stage(pg_database, body)


def test_direct_tls_is_told_what_to_do(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.open()
        client.send(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03")
        ((kind, text),) = await client.until(b"E")
        assert kind == b"E"
        assert wire.fields(text)["M"] == "race proxy: the client begins with TLS; connect with sslmode=disable"

    run_stage(pg_database, body)


def test_protocol_3_2_and_its_long_keys() -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire(version=3 << 16 | 2)
        assert len(client.key) > 8
        client.send(query("select pg_backend_pid()"))
        found = dict(await client.until(b"Z"))
        assert int(found[b"D"][6:]) == stage.sessions[0].pid
        stage.holding = True
        client.send(query("select pg_sleep(600)"))
        (await stage.is_held()).release()
        await stage.is_asleep()
        cancel = await stage.open()
        cancel.send(struct.pack("!II", 8 + len(client.key), wire.CANCEL_REQUEST) + client.key)
        assert await client.kinds() == "TEZ"
        assert stage.sessions[0].error["C"] == "57014"

    with EmbeddedServer.start(Requirements(18)) as server:
        run_stage(server.url, body)


def test_a_driver_that_waits_for_the_answer_to_flush_is_not_stalled(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        stage.holding = True
        client = await stage.wire()
        client.send(parse("insert into t values (1)", "s"), describe("s"), FLUSH)
        (await stage.is_held()).release()
        assert await client.kinds(until=b"n") == "1tn"
        client.send(bind("", "s"), execute(), SYNC)
        assert await client.kinds() == "2CZ"
        client.send(bind("", "s"), execute(), SYNC)  # prepared before: named all the same
        assert (await stage.is_held()).sql == "insert into t values (1)"
        stage.sessions[0].release()
        assert await client.kinds() == "2CZ"
        assert stage.held == ["insert into t values (1)"] * 2

    with table(pg_database):
        run_stage(pg_database, body)


def test_every_sync_of_a_pipeline_is_a_step_of_its_own(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        stage.holding = True
        client = await stage.wire()
        for number in (1, 2, 3):
            client.send(parse(f"insert into t values ({number})"), bind(), execute(), SYNC)
        for number in (1, 2, 3):
            session = await stage.is_held()
            assert session.sql == f"insert into t values ({number})"
            assert direct.execute("select count(*) from t").fetchone() == (number - 1,)
            session.release()
            assert await client.kinds() == "12CZ"
        client.send(query("select 7 from t"), query("select 8 from t"))
        for number in (7, 8):
            session = await stage.is_held()
            assert session.sql == f"select {number} from t"
            session.release()
            assert await client.kinds() == "TDDDCZ"

    with table(pg_database) as direct:
        run_stage(pg_database, body)


def test_the_end_of_a_transaction_in_which_nothing_was_done_is_no_choice(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        stage.holding = True
        client = await stage.wire()
        for _ in range(2):
            for sql, kinds in (("begin", "CZ"), ("select version()", "TDCZ"), ("rollback", "CZ")):
                client.send(query(sql))
                assert await client.kinds() == kinds
            client.send(query("begin"))
            assert await client.kinds() == "CZ"
            for sql in ("insert into t values (1)", "rollback", "commit"):  # the last one outside of a transaction
                client.send(query(sql))
                session = await stage.is_held()
                assert session.sql == sql
                session.release()
                await client.kinds()

    with table(pg_database):
        run_stage(pg_database, body)


def test_the_statements_of_a_pipeline_are_held_one_by_one(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        stage.holding = True
        client = await stage.wire()
        client.send(parse("insert into t values (1)"), bind(), describe(), execute(), close())
        client.send(parse("insert into t values (2)", "two"), bind("b", "two"), execute("b"))
        client.send(bind("", "two"), execute(), parse(""), bind(), execute(), parse("select n from t", "all"), SYNC)
        session = await stage.is_held()
        for number, (sql, tag) in enumerate(zip([ONE, TWO, TWO], ["", "INSERT 0 1", "INSERT 0 1"], strict=True)):
            await stage.is_held()
            assert (session.sql, session.tag, session.ended) == (sql, tag, number)
            assert session.transaction == ("T" if number else "I")
            session.release()
        await stage.is_held()
        assert (session.sql, session.commands, session.ended) == ("select n from t", 0, 4)
        assert direct.execute("select count(*) from t").fetchone() == (0,)  # all is one transaction
        session.release()
        assert await client.kinds() == "12tnC3" + "12C" + "2C" + "12I" + "1Z"
        assert (session.transaction, session.ended) == ("I", 5)
        assert direct.execute("select count(*) from t").fetchone() == (3,)

    with table(pg_database) as direct:
        run_stage(pg_database, body)


def test_after_an_error_the_server_skips_the_rest_of_a_pipeline(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        client.send(*(one for sql in (ONE, TWO, ONE, TWO) for one in (parse(sql), bind(), execute())), FLUSH, SYNC)
        assert await client.kinds() == "12C12C12EZ"
        (session,) = stage.sessions
        assert (session.error["C"], session.ended, session.transaction) == ("23505", 3, "I")
        client.send(query("select n from t"))
        assert await client.kinds() == "TCZ"
        assert stage.held == [ONE, TWO, ONE, "select n from t"]
        client.send(parse("begin"), bind(), execute(), parse("select no"), bind(), execute(), query(ONE), SYNC)
        assert await client.kinds() == "12CEZ"
        assert (session.transaction, stage.held[4:]) == ("E", ["begin", "select no"])

    with table(pg_database, "t (n int primary key)"):
        run_stage(pg_database, body)


def test_what_the_client_ends_with_flush_is_over_and_sync_commits_it(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        stage.holding = True
        client = await stage.wire()
        client.send(parse("select generate_series(1, 3)"), bind("p"), execute("p", 2), FLUSH)
        session = await stage.is_held()
        session.release()
        assert await client.kinds(until=b"s") == "12DDs"
        assert (session.phase, session.transaction, session.ended) == (Phase.IDLE, "T", 1)
        client.send(execute("p", 2), describe("gone"), SYNC)
        (await stage.is_held()).release()
        assert await client.kinds() == "DCEZ"
        client.send(parse(ONE), bind(), execute(), FLUSH)
        (await stage.is_held()).release()
        assert await client.kinds(until=b"C") == "12C"
        client.send(FLUSH, SYNC)
        assert (await stage.is_held()).sql == "(sync)"
        assert direct.execute("select count(*) from t").fetchone() == (0,)
        session.release()
        assert await client.kinds() == "Z"
        assert direct.execute("select count(*) from t").fetchone() == (1,)
        client.send(parse("begin"), bind(), execute(), FLUSH, SYNC)  # now it is COMMIT that ends it
        assert await client.kinds() == "12CZ"
        client.send(parse("commit"), bind(), execute(), parse(ONE), bind(), execute(), parse(ONE), bind(), execute())
        client.send(parse("rollback and chain"), bind(), execute(), SYNC)
        for state in ("I", "T"):
            session = await stage.is_held()
            assert (session.sql, session.transaction) == (ONE, state)
            session.release()
        (await stage.is_held()).release()
        assert await client.kinds() == "12C12C12C12EZ"

    with table(pg_database) as direct:
        run_stage(pg_database, body)


def test_a_statement_in_the_middle_of_a_pipeline_is_cancelled_while_it_is_held(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        stage.holding = True
        client = await stage.wire()
        client.send(*(one for sql in (ONE, TWO, ONE) for one in (parse(sql), bind(), execute())), SYNC)
        (await stage.is_held()).release()
        await stage.until(lambda: stage.held == [ONE, TWO])
        cancel = await stage.open()
        cancel.send(struct.pack("!II", 16, wire.CANCEL_REQUEST) + client.key)
        assert await cancel.rest() == b""
        stage.sessions[0].release()
        assert await client.kinds() == "12CEZ"
        assert (stage.sessions[0].error["C"], stage.sessions[0].transaction) == ("57014", "I")
        client.send(query("select n from t"))
        (await stage.is_held()).release()
        assert await client.kinds() == "TCZ"

    with table(pg_database):
        run_stage(pg_database, body)


def test_a_pipeline_is_guarded_as_a_whole_and_goes_on_after_the_lock_was_refused(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        pipeline = [one for sql in ("set work_mem = '1MB'", ONE, TWO) for one in (parse(sql), bind(), execute())]
        client.send(query("set lock_timeout = 50"))
        assert await client.kinds() == "CZ"
        direct.execute("select pg_advisory_lock(7)")
        client.send(*pipeline, SYNC)
        assert await client.kinds() == "12CEZ"
        assert stage.sessions[0].error["C"] == "55P03"
        direct.execute("select pg_advisory_unlock(7)")
        stage.holding = True
        client.send(*pipeline, SYNC)
        for sql, free in ((ONE, True), (TWO, False)):
            session = await stage.is_held()
            assert session.sql == sql
            assert direct.execute("select pg_try_advisory_lock(7) and pg_advisory_unlock(7)").fetchone() == (free,)
            session.release()
        assert await client.kinds() == "12C12C12CZ"
        assert direct.execute("select pg_try_advisory_lock(7), count(*) from t").fetchone() == (True, 2)

    with table(pg_database) as direct:
        run_stage(pg_database, body, guard=7)


def test_sync_is_no_step_where_it_commits_nothing(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        client.send(query("begin"))
        assert await client.kinds() == "CZ"
        client.send(parse(ONE), bind(), execute(), FLUSH)
        assert await client.kinds(until=b"C") == "12C"
        client.send(SYNC, query("commit"))
        assert await client.kinds() == "Z"
        assert await client.kinds() == "CZ"
        assert stage.choices() == [ONE, "commit"]

    with table(pg_database):
        run_stage(pg_database, body)


def test_copy_and_many_repetitions_in_a_pipeline(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        client.send(parse(ONE), bind(), execute(), parse("copy t from stdin"), bind(), execute(), FLUSH)
        await client.until(b"G")
        client.send(copying(b"1\n", b"2\n"), parse(TWO, "two"), bind("", "two"), execute(), SYNC)
        assert await client.kinds() == "C12CZ"
        assert stage.held == [ONE, "copy t from stdin", TWO]
        del stage.held[:]
        client.send(*[bind("", "two"), execute()] * (MAX_REPEATS + 5), bind("", "two"), parse(ONE), bind(), execute())
        client.send(SYNC)
        assert await client.kinds() == "2C" * (MAX_REPEATS + 5) + "2" + "12CZ"
        assert stage.held == [TWO] * MAX_REPEATS + [ONE]
        assert (stage.sessions[0].ended, stage.sessions[0].commands) == (3 + MAX_REPEATS + 1, 1)
        del stage.held[:]
        different = [f"insert into t values ({number})" for number in range(MAX_REPEATS)]
        client.send(*(one for sql in (*different, different[-1]) for one in (parse(sql), bind(), execute())), SYNC)
        assert await client.kinds() == "12C" * (MAX_REPEATS + 1) + "Z"
        assert stage.held == [*different, different[-1]]

    with table(pg_database):
        run_stage(pg_database, body)


def test_what_follows_begin_in_one_batch_is_held(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        stage.holding = True
        client = await stage.wire()
        client.send(parse("begin"), bind(), execute(), parse("insert into t values (1)"), bind(), execute(), SYNC)
        session = await stage.is_held()
        assert (session.sql, session.ended) == ("insert into t values (1)", 1)
        session.release()
        assert await client.kinds() == "12C12CZ"
        assert (session.transaction, session.ended) == ("T", 2)
        client.send(query("commit"))
        (await stage.is_held()).release()
        assert await client.kinds() == "CZ"

    with table(pg_database):
        run_stage(pg_database, body)


def test_a_query_in_the_middle_of_a_batch_is_held(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        stage.holding = True
        client = await stage.wire()
        client.send(parse("select n from t", "s"), describe("s"), FLUSH)
        (await stage.is_held()).release()
        assert await client.kinds(until=b"T") == "1tT"
        client.send(query("insert into t values (5)"))
        session = await stage.is_held()
        assert session.sql == "insert into t values (5)"
        session.release()
        assert await client.kinds() == "CZ"

    with table(pg_database):
        run_stage(pg_database, body)


def test_a_pipeline_of_psycopg(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        async with await psycopg.AsyncConnection.connect(stage.url) as connection, connection.pipeline():
            await connection.execute("insert into t values (1)")
            await connection.execute("insert into t values (2)")
        assert direct.execute("select count(*) from t").fetchone() == (2,)

    with table(pg_database) as direct:
        run_stage(pg_database, body)


def test_an_error_is_written_down_with_its_constraint(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        client.send(parse("insert into t values (1)"), bind(), execute(), bind(), execute(), SYNC)
        assert await client.kinds() == "12C2EZ"
        error = stage.sessions[0].error
        assert (error["C"], error["n"]) == ("23505", "t_pkey")

    with table(pg_database, "t (n int primary key)"):
        run_stage(pg_database, body)


def copying(*rows: bytes, end: bytes = b"") -> bytes:
    return b"".join(message(b"d", row) for row in rows) + (end or message(b"c"))


def test_copy_in_is_one_step_however_it_is_sent(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        client.send(query("copy t from stdin"))
        await client.until(b"G")
        client.send(copying(b"1\n", b"2\n3\n"), query("select n from t"))  # the next request is not waited for
        assert await client.kinds() == "CZ"
        assert await client.kinds() == "TDDDCZ"
        client.send(parse("copy t from stdin"), bind(), execute(), SYNC)
        await client.until(b"G")
        client.send(copying(b"4\n"), SYNC)
        assert await client.kinds() == "CZ"
        client.send(query("copy t from stdin"))
        await client.until(b"G")
        client.send(copying(b"5\n", b"x\n", b"6\n"))  # the server says no while data is still on its way
        assert await client.kinds() == "EZ"
        client.send(parse("copy t from stdin"), bind(), execute(), SYNC)
        await client.until(b"G")
        client.send(copying(b"x\n", b"6\n"), SYNC)
        assert await client.kinds() == "EZ"
        client.send(query("copy t from stdin"))
        await client.until(b"G")
        client.send(copying(b"7\n", end=message(b"f", b"changed my mind\0")))
        assert await client.kinds() == "EZ"
        client.send(query("select count(*) from t"))
        assert await client.kinds() == "TDCZ"
        copies = "copy t from stdin"
        assert stage.choices() == [copies, "select n from t", copies, copies, copies, copies, "select count(*) from t"]
        assert direct.execute("select sum(n) from t").fetchone() == (10,)

    with table(pg_database) as direct:
        run_stage(pg_database, body)


def test_much_data_passes_in_little_memory(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        async with await psycopg.AsyncConnection.connect(stage.url, autocommit=True) as connection:
            cursor = connection.cursor()
            tracemalloc.start()
            async with cursor.copy("copy t from stdin") as copy:
                for _ in range(100):
                    await copy.write(row * 1000)
            async with cursor.copy("copy t to stdout") as copy:
                size = 0
                async for data in copy:
                    size += len(data)
            await connection.execute(f"select length('{'y' * 5_000_000}')")
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert size == 100 * 1000 * len(row)
            assert max(len(sql) for sql in stage.held) == wire.MAX_HEAD_BYTES
            # Of the 100 MB in and out, and the statement that psycopg itself holds some times over.
            assert peak < 50_000_000

    row = b"x" * 499 + b"\n"
    with table(pg_database, "t (text text)"):
        run_stage(pg_database, body)


def test_portals_and_cursors_are_fetched_in_steps(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        client.send(query("begin"))
        await client.kinds()
        client.send(parse("select generate_series(1, 5)"), bind("p"), execute("p", 2), SYNC)
        assert await client.kinds() == "12DDsZ"
        client.send(execute("p", 2), SYNC)
        assert await client.kinds() == "DDsZ"
        client.send(execute("p", 2), SYNC)
        assert await client.kinds() == "DCZ"
        assert stage.choices() == ["select generate_series(1, 5)"] * 3
        opened = await psycopg.AsyncConnection.connect(stage.url)
        async with opened as connection, connection.cursor("c") as cursor:
            await cursor.execute("select generate_series(1, 500)")
            assert len(await cursor.fetchall()) == 500

    run_stage(pg_database, body)


def test_a_notification_arrives_while_a_request_is_held(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        client.send(query("listen news"))
        await client.kinds()
        stage.holding = True
        client.send(query("select 1 from t"))
        session = await stage.is_held()
        direct.execute("notify news, 'now'")
        assert (await client.receive())[0] == b"A"
        assert session.phase is Phase.HELD
        session.release()
        assert await client.kinds() == "TCZ"

    with table(pg_database) as direct:
        run_stage(pg_database, body)


def test_a_statement_is_cancelled_through_the_proxy(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        client.send(query("select pg_sleep(600)"))
        await stage.until(lambda: stage.sessions and stage.sessions[0].phase is Phase.RUNNING)
        await stage.is_asleep()
        cancel = await stage.open()
        cancel.send(struct.pack("!II", 16, wire.CANCEL_REQUEST) + client.key)
        assert await cancel.rest() == b""
        assert await client.kinds() == "TEZ"
        assert len(stage.sessions) == 1

    run_stage(pg_database, body)


@pytest.mark.parametrize("when", [Phase.IDLE, Phase.HELD, Phase.RUNNING])
def test_a_session_that_the_server_ends(pg_database: str, pg_admin: str, when: Phase) -> None:
    async def body(stage: Stage) -> None:
        stage.holding = True
        client = await stage.wire()
        (session,) = stage.sessions
        if when is not Phase.IDLE:
            client.send(query("select pg_sleep(600)"))
            await stage.is_held()
        if when is Phase.RUNNING:
            session.release()
        with psycopg.connect(pg_admin, autocommit=True) as admin:
            admin.execute("select pg_terminate_backend(%s)", (session.pid,))
        await stage.until(lambda: session.phase is Phase.CLOSED)
        assert session.ended == (when is Phase.RUNNING)
        assert session.error["C"] == "57P01"
        assert b"57P01" in await client.rest()

    run_stage(pg_database, body)


def test_a_cancel_is_for_the_request_that_is_held_and_no_other(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        clients = [await stage.wire(), await stage.wire()]
        stage.holding = True
        for number, client in enumerate(clients):
            client.send(query(f"insert into t values ({number})"), query("select n from t"))
            await stage.is_held(number)
        cancel = await stage.open()
        cancel.send(struct.pack("!II", 16, wire.CANCEL_REQUEST) + clients[0].key)
        assert await cancel.rest() == b""
        assert [session.cancelled for session in stage.sessions] == [True, False]
        for session in stage.sessions:
            session.release()
        # What was sent behind it is the next request: it is held once the first has ended, and is not cancelled.
        for number in range(2):
            await stage.is_held(number)
        assert stage.phases.count(Phase.IDLE) == 4  # each when it had logged in, and then
        for session in stage.sessions:
            assert (session.sql, session.ended) == ("select n from t", 1)
            session.release()
        for client, kinds in zip(clients, ("EZ", "CZ"), strict=True):
            assert await client.kinds() == kinds
            assert await client.kinds() == "TDCZ"
        assert direct.execute("select n from t").fetchall() == [(1,)]

    with table(pg_database) as direct:
        run_stage(pg_database, body)


def test_what_follows_a_copy_that_failed_is_held(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        client.send(query("copy t from stdin"))
        await client.until(b"G")
        client.send(message(b"d", b"x\n"))  # and no end of it: the server has said no already
        assert await client.kinds() == "EZ"
        both = "insert into t values (1); insert into t values (2)"
        client.send(query(both))
        assert await client.kinds() == "CCZ"
        assert stage.choices() == ["copy t from stdin", both]
        assert stage.sessions[0].commands == 2
        client.send(parse("insert into t values (3)"), bind(), execute(), bind(), execute(), SYNC)
        assert await client.kinds() == "12C2CZ"
        assert stage.choices()[-2:] == ["insert into t values (3)"] * 2
        client.send(query("copy t from stdin"))
        await client.until(b"G")
        client.send(message(b"f", b"no\0"), query("select 2"))  # the next request is not waited for
        assert await client.kinds() == "EZ"
        assert await client.kinds() == "TDCZ"
        assert stage.choices()[-1] == "select 2"

    with table(pg_database):
        run_stage(pg_database, body)


def test_what_does_nothing_by_itself_is_not_held(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        client.send(SYNC)
        assert await client.kinds() == "Z"
        assert stage.held == []
        client.send(FLUSH, query("select 1"))
        assert await client.kinds() == "TDCZ"
        assert stage.held == ["select 1"]

    run_stage(pg_database, body)


def test_a_function_call_is_a_request(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        stage.holding = True
        call = message(b"F", struct.pack("!IHHI1sH", oid, 0, 1, 1, b"7", 0))
        client.send(call, query("select 2"))
        session = await stage.is_held()
        session.release()
        await asyncio.sleep(0.1)  # enough for a request that does not wait for the answer
        assert len(stage.held) == 1
        direct.execute("select pg_advisory_unlock(7)")
        await stage.until(lambda: len(stage.held) == 2)
        assert (session.sql, session.ended) == ("select 2", 1)
        session.release()
        assert await client.kinds() == "VZ"
        assert await client.kinds() == "TDCZ"

    with psycopg.connect(pg_database, autocommit=True) as direct:
        ((oid,),) = direct.execute("select 'pg_advisory_lock(bigint)'::regprocedure::oid::int").fetchall()
        direct.execute("select pg_advisory_lock(7)")
        run_stage(pg_database, body)


def test_what_a_client_has_sent_before_its_end_is_run(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        client.send(query("select from t"))
        await stage.until(lambda: stage.sessions[0].phase is Phase.RUNNING)
        client.send(query("insert into t values (1)"))
        client.writer.write_eof()
        await asyncio.sleep(0.1)  # enough for an end that is not waited for
        locker.rollback()
        await stage.until(lambda: stage.sessions[0].phase is Phase.CLOSED)
        assert direct.execute("select n from t").fetchall() == [(1,)]

    with table(pg_database) as direct, psycopg.connect(pg_database) as locker:
        locker.execute("lock table t")
        run_stage(pg_database, body)


def test_a_connection_that_breaks_while_its_request_is_held(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        stage.holding = True
        client.send(query("insert into t values (1)"))
        session = await stage.is_held()
        linger = struct.pack("ii", 1, 0)  # a reset in the place of an end
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        client.writer.transport.abort()
        await stage.until(lambda: session.phase is Phase.CLOSED)
        assert stage.phases[-3:] == [Phase.HELD, Phase.CLOSING, Phase.CLOSED]
        assert direct.execute("select count(*) from t").fetchone() == (0,)

    with table(pg_database) as direct:
        run_stage(pg_database, body)


def test_a_client_that_leaves_before_it_is_admitted(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        stage.admitting = False
        client = await stage.open()
        client.send(startup(pg_database))
        await stage.until(lambda: stage.sessions)
        assert stage.sessions[0].opening == startup(pg_database)
        client.close()
        await stage.until(lambda: stage.sessions[0].phase is Phase.CLOSED)

    run_stage(pg_database, body)


def test_the_end_of_the_proxy_is_that_of_its_connections(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        await asyncio.wait_for(stage.proxy.close(), 60)
        assert await client.rest() == b""

    run_stage(pg_database, body)


def test_a_request_has_ended_although_a_notification_comes_with_its_end(pg_database: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        told = message(b"A", struct.pack("!I", 1) + b"news\0\0")
        writer.write(message(b"R", struct.pack("!I", 0)) + message(b"Z", b"I") + told)
        await reader.read()
        writer.close()

    async def body(stage: Stage) -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        stage.proxy._address = server.sockets[0].getsockname()[:2]  # noqa: SLF001
        client = await stage.open()
        client.send(startup(pg_database))
        await client.until(b"A")
        assert stage.sessions[0].phase is Phase.IDLE
        server.close()

    run_stage(pg_database, body)


@pytest.mark.parametrize("when", ["idle", "held", "running", "blocked", "copying"])
def test_a_client_that_is_killed(pg_database: str, when: str) -> None:
    """What it had open is rolled back by the server, as without a proxy; what was held never reached it."""
    sql = {"held": "insert into t values (2)", "running": "select pg_sleep(600)", "blocked": "lock table other"}
    program = (
        "import psycopg, sys\n"
        "with psycopg.connect(sys.argv[1]) as c:\n"
        " c.execute('insert into t values (1)')\n"
        " print('ready', flush=True)\n"
        f" sql = {sql.get(when, '')!r}\n"
        " if sql: c.execute(sql)\n"
        " elif sys.argv[2] == 'copying': c.cursor().copy('copy t from stdin').__enter__().write(b'3\\n' * 9)\n"
        " sys.stdin.read()\n"
    )

    async def body(stage: Stage) -> None:
        stage.holding = when == "held"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            stage.url,
            when,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        if when == "held":
            (await stage.is_held()).release()
        assert await process.stdout.readline() == b"ready\n"
        (session,) = stage.sessions
        wanted = {"held": Phase.HELD, "idle": Phase.IDLE}.get(when, Phase.RUNNING)
        await stage.until(lambda: session.phase is wanted and (when == "idle" or len(stage.choices()) == 2))
        if when == "running":
            await stage.is_asleep()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        if when == "running":
            direct.execute("select pg_cancel_backend(%s)", (session.pid,))
        if when == "blocked":
            locker.execute("rollback")
        await stage.until(lambda: session.phase is Phase.CLOSED)
        assert direct.execute("select count(*) from t").fetchone() == (0,)

    with table(pg_database) as direct, psycopg.connect(pg_database) as locker:
        direct.execute("create table other ()")
        locker.execute("lock table other")
        run_stage(pg_database, body)


def test_connections_of_one_actor_have_names(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        clients = [await stage.wire() for _ in range(3)]
        assert [session.name for session in stage.sessions] == ["actor", "actor#2", "actor#3"]
        assert len({session.pid for session in stage.sessions}) == 3
        for client in clients:
            client.close()
        await stage.until(lambda: all(session.phase is Phase.CLOSED for session in stage.sessions))

    run_stage(pg_database, body)


def test_a_server_that_is_not_there_or_says_no(pg_database: str) -> None:
    async def nobody(stage: Stage) -> None:
        client = await stage.open()
        client.send(startup(pg_database))
        assert b"race proxy: the server cannot be reached: " in await client.rest()

    async def wrong(stage: Stage) -> None:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            await psycopg.AsyncConnection.connect(stage.url, password="wrong")
        assert stage.sessions[0].error["C"] == "28P01"

    run_stage(pg_database, nobody, port=1)
    run_stage(pg_database, wrong)


def test_a_server_that_crashes_in_the_middle() -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        client.send(query("select pg_sleep(600)"))
        await stage.until(lambda: stage.sessions[0].phase is Phase.RUNNING)
        os.kill(server.pid, signal.SIGQUIT)
        await stage.until(lambda: stage.sessions[0].phase is Phase.CLOSED)
        await client.rest()

    with EmbeddedServer.start() as server:
        run_stage(server.url, body)


SESSION = [
    query("select 1 + 1"),
    parse("select 2 + 2", "s"), bind("", "s"), execute(), SYNC,
    query("copy t from stdin"), message(b"d", b"1\n"), message(b"c"),
    query("select n from t"), TERMINATE,
]  # fmt: skip


def test_a_session_that_breaks_off_anywhere(pg_database: str) -> None:
    whole = b"".join(SESSION)

    async def body(stage: Stage) -> None:
        for cut in range(0, len(whole), 3):
            client = await stage.wire()
            client.send(whole[:cut])
            client.writer.write_eof()
            await client.rest()
            client.close()
        await stage.until(lambda: all(session.phase is Phase.CLOSED for session in stage.sessions))

    with table(pg_database):
        run_stage(pg_database, body)


def test_rubbish_is_refused_and_the_next_client_is_served(pg_database: str) -> None:
    chance = random.Random(7)  # noqa: S311

    def rubbish() -> bytes:
        junk = chance.randbytes(chance.randrange(1, 200))
        giant = chance.choice([b"Q", b"P", b"d", b"?"]) + struct.pack("!I", chance.choice([0, 3, 2**30, 2**32 - 1]))
        return chance.choice([junk, giant + junk, chance.choice(SESSION)[:-1] + junk, query("select 1") + junk])

    async def body(stage: Stage) -> None:
        for number in range(120):
            started = number % 3 > 0
            client = await (stage.wire() if started else stage.open())
            client.send(rubbish())
            with suppress(ConnectionError):
                client.writer.write_eof()
                answer = await client.rest()
                if b"race proxy" in answer:
                    assert b"C08P01\0" in answer
            client.close()
        async with await psycopg.AsyncConnection.connect(stage.url) as connection:
            assert await (await connection.execute("select 2 + 3")).fetchone() == (5,)
        await stage.until(lambda: all(session.phase is Phase.CLOSED for session in stage.sessions))

    run_stage(pg_database, body)


def test_both_directions_in_single_bytes(pg_database: str) -> None:
    async def body(stage: Stage) -> None:
        client = await stage.wire()
        for byte in b"".join(SESSION[:5]):
            client.send(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert await client.kinds() == "TDCZ"
        assert await client.kinds() == "12DCZ"
        assert stage.choices() == ["select 1 + 1", "select 2 + 2"]

    run_stage(pg_database, body)
