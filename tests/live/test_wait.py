"""Waiting for a real server, and giving up at once where waiting cannot help."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from dbtools.db import wait
from dbtools.db.connect import connect, open_session
from dbtools.db.dsn import Dsn
from dbtools.db.sql import quote
from dbtools.db.wait import wait_for_db
from dbtools.errors import DatabaseUnreachable
from dbtools.server import Server
from dbtools.server.embedded import EmbeddedServer
from tests.live.test_refusals import Forwarder
from tests.support.clock import Clock

PASSWORD = "hunter22"


def changed(url: str, **parts: str) -> Dsn:
    """Return the URL with another user, password, port or database."""
    split = urlsplit(url)
    new = {
        "user": split.username,
        "password": split.password,
        "host": split.hostname,
        "port": str(split.port),
        "database": split.path[1:],
    } | parts
    return Dsn.parse(f"postgresql://{new['user']}:{new['password']}@{new['host']}:{new['port']}/{new['database']}")


@pytest.fixture
def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def web_server() -> Iterator[int]:
    """Something that answers in another language."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(100)
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(wait, "YOUNG_S", 1e9)
    clock = Clock()
    clock.put_into(wait, monkeypatch)
    return clock


def test_a_server_that_answers_is_asked_twice_and_named(pg_server: Server, pg_database: str, clock: Clock) -> None:
    notes: list[str] = []
    assert wait_for_db(Dsn.parse(pg_database), timeout=5, note=notes.append).partition(" ")[0] == pg_server.version
    assert notes == []
    assert clock.pauses == [wait.SECOND_QUERY_S]


def test_a_server_that_is_not_young_is_asked_once(
    pg_database: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wait, "YOUNG_S", 0)
    wait_for_db(Dsn.parse(pg_database), timeout=5)
    assert clock.pauses == []


@pytest.mark.parametrize(
    ("part", "value", "reason"),
    [
        ("password", PASSWORD, "password authentication failed for user"),
        ("user", "nobody_we_know", 'password authentication failed for user "nobody_we_know"'),
        ("database", "no_such_database", 'database "no_such_database" does not exist'),
    ],
)
def test_what_time_cannot_heal_ends_the_wait_at_once(pg_database: str, part: str, value: str, reason: str) -> None:
    notes: list[str] = []
    with pytest.raises(DatabaseUnreachable) as caught:
        wait_for_db(changed(pg_database, **{part: value}), timeout=60, note=notes.append)
    assert reason in caught.value.reason
    assert " tries in " not in caught.value.what
    assert notes == []
    assert PASSWORD not in str(caught.value)


def test_something_else_on_the_port_ends_the_wait_at_once(pg_database: str, web_server: int) -> None:
    with pytest.raises(DatabaseUnreachable) as caught:
        wait_for_db(changed(pg_database, port=str(web_server)), timeout=60)
    assert caught.value.hint == "Something else listens there; correct host or port in DATABASE_URL."


def test_a_port_where_nobody_listens_is_waited_for(pg_database: str, free_port: int, clock: Clock) -> None:
    notes: list[str] = []
    dsn = changed(pg_database, port=str(free_port))
    with pytest.raises(DatabaseUnreachable, match=r"\(\d+ tries in 0\.\d s\)") as caught:
        wait_for_db(dsn, timeout=0.5, note=notes.append)
    assert int(caught.value.what.partition("(")[2].partition(" ")[0]) > 1
    assert "Connection refused" in caught.value.reason
    assert len(notes) == 1
    assert notes[0].startswith(f"Waiting for {dsn.target}: ")


def test_a_name_may_come_late(pg_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve, notes, missing = socket.getaddrinfo, list[str](), [1, 2]

    def late(host: str, *arguments: object, **options: object) -> object:
        if host == "db" and missing:
            missing.pop()
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve("127.0.0.1" if host == "db" else host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", late)
    wait_for_db(changed(pg_database, host="db"), timeout=60, note=notes.append)
    assert missing == []
    assert len(notes) == 1
    assert "Name or service not known" in notes[0]


def test_a_name_that_never_comes_is_named(pg_database: str) -> None:
    with pytest.raises(DatabaseUnreachable) as caught:
        wait_for_db(changed(pg_database, host="no-such-host.invalid"), timeout=0.3)
    assert "Name or service not known" in caught.value.reason
    assert caught.value.hint == "Correct the host's name, or wait longer: clusters publish names late."


def test_zero_tries_once(pg_database: str, free_port: int, clock: Clock) -> None:
    with pytest.raises(DatabaseUnreachable, match=r"\(1 tries in 0\.0 s\)"):
        wait_for_db(changed(pg_database, port=str(free_port)), timeout=0)


class Front(Forwarder):
    """A port whose connections go to these servers' ports, one after the other; the last goes on. None closes one."""

    def __init__(self, *ports: int | None) -> None:
        self.left = list(ports)
        self.count = 0
        super().__init__("127.0.0.1", 0)

    def verify_request(self, request: object, client_address: object) -> bool:
        self.count += 1
        port = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        self.upstream = port or 0
        return port is not None


@pytest.fixture
def fronts(pg_database: str) -> Iterator[Callable[..., tuple[Front, Dsn]]]:
    """Fronts, and the URL of the test's database through each; 0 stands for its server."""
    opened: list[Front] = []

    def front(*ports: int | None) -> tuple[Front, Dsn]:
        port = int(Dsn.parse(pg_database).port)
        opened.append(Front(*(port if one == 0 else one for one in ports)))
        return opened[-1], changed(pg_database, port=str(opened[-1].port))

    yield front
    for one in opened:
        one.close()


def test_a_server_that_gives_way_to_another_is_not_the_one_waited_for(clock: Clock) -> None:
    """As a container's first server, which runs the init scripts and then ends."""
    with EmbeddedServer.start() as init, EmbeddedServer.start() as real:
        there = Dsn.parse(real.url)
        assert init.admin_url is not None
        with psycopg.connect(init.admin_url, autocommit=True) as admin:
            admin.execute(f"alter role {quote(there.user)} password '{there.password}'")
        front = Front(int(Dsn.parse(init.url).port), int(there.port))
        try:
            assert wait_for_db(changed(real.url, port=str(front.port))) == real.version
        finally:
            front.close()
        assert front.count == 3
    assert clock.pauses == [0.2, 0.2]


def test_an_answer_before_a_failure_does_not_count(fronts: Callable[..., tuple[Front, Dsn]], clock: Clock) -> None:
    front, dsn = fronts(0, None, 0)
    notes: list[str] = []
    wait_for_db(dsn, note=notes.append)
    assert front.count == 4
    assert clock.pauses == [0.2, 0.05, 0.2]
    assert len(notes) == 1


def test_pauses_grow_to_a_second(fronts: Callable[..., tuple[Front, Dsn]], clock: Clock) -> None:
    _, dsn = fronts(*[None] * 9, 0)
    wait_for_db(dsn)
    assert clock.pauses == pytest.approx([0.05, 0.08, 0.128, 0.2048, 0.32768, 0.524288, 0.8388608, 1.0, 1.0, 0.2])


def test_the_last_pause_ends_with_the_time(fronts: Callable[..., tuple[Front, Dsn]], clock: Clock) -> None:
    front, dsn = fronts(None)
    with pytest.raises(DatabaseUnreachable, match=r"\(5 tries in 0\.5 s\)"):
        wait_for_db(dsn, timeout=0.4)
    assert clock.pauses == pytest.approx([0.05, 0.08, 0.128, 0.2])
    assert front.count == 5


def test_each_new_reason_is_said_once(fronts: Callable[..., tuple[Front, Dsn]], clock: Clock) -> None:
    front, dsn = fronts(None)
    clock.at_pause = {3: front.close}
    notes: list[str] = []
    with pytest.raises(DatabaseUnreachable):
        wait_for_db(dsn, timeout=3.0, note=notes.append)
    first, second = notes
    assert first.startswith(f"Waiting for {dsn.target}: ")
    assert "closed the connection" in first
    assert "Connection refused" in second
    with pytest.raises(DatabaseUnreachable):
        wait_for_db(dsn, timeout=3.0)


@pytest.mark.parametrize(("timeout", "first", "second"), [(60.0, 10.0, 10.0), (3.0, 3.0, 2.8), (0.0, 1.0, 1.0)])
def test_one_connection_is_not_waited_for_beyond_the_time(
    fronts: Callable[..., tuple[Front, Dsn]], clock: Clock, monkeypatch: pytest.MonkeyPatch,
    timeout: float, first: float, second: float,
) -> None:  # fmt: skip
    given: list[tuple[str, bool, float]] = []

    def watched(dsn: Dsn, purpose: str, *, autocommit: bool, timeout: float) -> psycopg.Connection:
        given.append((purpose, autocommit, timeout))
        return connect(dsn, purpose, autocommit=autocommit, timeout=timeout)

    monkeypatch.setattr(wait, "connect", watched)
    wait_for_db(fronts(0)[1], timeout=timeout)
    assert given == [("wait-for-db", True, first), ("wait-for-db", True, pytest.approx(second))]


def test_a_session_that_has_just_ended_takes_no_place_for_long(
    pg_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = Dsn.parse(pg_database)
    last = psycopg.connect(pg_database, autocommit=True)
    last.execute(f"alter database {quote(dsn.dbname)} connection limit 1".encode())
    monkeypatch.setattr("dbtools.db.connect.time.sleep", lambda _: last.close())  # it was refused before
    with open_session(dsn, "test") as session:
        assert session.execute("select 1").fetchone() == (1,)
    assert last.closed


def test_a_full_database_is_told(pg_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dsn = Dsn.parse(pg_database)
    monkeypatch.setattr("dbtools.db.connect.ENDING_S", 0.0)
    with psycopg.connect(pg_database, autocommit=True) as last:
        last.execute(f"alter database {quote(dsn.dbname)} connection limit 1".encode())
        with pytest.raises(DatabaseUnreachable) as caught:
            open_session(dsn, "test")
    assert str(caught.value) == (
        f"Cannot reach {dsn.target} as app.\n"
        f'too many connections for database "{dsn.dbname}". Nothing was changed.\n'
        "No connection is free: end sessions that are not needed, or wait for it: invoke wait-for-db --timeout 60"
    )
