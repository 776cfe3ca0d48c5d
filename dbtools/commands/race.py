"""Tasks of the race lab: race.list, race.explore, and what those of a token share with them."""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from dbtools import config, console
from dbtools.commands.common import find_project, handle_errors, option_help, parse_option, task

if TYPE_CHECKING:
    from invoke.context import Context

    from dbtools.races.anomaly import Anomaly
    from dbtools.races.trace import Trace

HELP = {
    "scenario": "A scenario of the project (invoke race.list), or a file: my-race.toml",
    "token": "A token that race.explore printed",
    "file": "The scenario's file, if it is not in the project's folder of races",
    "server": "Major version of the throwaway PostgreSQL, or a folder of its programs (default: that of the project)",
}


@task(name="list", auto_shortflags=False, help=option_help("json", "debug"))
@handle_errors
def race_list(_context: Context, json: bool = False, debug: bool = False) -> None:
    """List the project's races.

    Each scenario and its variants, and the expected result of each.

        invoke race.list
    """
    from dbtools.races import store

    out = console.Console(quiet=json)
    project = find_races()
    found = store.names(project)
    out.say(console.table(("scenario", "what", "expected"), found) if found else f"No scenario in {project.races}.")
    if json:
        out.data({"scenarios": [dict(zip(("name", "title", "expected"), row, strict=True)) for row in found]})


@task(
    auto_shortflags=False,
    positional=["scenario"],
    help=option_help(
        "json",
        "debug",
        scenario=HELP["scenario"],
        variant="A variant of it (invoke race.list)",
        unlocked="Short for --variant unlocked",
        bound="Maximum number of switches away from a program that could go on (default 2, then 3 for up to a minute)",
        schedules="Maximum number of schedules to try within the bound (default 1000)",
        seconds="End the search after this many seconds, also within a schedule (default: no limit)",
        random="Number of schedules to try afterwards by random walk, as many by PCT and as many by POS (default 0)",
        depth="The depth of races that PCT looks for: one more than the switches a race takes (default 3)",
        seed="The seed of the random schedules (default 0)",
        every="Also run schedules that are left out because others show how they end",
        jobs="Number of schedules to run at the same time, each on a server of its own (default 1)",
        shard="Try this part alone: 3/8 is the third of eight, job/8 that of JOB_COMPLETION_INDEX (see race.merge)",
        server=HELP["server"],
        html="Write the failing run as a page to this file",
        svg="Write the failing run as an image to this file",
    ),
)
@handle_errors
def explore(
    _context: Context,
    scenario: str,
    variant: str = "",
    unlocked: bool = False,
    bound: str = "",
    schedules: str = "",
    seconds: str = "",
    random: str = "",
    depth: str = "",
    seed: str = "",
    every: bool = False,
    jobs: str = "",
    shard: str = "",
    server: str = "",
    html: str = "",
    svg: str = "",
    json: bool = False,
    debug: bool = False,
) -> None:
    """Find the race in a scenario, and its token.

    Interleaves the scenario's programs in every order up to a bound. Each schedule runs on a fresh clone of the start
    state, on a throwaway PostgreSQL, never on DATABASE_URL. Exit code 0 if the result is the one that the scenario
    expects (nothing fails, or the failure it names does occur), 6 if it is not, 1 if it is inconclusive. With --shard,
    it is 0 as well if that part was tried and nothing fails in it: race.merge says what all of them prove.

        invoke race.explore reset-vs-seed --unlocked
        invoke race.explore my-race.toml --bound 1 --html race.html
    """
    from dbtools.races import report, store
    from dbtools.races.explore import DEPTH, SCHEDULES
    from dbtools.races.explore import explore as run
    from dbtools.races.result import Verdict
    from dbtools.races.shards import Shard
    from dbtools.server.sources import narrowed

    out = console.Console(quiet=json)
    project = find_races()
    numbers = {
        name: parse_option(f"--{name}", text, default, low=low)
        for name, text, low, default in (
            ("schedules", schedules, 1, SCHEDULES),
            ("random", random, 0, 0),
            ("depth", depth, 1, DEPTH),
            ("seed", seed, 0, 0),
            ("jobs", jobs, 1, 1),
        )
    }
    part = Shard(*config.parse_shard(shard))
    most = parse_option("--bound", bound, 0, low=0) if bound else None
    limit = parse_option("--seconds", seconds, float("inf"), low=0)
    wanted = store.find(project, scenario, variant or ("unlocked" if unlocked else ""))
    on = narrowed(project.server, server)
    found = run(wanted, bound=most, seconds=limit, every=every, shard=part, server=on, note=out.note, **numbers)
    if found.failing:
        draw_run(found.failing.trace, wanted.title, found.token, html, svg, out, found.anomaly)
    if found.failing and found.verdict is Verdict.VIOLATED:
        try:
            store.save(project, wanted, found.token, found.failing.trace)
        except OSError as error:
            out.note(f"The run is not stored ({error.strerror}: {error.filename}); name its file to replay it: --file")
    for line in report.verdict(found):
        out.say(line)
    if json:
        out.data(report.to_json(found))
    if found.exit_code:
        raise Exit(code=found.exit_code)


def find_races() -> config.Project:
    """Return the project of this folder; without one, a folder with scenarios will do."""
    try:
        return find_project()
    except config.NoProject:
        return config.Project(Path.cwd(), races=Path.cwd() / "races")


def draw_run(
    trace: Trace, title: str, token: str, html: str, svg: str, out: console.Console, anomaly: Anomaly | None = None
) -> None:
    """Draw a run into the named files; if there are none, print it as text."""
    from dbtools.races import render

    for file, draw in ((html, partial(render.html, anomaly=anomaly)), (svg, render.svg)):
        if file:
            Path(file).write_text(draw(trace, title=title, token=token), "utf-8")
            out.note(f"Written: {file}")
    if not html and not svg:
        size = shutil.get_terminal_size((120, 24)).columns
        color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        out.say(render.text(trace, token=token, width=size, color=color))
        out.say()
