"""A way to the server that a test can break: the answer to a COMMIT is lost, or from some moment on nothing passes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Self

from dbtools.db.dsn import Dsn

READY = b"Z\x00\x00\x00\x05"
"""How the server says that it is ready for the next query."""


class Fate(Enum):
    """What becomes of bytes."""

    PASSED = "passed"
    SWALLOWED = "swallowed"
    CUT = "cut"
    """Swallowed, and the session is closed at both ends."""


class Link:
    """One session through the relay."""

    def __init__(self, number: int) -> None:
        self.number = number
        """The first one has 1."""
        self.marked = False
        """Set by a relay for itself."""


class Relay:
    """Passes sessions on to the server of `url`, and decides the fate of what they say."""

    def __init__(self, url: str) -> None:
        there = Dsn.parse(url)
        self._server = (there.host, int(there.port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.dsn = there.through_proxy("127.0.0.1", self._listener.getsockname()[1])
        """The database, by way of this relay."""
        self.count = 0
        """Of the sessions so far."""
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def fate(self, link: Link, data: bytes, *, from_server: bool) -> Fate:
        """Decide what becomes of `data`."""
        raise NotImplementedError

    def server(self, number: int) -> tuple[str, int]:
        """Decide where a session goes; the first one has the number 1."""
        return self._server

    def holds_open(self, link: Link) -> bool:
        """Whether a session stays open at one end when the other has closed it."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for end in (self._listener, *self._sockets):
            _shut(end)
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._sockets):
            end.close()

    def _start(self, action: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=action, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.count += 1
                server = socket.create_connection(self.server(self.count))
                self._sockets += [client, server]
                link = Link(self.count)
                self._start(self._pump, client, server, link, False)
                self._start(self._pump, server, client, link, True)

    def _pump(self, source: socket.socket, sink: socket.socket, link: Link, from_server: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                fate = self.fate(link, data, from_server=from_server)
                if fate is Fate.CUT:
                    break
                if fate is Fate.PASSED:
                    sink.sendall(data)
        if self.holds_open(link):
            return
        _shut(source)
        _shut(sink)


class Balancer(Relay):
    """Passes every other session on to a second server."""

    def __init__(self, url: str, second: str) -> None:
        there = Dsn.parse(second)
        self._second = (there.host, int(there.port))
        super().__init__(url)

    def fate(self, link: Link, data: bytes, *, from_server: bool) -> Fate:
        return Fate.PASSED

    def server(self, number: int) -> tuple[str, int]:
        return self._server if number % 2 else self._second


class Cutter(Relay):
    """Cuts a session when the answer to a COMMIT is there, before it is passed on."""

    cut = 0
    """How many sessions were cut."""

    def fate(self, link: Link, data: bytes, *, from_server: bool) -> Fate:
        if not from_server:
            link.marked = link.marked or b"COMMIT" in data
            return Fate.PASSED
        self.cut += link.marked
        return Fate.CUT if link.marked else Fate.PASSED


class SilentPeer(Relay):
    """Falls silent when a client says `word`, or with "" as soon as it has let one log in. It closes nothing.

    With `first`, the first session falls silent then and others go on; else all sessions do, those that come later as
    well. Without `hears`, what a client says from then on is swallowed too; with it, only the answers are.
    """

    def __init__(self, url: str, word: bytes = b"", *, first: bool = False, hears: bool = False) -> None:
        self._word, self._first, self._hears = word, first, hears
        self.silent = threading.Event()
        super().__init__(url)

    def fate(self, link: Link, data: bytes, *, from_server: bool) -> Fate:
        if self._first and link.number > 1:
            return Fate.PASSED
        if self.silent.is_set() and (link.marked or self._word):
            return Fate.PASSED if self._hears and not from_server else Fate.SWALLOWED
        if self._word:
            if not from_server and self._word in data:
                self.silent.set()
                return Fate.PASSED if self._hears else Fate.SWALLOWED
        elif from_server and READY in data:  # the login is over
            link.marked = True
            self.silent.set()
        return Fate.PASSED

    def holds_open(self, link: Link) -> bool:
        return self.silent.is_set() and (link.number == 1 or not self._first)


class Mute:
    """Ports that let connect, and never say a word."""

    def __init__(self, number: int = 1) -> None:
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
        self.ports = [int(listener.getsockname()[1]) for listener in self._listeners]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for listener in self._listeners:
            listener.close()


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
