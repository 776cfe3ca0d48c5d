"""A throwaway server: start to the first query, and stop."""

from __future__ import annotations

import statistics
import time

from dbtools.console import table
from scripts.bench.measure import seconds


def bench_server(rounds: int) -> None:
    """Measure a throwaway server with a warm cache: from start to the first query, and its stop."""
    import psycopg

    from dbtools.server.embedded import EmbeddedServer

    times: dict[str, list[float]] = {"start to first query": [], "stop": []}
    EmbeddedServer.start().stop()
    for _ in range(rounds):
        started = time.perf_counter()
        server = EmbeddedServer.start()
        with psycopg.connect(server.url) as connection:
            connection.execute("select 1")
        times["start to first query"].append(time.perf_counter() - started)
        times["stop"].append(seconds(server.stop))
    rows = [
        (name, f"{statistics.median(taken) * 1000:.0f} ms", f"{min(taken) * 1000:.0f} ms")
        for name, taken in times.items()
    ]
    print(table(("throwaway server", "median", "best"), rows))
