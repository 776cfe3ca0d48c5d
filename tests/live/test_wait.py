"""Waiting for a real server, and giving up at once where waiting cannot help."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from dbtools.db import wait
from dbtools.db.dsn import Dsn
from dbtools.db.wait import wait_for_db
from dbtools.errors import DatabaseUnreachable

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


class Clock:
    """A clock that moves only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(wait, "time", clock)
    return clock


def test_a_server_that_answers_is_asked_twice_and_named(pg_database: str, clock: Clock) -> None:
    notes: list[str] = []
    assert wait_for_db(Dsn.parse(pg_database), timeout=5, note=notes.append)[:3] in {"16.", "18."}
    assert notes == []
    assert clock.now == wait.SECOND_QUERY_S


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
    assert "failed to resolve host 'db'" in notes[0]


def test_a_name_that_never_comes_is_named(pg_database: str) -> None:
    with pytest.raises(DatabaseUnreachable) as caught:
        wait_for_db(changed(pg_database, host="no-such-host.invalid"), timeout=0.3)
    assert "failed to resolve host 'no-such-host.invalid'" in caught.value.reason
    assert caught.value.hint == "Correct the host's name, or wait longer: clusters publish names late."


def test_zero_tries_once(pg_database: str, free_port: int, clock: Clock) -> None:
    with pytest.raises(DatabaseUnreachable, match=r"\(1 tries in 0\.0 s\)"):
        wait_for_db(changed(pg_database, port=str(free_port)), timeout=0)
