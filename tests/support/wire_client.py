"""A PostgreSQL client made of bytes, for what no driver sends."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import struct
from urllib.parse import unquote, urlsplit


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def query(sql: str) -> bytes:
    return message(b"Q", sql.encode() + b"\0")


def parse(sql: str, name: str = "") -> bytes:
    return message(b"P", name.encode() + b"\0" + sql.encode() + b"\0\0\0")


def bind(portal: str = "", name: str = "") -> bytes:
    return message(b"B", portal.encode() + b"\0" + name.encode() + b"\0" + b"\0\0\0\0\0\0")


def execute(portal: str = "", rows: int = 0) -> bytes:
    return message(b"E", portal.encode() + b"\0" + struct.pack("!I", rows))


def describe(name: str = "") -> bytes:
    return message(b"D", b"S" + name.encode() + b"\0")


def close(portal: str = "") -> bytes:
    return message(b"C", b"P" + portal.encode() + b"\0")


SYNC, FLUSH, TERMINATE = message(b"S"), message(b"H"), message(b"X")


def startup(url: str, version: int = 3 << 16) -> bytes:
    parts = urlsplit(url)
    words = ["user", unquote(parts.username or ""), "database", parts.path[1:]]
    body = struct.pack("!I", version) + b"".join(word.encode() + b"\0" for word in words) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.key = b""

    @classmethod
    async def open(cls, port: int) -> Wire:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def log_in(self, url: str, version: int = 3 << 16) -> None:
        self.send(startup(url, version))
        await self._authenticate(unquote(urlsplit(url).password or ""))
        for kind, body in await self.until(b"Z"):
            if kind == b"K":
                self.key = body

    def send(self, *messages: bytes) -> None:
        self.writer.write(b"".join(messages))

    async def receive(self) -> tuple[bytes, bytes]:
        kind, length = struct.unpack("!cI", await asyncio.wait_for(self.reader.readexactly(5), 20))
        return kind, await asyncio.wait_for(self.reader.readexactly(length - 4), 20)

    async def until(self, kind: bytes) -> list[tuple[bytes, bytes]]:
        found = [await self.receive()]
        while found[-1][0] != kind:
            found.append(await self.receive())
        return found

    async def kinds(self, until: bytes = b"Z") -> str:
        """The types of the messages up to one, without those that may come at any time."""
        return b"".join(kind for kind, _ in await self.until(until) if kind not in (b"S", b"N")).decode()

    async def rest(self) -> bytes:
        """What comes before the other end closes."""
        return await asyncio.wait_for(self.reader.read(), 20)

    def close(self) -> None:
        self.writer.close()

    async def _authenticate(self, password: str) -> None:
        """SCRAM-SHA-256, RFC 7677."""
        await self.until(b"R")
        first = f"n=,r={secrets.token_urlsafe(12)}"
        start = f"n,,{first}".encode()
        self.send(message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(start)) + start))
        ((_, body),) = await self.until(b"R")
        said = body[4:].decode()
        nonce, salt, rounds = (part[2:] for part in said.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
        client = hmac.digest(salted, b"Client Key", "sha256")
        proven = f"{first},{said},c=biws,r={nonce}".encode()
        signature = hmac.digest(hashlib.sha256(client).digest(), proven, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(client, signature, strict=True))).decode()
        self.send(message(b"p", f"c=biws,r={nonce},p={proof}".encode()))
        await self.until(b"R")
