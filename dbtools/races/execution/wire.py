"""The PostgreSQL wire protocol, as far as the proxy must understand it: where a message begins and ends.

Protocol 3.0 and 3.2: a message is a type byte, a length of four bytes that counts itself, and a body; the first message
of a connection has no type byte. Only the beginnings of a few bodies are read, and no more than `MAX_HEAD_BYTES` of any
message are ever held. Source: PostgreSQL's documentation, "Frontend/Backend Protocol".
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_HEAD_BYTES = 64 * 1024
"""How much of a message is read; the text of a longer statement is cut there in reports."""
MAX_MESSAGE_BYTES = 0x3FFFFFFF
"""PostgreSQL itself accepts no longer message."""
MAX_STARTUP_BYTES = 10_000
SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102

# What the client sends.
QUERY, PARSE, BIND, EXECUTE, DESCRIBE, CLOSE = b"Q", b"P", b"B", b"E", b"D", b"C"
SYNC, FLUSH, TERMINATE, CALL = b"S", b"H", b"X", b"F"
COPY_DATA, COPY_DONE, COPY_FAIL, PASSWORD = b"d", b"c", b"f", b"p"
CLIENT = frozenset((QUERY, PARSE, BIND, EXECUTE, DESCRIBE, CLOSE, SYNC, FLUSH, TERMINATE, CALL, PASSWORD))
CLIENT |= {COPY_DATA, COPY_DONE, COPY_FAIL}
BODYLESS = frozenset((SYNC, FLUSH, TERMINATE, COPY_DONE))
# What the server sends, as far as it matters.
READY, ERROR, KEY, COPY_IN, COPY_BOTH, NOTIFICATION = b"Z", b"E", b"K", b"G", b"W", b"A"
COMPLETE, EMPTY, SUSPENDED = b"C", b"I", b"s"
WANTED = frozenset((READY, ERROR, KEY, COPY_IN, COPY_BOTH, NOTIFICATION, COMPLETE, EMPTY, SUSPENDED))

_HEADER = struct.Struct("!cI")
_WORDS = {SYNC: "(sync)", FLUSH: "(flush)", CALL: "(function call)", DESCRIBE: "(describe)", CLOSE: "(close)"}
_COMMENT = re.compile(r"\s+|--[^\n]*(?:\n|$)|/\*.*?\*/", re.DOTALL)
_PLAIN = r"(to_regtype\(\$1\)|(?!\b(from|join)\b)[^;()])*"
# Such a request neither waits for another session nor makes one wait, and other sessions see nothing of it: not worth a
# choice. The last select is that of drivers that ask for the server's types before anything else.
_TRIVIAL = re.compile(
    r"(begin|start\s+transaction|show|savepoint|release|reset|discard|deallocate|set(?!\s+constraints))\b[^;]*;?"
    r"|select\s+(1|(pg_catalog\.)?version\(\)|current_schema(\(\))?|(pg_catalog\.)?set_config\([^;()]*\))\s*;?"
    rf"|select\s{_PLAIN}((from|join)\s+(pg_catalog\.)?pg_type\b((?!\b(from|join)\b)[^;(),])*)+"
    rf"(\b(where|group|order)\b{_PLAIN})?;?"
    r"|;?",
    re.IGNORECASE,
)
_LISTEN = re.compile(r"(listen|unlisten)\b.*", re.IGNORECASE | re.DOTALL)
_BEGIN = re.compile(r"(begin|start)\b.*", re.IGNORECASE | re.DOTALL)
_END = re.compile(r"(commit|rollback|end|abort)(\s+(work|transaction))?\s*;?|\(sync\)", re.IGNORECASE)


class ProtocolError(Exception):
    """What arrived is not the PostgreSQL protocol; the message says what is wrong with it."""


@dataclass(frozen=True)
class Message:
    """One of the server's messages that are `WANTED`: its type, and its body up to `MAX_HEAD_BYTES`."""

    kind: bytes
    body: bytes

    def packed(self) -> bytes:
        """Return its bytes."""
        return _HEADER.pack(self.kind, len(self.body) + 4) + self.body


class Scanner:
    """Finds the server's messages in its stream, in pieces of any size."""

    def __init__(self) -> None:
        self._header = b""
        self._kind = b""
        self._left = 0
        self._body = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the wanted messages that end in this piece.

        Raises:
            ProtocolError: A length is impossible.
        """
        at = 0
        while at < len(data):
            if not self._kind:
                piece = data[at : at + 5 - len(self._header)]
                self._header += piece
                at += len(piece)
                if len(self._header) < 5:
                    return
                self._kind, self._left = header(self._header)
            else:
                piece = data[at : at + self._left]
                if self._kind in WANTED and len(self._body) < MAX_HEAD_BYTES:
                    self._body += piece[: MAX_HEAD_BYTES - len(self._body)]
                self._left -= len(piece)
                at += len(piece)
            if not self._left:
                if self._kind in WANTED:
                    yield Message(self._kind, bytes(self._body))
                self._header, self._kind = b"", b""
                self._body.clear()


def header(five: bytes, known: frozenset[bytes] | None = None) -> tuple[bytes, int]:
    """Return a message's type and the length of its body in bytes, from its first five bytes.

    Raises:
        ProtocolError: The length is impossible, or the type is not one of `known`.
    """
    kind, length = _HEADER.unpack(five)
    if known is not None and kind not in known:
        raise ProtocolError(f"no client sends a message of type {kind!r}")
    if not 4 <= length <= MAX_MESSAGE_BYTES or (known is not None and kind in BODYLESS and length != 4):
        raise ProtocolError(f"a message of type {kind!r} cannot be {length} bytes long")
    return kind, length - 4


def startup_length(four: bytes) -> int:
    """Return how many bytes of a connection's first packet follow its first four.

    Raises:
        ProtocolError: No client of PostgreSQL begins like this.
    """
    length = int.from_bytes(four, "big")
    if four[:2] == b"\x16\x03":
        raise ProtocolError("the client begins with TLS; connect with sslmode=disable")
    if not 8 <= length <= MAX_STARTUP_BYTES:
        raise ProtocolError(f"a connection cannot begin with a packet of {length} bytes")
    return length - 4


def fields(body: bytes) -> dict[str, str]:
    """Return the fields of an error by their letters: C is the SQLSTATE, M the message, n the constraint, and so on."""
    parts = (part for part in body.split(b"\0") if part)
    return {part[:1].decode("ascii", "replace"): part[1:].decode("utf-8", "replace") for part in parts}


def text(body: bytes) -> str:
    """Return the string that a body begins with."""
    return body.partition(b"\0")[0].decode("utf-8", "replace")


class Statements:
    """The texts behind the names of a connection's prepared statements and portals."""

    def __init__(self) -> None:
        self._statements: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}

    def label(self, kind: bytes, body: bytes) -> str:
        """Return the SQL that a client's message is about, or its kind in brackets: "(sync)"."""
        first, _, rest = body.partition(b"\0")
        if kind == QUERY:
            return text(body)
        if kind == PARSE:
            self._statements[first] = text(rest)
            return self._statements[first]
        if kind == BIND:
            self._portals[first] = self._statements.get(rest.partition(b"\0")[0], "(bind)")
            return self._portals[first]
        if kind == EXECUTE:
            return self._portals.get(first, "(execute)")
        if kind == CLOSE and body[:1] == b"S":
            self._statements.pop(body[1:].partition(b"\0")[0], None)
        return _WORDS.get(kind, f"({kind.decode('ascii', 'replace')})")


def without_comments(sql: str) -> str:
    """Return a request without its comments, with one blank for white space."""
    return _COMMENT.sub(" ", sql).strip()


def is_trivial(sql: str) -> bool:
    """Return whether it makes no difference to other sessions when a request runs."""
    return _TRIVIAL.fullmatch(without_comments(sql)) is not None


def is_begin(sql: str) -> bool:
    """Return whether a request begins with BEGIN or START TRANSACTION."""
    return _BEGIN.fullmatch(without_comments(sql)) is not None


def is_end(sql: str) -> bool:
    """Return whether a request ends a transaction and does nothing else."""
    return _END.fullmatch(without_comments(sql)) is not None


def is_select(sql: str) -> bool:
    """Return whether a request begins with SELECT: for such a one the server takes a snapshot."""
    return without_comments(sql)[:6].lower() == "select"


def listens(sql: str) -> str:
    """Return "listen" or "unlisten" for a request that is one of these, else ""."""
    found = _LISTEN.fullmatch(without_comments(sql))
    return found[1].lower() if found else ""


FLUSH_NOW = _HEADER.pack(FLUSH, 4)
"""Has the server send what it has to say so far."""


def query(sql: str) -> bytes:
    """Return the bytes of a request of the proxy's own."""
    body = sql.encode() + b"\0"
    return _HEADER.pack(QUERY, len(body) + 4) + body


CANCELLED = query(
    "do $$ begin raise exception using errcode = 'query_canceled',"
    " message = 'canceling statement due to user request'; end $$"
)
"""A request that ends as a cancelled one does, whatever the state of its transaction."""


def fatal(message: str) -> bytes:
    """Return the bytes of an error of the proxy's own that ends the connection."""
    parts = (b"SFATAL", b"VFATAL", b"C08P01", b"M" + message.encode())
    body = b"".join(part + b"\0" for part in parts) + b"\0"
    return _HEADER.pack(ERROR, len(body) + 4) + body
