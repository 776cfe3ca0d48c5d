"""A connection that comes as the proxy closes is closed too."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings

import pytest

from dbtools.races.execution.proxy import Proxy


def test_a_connection_that_is_cancelled_before_it_is_served_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    accept = Proxy._connected  # noqa: SLF001

    def accept_and_cancel(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accept(proxy, reader, writer)
        for task in proxy._tasks:  # noqa: SLF001
            task.cancel()

    monkeypatch.setattr(Proxy, "_connected", accept_and_cancel)

    async def scenario() -> bytes:
        proxy = Proxy("actor", "127.0.0.1", 1, lambda _: None)
        await proxy.open()
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.setblocking(False)
            ended = await asyncio.get_running_loop().sock_recv(client, 1)
            await proxy.close()
            return ended

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asyncio.run(asyncio.wait_for(scenario(), 60)) == b""
        gc.collect()
