"""What the command line takes before it does anything, beside `import invoke`."""

from __future__ import annotations

import os
import statistics
import sys
import time
from functools import partial

from dbtools.console import table
from scripts.bench.measure import run, seconds


def bench_start(rounds: int) -> None:
    """Measure commands that do little, alternating with the import of Invoke alone."""
    from dbtools.db.wait import YOUNG_S
    from dbtools.server.embedded import EmbeddedServer

    commands = {
        "import invoke": ["-c", "import invoke"],
        "invoke --list": ["-m", "invoke", "--list"],
        "dbtools --list": ["-m", "dbtools", "--list"],
        "dbtools wait-for-db": ["-m", "dbtools", "wait-for-db"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    with EmbeddedServer.start() as server:
        environ = os.environ | {"DATABASE_URL": server.url}
        time.sleep(YOUNG_S)  # a server that has just started is asked twice, with a pause
        for _ in range(2 * rounds):
            for name, command in commands.items():
                times[name].append(seconds(partial(run, [sys.executable, *command], environ)))
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    rows = [
        (name, f"{median * 1000:.0f} ms", f"{median / medians['import invoke']:.2f}")
        for name, median in medians.items()
    ]
    print(table(("command", "median", "beside import invoke"), rows))
