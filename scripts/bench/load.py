"""The whole process of `invoke load`, beside `psql \\copy` of the same bytes and `pgbench -i`; its peak memory."""

from __future__ import annotations

import datetime as dt
import statistics
import sys
from functools import partial
from operator import truediv
from typing import TYPE_CHECKING

from dbtools.console import table
from scripts.bench.measure import AS_OF, clean_environment, run, run_measured, seconds

if TYPE_CHECKING:
    from pathlib import Path

LOAD_SCALE = 5
PGBENCH_SCALE = 3  # 100,000 rows each, about as many as those of the load
CLEAR = "truncate clients, pets, appointments, invoices cascade"
"""The rows that all blocks refer to stay, as they do for psql."""


def bench_load(rounds: int) -> None:
    """Measure rows a second, in turn on one server, each into empty tables; and memory at two sizes."""
    from dbtools.db.dsn import Dsn
    from dbtools.server.embedded import EmbeddedServer
    from dbtools.server.sources import find_binaries

    programs = find_binaries().bin
    environ = clean_environment()
    load = [sys.executable, "-m", "invoke", "load", "--as-of", AS_OF, "--scale"]
    peaks: dict[int, list[float]] = {LOAD_SCALE: [], 4 * LOAD_SCALE: []}
    times: dict[str, list[float]] = {"psql \\copy": [], "load": [], "load --workers 2": [], "pgbench -i": []}
    with EmbeddedServer.start() as server:
        dsn = Dsn.parse(server.url)
        environ |= {"DATABASE_URL": server.url, "PGPASSWORD": dsn.password}
        psql = [str(programs / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn.without_password().url]
        folder = server.directory / "data"  # removed with the server, also after kill -9
        commands, rows = write_copy(LOAD_SCALE, folder)
        copy = [*psql, *(word for line in commands for word in ("-c", line))]
        empty = [sys.executable, "-m", "invoke", "reset"]
        pgbench = [str(programs / "pgbench"), "-i", "-q", "-s", str(PGBENCH_SCALE), dsn.without_password().url]
        for _ in range(rounds):
            run(empty, environ | {"SEED_KNOWN_USERS_ONLY": "true"})
            taken, peak = run_measured([*load, str(LOAD_SCALE)], environ)
            times["load"].append(rows / taken)
            peaks[LOAD_SCALE].append(peak)
            run([*psql, "-c", CLEAR], environ)
            times["psql \\copy"].append(rows / seconds(partial(run, copy, environ)))
            run([*psql, "-c", CLEAR], environ)
            taken, _ = run_measured([*load, str(LOAD_SCALE), "--workers", "2"], environ)
            times["load --workers 2"].append(rows / taken)
            made = seconds(partial(run, pgbench, environ))
            times["pgbench -i"].append(100_000 * PGBENCH_SCALE / made)
        run([*psql, "-c", CLEAR], environ)
        peaks[4 * LOAD_SCALE].append(run_measured([*load, str(4 * LOAD_SCALE)], environ)[1])
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    ratios = {name: statistics.median(map(truediv, times[name], times["psql \\copy"])) for name in times}
    found = [(name, f"{median:.0f}", f"{ratios[name]:.2f}") for name, median in medians.items()]
    print(table((f"{rows} rows", "rows a second", "beside \\copy, pairwise"), found))
    print()
    sizes = [(str(scale), f"{statistics.median(peak):.0f} MiB") for scale, peak in peaks.items()]
    print(table(("scale of a load", "peak memory"), sizes))


def write_copy(scale: int, folder: Path) -> tuple[list[str], int]:
    """Write the bytes of a load as files; return the commands of psql that copy them in, and the number of rows."""
    from groombook.application import application

    content = application.load(scale, 42, dt.date.fromisoformat(AS_OF))
    commands, rows = [], 0
    for number in range(content.blocks):
        for text in content.block(number):
            file = folder / f"bench-{scale}-{text.table}"
            with file.open("ab") as lines:
                lines.write(text.data)
            rows += text.count
            commands.append(f"\\copy {text.table} ({', '.join(text.columns)}) from '{file}'")
    return [*dict.fromkeys(commands)], rows
