"""The migrations on a scratch database and their snapshot, beside `alembic upgrade head` on an empty database."""

from __future__ import annotations

import statistics
import sys
from functools import partial

from dbtools.console import table
from scripts.bench.measure import clean_environment, run, seconds


def bench_build(rounds: int) -> None:
    """Measure a build beside the project's own command, alternating on one server."""
    from dbtools.server.embedded import EmbeddedServer

    times: dict[str, list[float]] = {"build": [], "by hand": []}
    with EmbeddedServer.start() as server:
        environ = clean_environment()
        for number in range(rounds):
            empty = environ | {"DATABASE_URL": server.create_database(f"by_hand_{number}")}
            times["by hand"].append(seconds(partial(run, [sys.executable, "-m", "alembic", "upgrade", "head"], empty)))
            build = [sys.executable, "-m", "invoke", "build", "--rebuild"]
            times["build"].append(seconds(partial(run, build, environ | {"DATABASE_URL": server.url})))
    whole, floor = (statistics.median(times[name]) for name in ("build", "by hand"))
    row = (f"{whole:.3f} s", f"{floor:.3f} s", f"{whole / floor:.1f}")
    print(table(("invoke build --rebuild", "alembic upgrade head", "ratio"), [row]))
