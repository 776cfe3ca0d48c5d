"""Framing: messages in pieces of any size, lengths that cannot be, and what a request is called."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtools.races.execution import wire
from dbtools.races.execution.wire import Message, ProtocolError, Scanner, Statements


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


KINDS = st.sampled_from([b"Z", b"E", b"C", b"K", b"G", b"D", b"T", b"N", b"S"])


@given(st.lists(st.tuples(KINDS, st.binary(max_size=40))), st.lists(st.integers(1, 30), min_size=1))
def test_messages_are_found_in_pieces_of_any_size(sent: list[tuple[bytes, bytes]], sizes: list[int]) -> None:
    stream = b"".join(message(kind, body) for kind, body in sent)
    scanner, found, at, turn = Scanner(), list[Message](), 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        found += scanner.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert found == [Message(kind, body) for kind, body in sent if kind in wire.WANTED]


def test_no_more_than_the_head_of_a_message_is_kept() -> None:
    scanner = Scanner()
    piece = b"x" * 1_000_000
    assert list(scanner.feed(b"E" + struct.pack("!I", 4 + 50 * len(piece)))) == []
    for _ in range(49):
        assert list(scanner.feed(piece)) == []
        assert len(scanner._body) == wire.MAX_HEAD_BYTES  # noqa: SLF001 - the buffer is what must not grow
    assert [len(found.body) for found in scanner.feed(piece)] == [wire.MAX_HEAD_BYTES]


@pytest.mark.parametrize("length", [0, 3, wire.MAX_MESSAGE_BYTES + 1, 0xFFFFFFFF])
def test_a_length_that_cannot_be(length: int) -> None:
    with pytest.raises(ProtocolError, match=rf"^a message of type b'D' cannot be {length} bytes long$"):
        list(Scanner().feed(b"D" + struct.pack("!I", length)))


@pytest.mark.parametrize(
    ("five", "why"),
    [
        (b"?\0\0\0\4", r"no client sends a message of type b'\?'"),
        (b"\0\0\0\0\4", r"no client sends a message of type b'\\x00'"),
        (b"S\0\0\0\5", r"a message of type b'S' cannot be 5 bytes long"),
        (b"X\x7f\0\0\0", r"a message of type b'X' cannot be \d+ bytes long"),
        (b"Q\xff\xff\xff\xff", r"a message of type b'Q' cannot be 4294967295 bytes long"),
    ],
)
def test_what_no_client_sends(five: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=f"^{why}$"):
        wire.header(five, wire.CLIENT)


def test_the_first_packet() -> None:
    assert wire.startup_length(struct.pack("!I", 8)) == 4
    assert wire.startup_length(struct.pack("!I", wire.MAX_STARTUP_BYTES)) == wire.MAX_STARTUP_BYTES - 4
    with pytest.raises(ProtocolError, match=r"^the client begins with TLS; connect with sslmode=disable$"):
        wire.startup_length(b"\x16\x03\x01\x02")
    for length in (0, 7, wire.MAX_STARTUP_BYTES + 1, 0x47455420):  # the last one is "GET "
        with pytest.raises(ProtocolError, match=rf"^a connection cannot begin with a packet of {length} bytes$"):
            wire.startup_length(struct.pack("!I", length))


def test_a_request_is_called_by_its_sql_however_it_is_sent() -> None:
    names = Statements()
    assert names.label(b"Q", b"select 1\0") == "select 1"
    assert names.label(b"P", b"\0select $1\0\0\0") == "select $1"
    assert names.label(b"B", b"\0\0\0\0\0\0\0\0") == "select $1"
    assert names.label(b"P", b"named\0insert into t values ($1)\0\0\0") == "insert into t values ($1)"
    assert names.label(b"B", b"portal\0named\0\0\0") == "insert into t values ($1)"
    assert names.label(b"E", b"portal\0\0\0\0\0") == "insert into t values ($1)"
    assert names.label(b"C", b"Snamed\0") == "(close)"
    assert names.label(b"B", b"portal\0named\0\0\0") == "(bind)"
    assert names.label(b"E", b"other\0\0\0\0\0") == "(execute)"
    assert [names.label(kind, b"") for kind in (b"D", b"S", b"H", b"F")] == [
        "(describe)", "(sync)", "(flush)", "(function call)",
    ]  # fmt: skip
    assert names.label(b"Q", b"select '\xff\0") == "select '\ufffd"


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN", "begin;", "BEGIN ISOLATION LEVEL SERIALIZABLE", "start transaction read only", "  begin ; ",
        "-- why\nbegin", "/* a */ begin /* b */", "set local lock_timeout = 0", "SET x TO 'y'", "show server_version",
        "savepoint a", "release a", "RELEASE SAVEPOINT a", "reset all", "discard all", "deallocate x", "", ";",
        "select 1",
        "select pg_catalog.version()", "SELECT current_schema()", "select set_config('a', 'b', false)",
        "select b.oid, b.typarray from pg_catalog.pg_type a left join pg_catalog.pg_type b on b.oid = a.typelem"
        " where a.typcategory = 'A' group by b.oid, b.typarray order by b.oid",
        "SELECT typname AS name, oid, typarray AS array_oid, oid::regtype::text AS regtype, typdelim AS delimiter"
        " FROM pg_type t WHERE t.oid = to_regtype($1) ORDER BY t.oid",
    ],
)  # fmt: skip
def test_what_is_no_choice(sql: str) -> None:
    assert wire.is_trivial(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "commit", "rollback", "rollback to a", "begin; insert into t values (1)", "set constraints all immediate",
        "set local lock_timeout = 1; lock table t", "select 1 from t", "insert into t values (1)",
        "select set_config('a', (select b from t), false)", "select pg_advisory_lock(1)", "beginning", "listen x",
        "truncate t", "(execute)", "(sync)",
        "select 1; drop table t",
        "select 1 from pg_catalog.pg_type join t on true", "select 1 from t join pg_catalog.pg_type on true",
        "select f() from pg_catalog.pg_type", "select 1 from pg_catalog.pg_type where f(oid)",
        "select 1 from pg_catalog.pg_type, t", "select oid from pg_catalog.pg_types",
    ],
)  # fmt: skip
def test_what_is_a_choice(sql: str) -> None:
    assert not wire.is_trivial(sql)


def test_what_ends_a_transaction() -> None:
    for sql in ("commit", "ROLLBACK;", "end", "abort transaction", " commit work ; ", "/* so */ commit", "(sync)"):
        assert wire.is_end(sql)
    for sql in ("commit prepared 'a'", "rollback to a", "commit and chain", "commit; select 1", "endless", "begin"):
        assert not wire.is_end(sql)


def test_an_error_of_the_proxys_own() -> None:
    (found,) = Scanner().feed(wire.fatal("race proxy: no"))
    assert wire.fields(found.body) == {"S": "FATAL", "V": "FATAL", "C": "08P01", "M": "race proxy: no"}
