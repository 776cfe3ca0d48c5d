"""A peer that lets connect, or log in, and then says nothing: everything ends, with a true word.

No clock decides here. What would wait for ever fails by the limit of every test.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from dbtools import chain
from dbtools.chain.phase import COMMIT_UNKNOWN, NOT_COMMITTED
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.target import Target, Waits
from dbtools.checks import doctor, reading
from dbtools.config import LOCK_KEY
from dbtools.db import watch
from dbtools.db.connect import connect, lost, open_session
from dbtools.db.digest import digest
from dbtools.db.dsn import Dsn
from dbtools.db.wait import wait_for_db
from dbtools.errors import UNCHANGED, ChainFailed, DatabaseUnreachable, LockTimeout
from tests.support.relay import Mute, SilentPeer
from tests.support.runs import GATE, PASS_GATE, PLAN, Log, Runner, closed_gate, content, query, seed, waits_at_gate
from tests.support.sources import sql_source
from tests.support.toy import TABLES, ToyShop
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(120)

SILENT = "the server fell silent, and does not answer a new session either: "
NO_ANSWER = "the server let us in, and gave no answer in"
FORGOTTEN = "no answer came, and the server does not know this session any more"
LOST_ON_THE_WAY = "no answer came, and the server waits for this session: what was sent is lost on the way"
VERSIONED = f"{TABLES}; create table alembic_version (version_num text); insert into alembic_version values ('0001')"
AGAIN = "The connection to the server broke; once it is back, run this again."


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doubt early. How long a question may take decides nothing here: a silent peer answers none."""
    monkeypatch.setattr(watch, "PATIENCE_S", 0.1)
    monkeypatch.setattr(watch, "PROBE_S", 2.0)


@pytest.fixture
def target(pg_database: str) -> Target:
    return Target(Dsn.parse(pg_database), LOCK_KEY)


@pytest.fixture
def silent(pg_database: str) -> Iterator[Target]:
    """A server that falls silent after every login."""
    with SilentPeer(pg_database) as peer:
        yield Target(peer.dsn, LOCK_KEY)


def mute_dsn(peer: Mute) -> Dsn:
    hosts = ",".join("127.0.0.1" for _ in peer.ports)
    return Dsn.parse(f"postgresql://app@/app?host={hosts}&port={','.join(map(str, peer.ports))}")


def run_migrate(target: Target, folder: Path) -> None:
    chain.migrate(target, sql_source(folder / "history", TABLES).upgrade, Log())


def run_doctor(target: Target, folder: Path) -> None:
    list(doctor.examine(target, sql_source(folder / "history", TABLES), ToyShop(), {}))


def run_digest(target: Target, folder: Path) -> None:
    with open_session(target.dsn, "digest") as connection:
        digest(connection)


def run_reset(target: Target, folder: Path) -> None:
    Runner(target, folder)()


def run_in_place(target: Target, folder: Path) -> None:
    Runner(target, folder)(in_place=True)


ACTIONS = [run_reset, run_in_place, seed, run_migrate, run_doctor, run_digest]
NAMES = ["reset", "in-place", "seed", "migrate", "doctor", "digest"]


@pytest.mark.parametrize("hosts", [1, 4])
@pytest.mark.parametrize("timeout", [0.0, 3.0])
def test_waiting_for_ports_that_say_nothing_ends_with_the_time(hosts: int, timeout: float) -> None:
    with Mute(hosts) as peer, pytest.raises(DatabaseUnreachable, match=r"\(1 tries in [1-9]") as caught:
        wait_for_db(mute_dsn(peer), timeout=timeout)
    assert "connection timeout expired" in caught.value.why
    assert caught.value.hint == "Start the server, or wait longer with --timeout SECONDS."


def test_a_list_of_silent_hosts_takes_the_time_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with Mute(4) as peer, pytest.raises(psycopg.errors.ConnectionTimeout, match=r"no answer in 3\.0 s"):
        connect(mute_dsn(peer), "test", autocommit=True, timeout=3.0)


def test_a_host_that_answers_is_found_behind_a_silent_one(pg_database: str) -> None:
    there = Dsn.parse(pg_database)
    with Mute() as peer:
        listed = f"host=127.0.0.1,{there.host}&port={peer.ports[0]},{there.port}"
        dsn = Dsn.parse(f"postgresql://{there.user}:{there.password}@/{there.dbname}?{listed}")
        with connect(dsn, "test", autocommit=True, timeout=30.0) as connection:
            assert str(connection.info.port) == there.port


def test_a_name_that_is_looked_up_for_ever_takes_no_longer(monkeypatch: pytest.MonkeyPatch, pg_database: str) -> None:
    looked_up: list[socket.socket] = []
    near, far = socket.socketpair()

    def hang(*arguments: object, **options: object) -> object:
        looked_up.append(near)
        return near.recv(1)

    with near, far, monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", hang)
        with pytest.raises(DatabaseUnreachable, match=r"no answer in 1\.0 s"):
            open_session(Dsn.parse("postgresql://app@some-name/app"), "test", timeout=1.0)
        far.sendall(b"x")
    assert looked_up


def test_waiting_for_one_that_lets_log_in_ends_with_the_time(silent: Target) -> None:
    notes: list[str] = []
    with pytest.raises(DatabaseUnreachable, match=r"tries? in") as caught:
        wait_for_db(silent.dsn, timeout=2.0, note=notes.append)
    assert NO_ANSWER in caught.value.why


@pytest.mark.parametrize("act", ACTIONS, ids=NAMES)
def test_nothing_waits_for_one_that_lets_log_in(
    silent: Target, tmp_path: Path, act: Callable[[Target, Path], object]
) -> None:
    with pytest.raises((ChainFailed, DatabaseUnreachable, psycopg.OperationalError)) as caught:
        act(silent, tmp_path)
    assert NO_ANSWER in str(caught.value)
    if isinstance(caught.value, ChainFailed):
        assert (caught.value.state, caught.value.hint) == (UNCHANGED, AGAIN)
    else:
        assert lost(caught.value) is not None


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("word", [b"CREATE TABLE", b"COPY", b"ADD CONSTRAINT"])
def test_silence_during_the_work_leaves_the_old_database(
    target: Target, tmp_path: Path, in_place: bool, word: bytes
) -> None:
    run = Runner(target, tmp_path)
    run()
    before = content(target)
    with SilentPeer(target.dsn.url, word) as peer, pytest.raises(ChainFailed) as caught:
        run(dsn=peer.dsn, in_place=in_place)
    assert SILENT in caught.value.why
    assert (caught.value.state, caught.value.hint) == (NOT_COMMITTED, AGAIN)
    assert content(target) == before


@pytest.mark.parametrize("hears", [False, True])
def test_silence_at_the_commit_is_not_known(target: Target, tmp_path: Path, hears: bool) -> None:
    run = Runner(target, tmp_path)
    marked = f"{TABLES}; create table marks as select 'new' as mark"
    run(marked)  # a build commits too
    run()
    with SilentPeer(target.dsn.url, b"COMMIT", hears=hears) as peer, pytest.raises(ChainFailed) as caught:
        run(marked, dsn=peer.dsn)
    assert SILENT in caught.value.why
    assert caught.value.state == COMMIT_UNKNOWN
    if hears:
        assert query(target, "select mark from marks") == [("new",)]


def test_what_is_lost_on_the_way_is_found_out(target: Target, tmp_path: Path) -> None:
    """The server is well and answers others; only what one session says does not arrive."""
    run = Runner(target, tmp_path)
    run()
    with SilentPeer(target.dsn.url, b"CREATE TABLE", first=True) as peer, pytest.raises(ChainFailed) as caught:
        run(dsn=peer.dsn)
    assert LOST_ON_THE_WAY in caught.value.why
    assert caught.value.state == NOT_COMMITTED


def test_a_session_that_the_server_has_ended_is_found_out(target: Target, tmp_path: Path) -> None:
    """What stands between keeps the connection open, and says nothing of the end."""
    run = Runner(target, tmp_path)
    ending = (
        "create materialized view ending as select pg_terminate_backend(pg_backend_pid()) from pg_locks"
        f" where locktype = 'advisory' and objid = {GATE} and granted limit 1"
    )
    run(TABLES, ending)
    peer = SilentPeer(target.dsn.url, b"refresh materialized view", first=True, hears=True)
    with closed_gate(target), peer, pytest.raises(ChainFailed) as caught:
        run(TABLES, ending, dsn=peer.dsn)
    assert FORGOTTEN in caught.value.why
    assert caught.value.state == NOT_COMMITTED


def test_a_server_at_work_is_left_to_work(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions are asked while a statement waits for a lock; it goes on when the lock is free."""
    monkeypatch.setattr(watch, "PROBE_S", 60.0)
    asked: list[str] = []
    ask = watch.doubt

    def counted(*arguments: object, **options: object) -> str:
        asked.append(ask(*arguments, **options))  # type: ignore[arg-type]
        return asked[-1]

    monkeypatch.setattr(watch, "doubt", counted)
    source = sql_source(tmp_path / "history", TABLES, PASS_GATE)
    with generate_in_background(ToyShop(), PLAN) as rows:
        work = threading.Thread(target=chain.reset, args=(target, source, rows, Log()))
        with closed_gate(target):
            work.start()
            until(lambda: waits_at_gate(target) and asked.count("") > watch.DOUBTS)
        work.join()
    assert query(target, "select count(*) from shops") == [(3,)]


@pytest.fixture
def locked(target: Target, tmp_path: Path) -> Iterator[psycopg.Connection]:
    """A session that has locked the tables and does nothing."""
    Runner(target, tmp_path)(VERSIONED)
    with psycopg.connect(target.dsn.url, application_name="idler") as idler:
        idler.execute("lock table shops, alembic_version")
        yield idler
        idler.rollback()


def test_a_digest_does_not_wait_for_ever_for_a_locked_table(target: Target, locked: psycopg.Connection) -> None:
    with open_session(target.dsn, "digest") as connection, pytest.raises(LockTimeout) as caught:
        digest(connection, lock_timeout=0.1)
    assert caught.value.what == 'The digest of schema public cannot be taken: "public"."shops" is locked.'
    assert f"pid {locked.info.backend_pid} (application 'idler'" in caught.value.why
    assert f"select pg_terminate_backend({locked.info.backend_pid});" in caught.value.hint


def test_doctor_does_not_wait_for_ever_for_a_locked_table(
    target: Target, locked: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LOCK_WAIT_S", 1)
    source = sql_source(tmp_path / "history", VERSIONED)

    def findings() -> list[str]:
        return [str(found) for found in doctor.examine(target, source, ToyShop(), {})]

    assert findings()[-1] == "· migrations: cannot be read: another session has locked the table of revisions"
    locked.rollback()
    locked.execute("lock table items")
    assert findings()[-1] == (
        "· prices are positive: cannot be checked: another session has locked a table that it reads"
    )


def test_known_users_do_not_wait_for_ever_for_a_row_of_others(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Waits, "statement", 0.1)
    Runner(target, tmp_path)()
    with psycopg.connect(target.dsn.url) as writer:
        writer.execute("insert into shops (id, name) values (9000, 'theirs')")
        with pytest.raises(ChainFailed, match="lock timeout"):
            seed(target, tmp_path, replace(PLAN, known_users_only=True))
