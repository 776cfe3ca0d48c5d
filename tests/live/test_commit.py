"""What is said of the database when its answer to COMMIT is lost, or is a refusal."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dbtools.chain.phase import COMMIT_UNKNOWN, ROLLED_BACK
from dbtools.chain.target import Target
from dbtools.config import LOCK_KEY
from dbtools.db.dsn import Dsn
from dbtools.errors import ChainFailed
from tests.support.runs import AUTOCOMMIT, Runner, content, query, seed
from tests.support.toy import TABLES, execute

MARKED = f"{TABLES}; create table marks as select {{}} as mark"


class Cutter:
    """A way to the server that is cut when the answer to a COMMIT is there, before it is passed on."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut = 0
        """How many sessions were cut."""
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        for end in (self._listener, *self._sockets):
            _shut(end)
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._sockets):
            end.close()

    def _start(self, action: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=action, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server, committing = socket.create_connection(self._server), threading.Event()
                self._sockets += [client, server]
                self._start(self._pump, client, server, committing, False)
                self._start(self._pump, server, client, committing, True)

    def _pump(self, source: socket.socket, sink: socket.socket, committing: threading.Event, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if answers and committing.is_set():
                    self.cut += 1
                    break
                if not answers and b"COMMIT" in data:
                    committing.set()
                sink.sendall(data)
        _shut(source)
        _shut(sink)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def cutter(pg_database: str) -> Iterator[Cutter]:
    dsn = Dsn.parse(pg_database)
    found = Cutter(dsn.host, int(dsn.port))
    yield found
    found.close()


@pytest.fixture
def target(pg_database: str) -> Target:
    return Target(Dsn.parse(pg_database), LOCK_KEY)


@pytest.mark.parametrize("in_place", [False, True])
def test_nobody_knows_when_the_answer_is_lost(target: Target, cutter: Cutter, tmp_path: Path, in_place: bool) -> None:
    run = Runner(target, tmp_path)
    run(execute(MARKED.format("'old'")))
    through = Dsn.parse(target.dsn.url.replace(f":{target.dsn.port}/", f":{cutter.port}/"))
    with pytest.raises(ChainFailed) as caught:
        run(execute(MARKED.format("'new'")), dsn=through, in_place=in_place)
    assert cutter.cut == 1
    assert caught.value.what == "The commit phase failed."
    assert caught.value.state == COMMIT_UNKNOWN
    assert caught.value.hint == "The connection to the server broke; once it is back, run this again."
    assert query(target, "select mark from marks") == [("new",)]


def test_nor_after_a_seed(target: Target, cutter: Cutter, tmp_path: Path) -> None:
    Runner(target, tmp_path)()
    query(target, "update shops set note = 'changed'")
    through = Dsn.parse(target.dsn.url.replace(f":{target.dsn.port}/", f":{cutter.port}/"))
    with pytest.raises(ChainFailed) as caught:
        seed(Target(through, LOCK_KEY))
    assert caught.value.state == COMMIT_UNKNOWN
    assert query(target, "select distinct note from shops") == [(None,)]


REFUSING = """
create table items2 (id int); insert into items2 values (1);
create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
create constraint trigger refused after insert on items2 deferrable initially deferred
    for each row execute function refuse();
"""


def test_a_refused_commit_is_rolled_back(target: Target, tmp_path: Path) -> None:
    run = Runner(target, tmp_path)
    run()
    before = content(target)
    with pytest.raises(ChainFailed, match="refused") as caught:
        run(execute(f"{TABLES}; {REFUSING} insert into items2 values (2)"), in_place=True)
    assert caught.value.state == ROLLED_BACK
    assert content(target) == before


def test_in_phases_the_state_is_that_of_the_phase(target: Target, tmp_path: Path, cutter: Cutter) -> None:
    run = Runner(target, tmp_path)
    run(execute(TABLES), AUTOCOMMIT, in_place=True)
    refusing = f"create or replace {REFUSING[REFUSING.index('function') : REFUSING.index('create constraint')]}"
    trigger = "create constraint trigger refused after insert on items deferrable initially deferred for each row"
    with pytest.raises(ChainFailed, match="refused") as caught:
        run(execute(f"{TABLES}; {refusing} {trigger} execute function refuse()"), AUTOCOMMIT, in_place=True)
    assert caught.value.what == "The commit phase failed."
    assert caught.value.state == "The schema is migrated and holds no data: run seed."
    assert query(target, "select count(*) from items") == [(0,)]
