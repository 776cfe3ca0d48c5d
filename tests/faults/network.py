"""The network is cut: from one moment on no packet passes, and neither end is told.

In a network namespace of its own, where the client's packets are dropped on the loopback device: a proxy that swallows
them would not do, as its kernel would go on to answer the server's keepalives. The session that looks on uses the Unix
socket.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from dbtools.chain.target import Waits
from dbtools.db.dsn import Dsn
from dbtools.server import run_as
from dbtools.server.embedded import EmbeddedServer
from tests.faults.child import Child
from tests.faults.environment import Environment, port
from tests.faults.figures import at_least, at_most, none, shown
from tests.faults.namespaces import NETWORK, apart, must
from tests.faults.slow import reset
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.faults.figures import Figure

FREED_S = 15.0
"""Within this time the lock is free: what the README promises."""
GAVE_UP_S = 20.0
"""Within this time a client that waits for the server has given up."""
AT_WORK_S = 300.0
"""For this long a run would be at work if nothing happened."""


def cut() -> AbstractContextManager[Callable[[], list[Figure]]]:
    """Drop the packets of runs in four states at one moment. Begins at once, on a server of its own (see `apart`)."""
    return apart(_cut, NETWORK, "iptables")


class _Run:
    """A run whose packets will be dropped, in a database of its own."""

    def __init__(self, server: EmbeddedServer, folder: Path, sockets: str, *, in_place: bool, busy: bool) -> None:
        self.name = f"{'in place' if in_place else 'swap'}, {'server' if busy else 'client'} at work"
        name = self.name.translate(str.maketrans(", ", "__"))
        self.url = server.create_database(name)
        assert server.admin_url is not None
        local = Dsn.parse(server.admin_url).with_database(name)
        password, number = local.password, port(self.url)
        admin = psycopg.connect(
            host=sockets, port=number, user=local.user, password=password, dbname=name, autocommit=True
        )
        self.environment = Environment(server, self.url, admin)
        self._folder, self._target = folder, self.environment.target(waits=Waits(30.0), in_place=in_place)
        self.reset()
        self.before = self.environment.digest()
        side = "server" if busy else "client"
        self.child = Child(partial(reset, self._target, folder, **{side: AT_WORK_S}), parent=True)

    def reset(self) -> None:
        """Reset as always."""
        reset(self._target, self._folder)

    def ready(self, *, busy: bool) -> bool:
        """Whether it is in the state in which it is to be cut."""
        state = "state = 'active' and wait_event = 'PgSleep'" if busy else "state = 'idle in transaction'"
        return bool(
            self.environment.query(
                "select pid from pg_stat_activity where starts_with(application_name, 'dbtools ')"
                f" and datname = current_database() and {state} and state_change < now() - interval '0.5 s'"
            )
        )


def _cut() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as sockets, ExitStack() as stack:
        run_as.choose().give(Path(sockets))
        server = stack.enter_context(EmbeddedServer.start(settings={"unix_socket_directories": sockets}))
        states = [(in_place, busy) for in_place in (False, True) for busy in (True, False)]
        runs = [_Run(server, Path(folder), sockets, in_place=in_place, busy=busy) for in_place, busy in states]
        try:
            return _watch(runs, states)
        finally:
            for run in runs:
                run.child.kill()


def _watch(runs: list[_Run], states: list[tuple[bool, bool]]) -> list[Figure]:
    until(
        lambda: all(run.ready(busy=busy) for run, (_, busy) in zip(runs, states, strict=True)),
        "a run did not come to the state in which it is to be cut",
    )
    ports = [number for run in runs for number in run.child.ports(port(run.url))]
    for number in ports:
        for option in ("--sport", "--dport"):
            must("iptables", "-A", "INPUT", "-i", "lo", "-p", "tcp", option, str(number), "-j", "DROP")
    began, freed, noticed = time.monotonic(), dict[str, float](), dict[str, float]()
    while time.monotonic() < began + 2 * FREED_S and (len(freed) < len(runs) or len(noticed) < len(runs) // 2):
        for run in runs:
            if run.name not in freed and not run.environment.locks():
                freed[run.name] = time.monotonic() - began
            if run.name not in noticed and not run.child.working:
                noticed[run.name] = time.monotonic() - began
        time.sleep(0.02)
    wrong, failed, unclear = [], [], []
    found = [shown("how", "packets dropped in a network namespace"), at_least("connections cut", len(ports), len(runs))]
    for run, (_, busy) in zip(runs, states, strict=True):
        found.append(at_most(f"lock free after ({run.name})", freed.get(run.name, float("inf")), FREED_S, "s"))
        if busy:  # the client waits for the server; a client at work notices when it asks the next time
            found.append(
                at_most(f"client gave up after ({run.name})", noticed.get(run.name, float("inf")), GAVE_UP_S, "s")
            )
            ended = run.child.finish(1)
            if ended.ok or not ended.clear:
                unclear.append(f"{run.name}: {ended}")
        if run.environment.digest() != run.before:
            wrong.append(run.name)
        with Child(run.reset, parent=True) as child:
            ended = child.finish(60)
        if not ended.ok or run.environment.digest() != run.before:
            failed.append(f"{run.name}: {ended.error or 'wrong content'}")
    return [
        *found,
        none("unclear errors", unclear),
        none("database not the old one", wrong),
        none("next resets failed", failed),
    ]
