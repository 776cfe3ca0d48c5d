"""A reset as tables grow, and which sizes a server with the default settings has room for."""

from __future__ import annotations

from dbtools.server.embedded import EmbeddedServer
from scripts.bench.growth.figures import Chart
from scripts.bench.growth.site import Site, site

SIZES = (20, 100, 300, 1_000, 3_000)
ROWS = 10


def measure_tables(rounds: int) -> Chart:
    """Return the chart of resets, and of what becomes of them on a server with the default settings."""
    chart = Chart("tables", "tables", ("dbtools reset", "dbtools reset --in-place", "psql -1 of a dump"))
    with site() as project:
        for tables in SIZES:
            project.fill(tables, ROWS)
            for _ in range(rounds):
                chart.add(chart.methods[0], tables, project.time_reset())
                chart.add(chart.methods[1], tables, project.time_reset("--in-place"))
                chart.add(chart.methods[2], tables, project.time_replay())
            with EmbeddedServer.start() as plain:
                project.use(plain)
                _try_default(project, chart, tables)
            project.use(project.server)
    return chart


def _try_default(project: Site, chart: Chart, tables: int) -> None:
    """Note how each way to replace content of this size ends. The content is there first."""
    first = project.outcome(project.command())  # into an empty database
    commands = (project.command(), project.command("reset", "--in-place"), project.replay())
    for method, command in zip(chart.methods, commands, strict=True):
        chart.outcomes.setdefault(method, {})[tables] = project.outcome(command) if first == "done" else first
