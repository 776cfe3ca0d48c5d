"""A reset and a clone as rows grow."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

from scripts.bench.growth.figures import Chart
from scripts.bench.growth.site import Site, site
from scripts.bench.measure import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = (1_000, 10_000, 100_000, 1_000_000)
LARGEST = 10_000_000
BYTES_A_ROW = 700
"""Room that a row takes at most: old and new tables, a template, its copies, and the write-ahead log."""
TABLES = 10


def measure_rows(rounds: int, *, full: bool) -> Iterator[Chart]:
    """Yield the charts of resets and of clones."""
    resets = Chart("reset", "rows", ("dbtools reset", "psql -1 of a dump"))
    clones = Chart("clone", "rows", ("clone by dbtools", "CREATE DATABASE … TEMPLATE"))
    for rows in (*SIZES, *([LARGEST] if full else [])):
        with site() as project:
            free = min(shutil.disk_usage(folder).free for folder in (project.root, project.server.directory))
            if free < rows * BYTES_A_ROW:
                print(f"{rows:,} rows are left out: they take {rows * BYTES_A_ROW >> 30} GiB, {free >> 30} are free")
                break
            project.fill(TABLES, rows // TABLES)
            for _ in range(rounds):
                resets.add(resets.methods[0], rows, project.time_reset())
                resets.add(resets.methods[1], rows, project.time_replay())
            _clone(project, clones, rows, rounds)
    yield resets
    yield clones


def _clone(project: Site, chart: Chart, rows: int, rounds: int) -> None:
    """Measure the copy that a sandbox or a test gets."""
    from dbtools.build.template import Owner, copy
    from dbtools.clones.wanted import Wanted, make_template
    from dbtools.config import Project
    from dbtools.db.databases import drop_database
    from dbtools.db.dsn import Dsn

    with Owner(Dsn.parse(project.server.url)) as owner:
        session, made = owner.session, owner.new_name()
        template = make_template(owner, Project.find(project.root), Wanted(), lambda _: None).name
        by_hand = f"create database {made} template {template} strategy file_copy"
        for _ in range(2 * rounds):
            chart.add(chart.methods[0], rows, seconds(partial(copy, session, template, made)))
            drop_database(session, made)
            chart.add(chart.methods[1], rows, seconds(partial(session.execute, by_hand)))
            drop_database(session, made)
