"""Statements through the race lab's proxy, open and with the lab's scheduler, beside a direct connection."""

from __future__ import annotations

import statistics
import time
from functools import partial

from dbtools.console import table
from scripts.bench.measure import ROOT, seconds

STATEMENTS = 1_000


def statements(url: str) -> None:
    """Send STATEMENTS small statements, one after the other."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(STATEMENTS):
            connection.execute("select 2", prepare=False)


def through_open_proxy(url: str) -> float:
    """Return how many seconds the statements take in another process, through a proxy that holds nothing back."""
    import asyncio

    from dbtools.db.dsn import Dsn
    from dbtools.races.execution.actor_process import Program
    from dbtools.races.execution.proxy import Proxy
    from dbtools.races.execution.session import Phase, Session
    from dbtools.races.scenario import Actor
    from dbtools.server.cluster import local_url

    dsn = Dsn.parse(url)

    def let_through(session: Session) -> None:
        if session.phase is Phase.CONNECTING:
            session.admit()
        elif session.phase is Phase.HELD:
            session.release()

    async def measure() -> float:
        proxy = Proxy("bench", dsn.host, int(dsn.port), let_through)
        await proxy.open()
        started = time.perf_counter()
        address = local_url(dsn.user, dsn.password, proxy.port, dsn.dbname)
        program = Program(Actor("bench", call=statements), address, ROOT)
        while not program.is_over():
            await asyncio.sleep(0.001)
        taken = time.perf_counter() - started
        program.end()
        await proxy.close()
        return taken

    return asyncio.run(measure())


def bench_gate(rounds: int) -> None:
    """Measure statements per second: direct, through an open proxy, and one by one as the lab schedules them."""
    from dbtools.races import Actor, Scenario
    from dbtools.races.execution.actor_process import Program
    from dbtools.races.execution.lab import Lab
    from dbtools.races.schedule import continue_current

    def direct(url: str) -> float:
        started = time.perf_counter()
        program = Program(Actor("bench", call=statements), url, ROOT)
        while not program.is_over():
            time.sleep(0.001)
        taken = time.perf_counter() - started
        program.end()
        return taken

    times: dict[str, list[float]] = {"direct": [], "open proxy": [], "scheduled": []}
    with Lab(Scenario("bench", [Actor("bench", call=statements)])) as lab:
        for _ in range(rounds):
            times["direct"].append(direct(lab.url))
            times["open proxy"].append(through_open_proxy(lab.url))
            times["scheduled"].append(seconds(partial(lab.run, continue_current)))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    rows = [(name, f"{STATEMENTS / taken:.0f}", f"{taken / medians['direct']:.1f}") for name, taken in medians.items()]
    print(table(("statements", "a second", "time beside direct"), rows))
