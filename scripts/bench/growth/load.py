"""A load as its scale grows."""

from __future__ import annotations

import sys
from functools import partial

from scripts.bench.growth.figures import Chart
from scripts.bench.growth.site import site
from scripts.bench.load import CLEAR, write_copy
from scripts.bench.measure import AS_OF, run, run_measured, seconds

SCALES = (1, 3, 10)
LARGER = (50, 170)
"""The last one has about ten million rows."""


def measure_load(rounds: int, *, full: bool) -> Chart:
    """Return the chart of loads of the sample application."""
    chart = Chart("load", "rows", ("invoke load", "psql \\copy"))
    load = [sys.executable, "-m", "invoke", "load", "--as-of", AS_OF, "--scale"]
    with site() as project:
        environ, psql = project.environ, project.psql
        empty = [sys.executable, "-m", "invoke", "reset"]
        run(empty, environ | {"SEED_KNOWN_USERS_ONLY": "true"})
        for scale in (*SCALES, *(LARGER if full else ())):
            commands, rows = write_copy(scale, project.root)
            copy = [*psql, *(word for line in commands for word in ("-c", line))]
            for _ in range(rounds):
                chart.add(chart.methods[0], rows, run_measured([*load, str(scale)], environ)[0])
                run([*psql, "-c", CLEAR], environ)
                chart.add(chart.methods[1], rows, seconds(partial(run, copy, environ)))
                run([*psql, "-c", CLEAR], environ)
            for file in project.root.glob("bench-*"):
                file.unlink()
    return chart
