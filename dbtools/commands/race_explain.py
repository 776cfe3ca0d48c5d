"""The task that names a race's anomaly and tries cures of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools import console
from dbtools.commands.common import handle_errors, option_help, parse_option, task
from dbtools.commands.race import HELP, draw_run, find_races
from dbtools.errors import DbtoolsError

if TYPE_CHECKING:
    from invoke.context import Context


@task(
    auto_shortflags=False,
    positional=["token"],
    help=option_help(
        "json",
        "debug",
        bound="Maximum number of switches of the schedules for each cure (default 2, or as many as the run has)",
        schedules="Maximum number of these schedules (default 1000)",
        seconds="End the trial of each cure after this many seconds (default: no limit)",
        html="Write the run as a page, with the anomaly, to this file",
        **{name: HELP[name] for name in ("token", "file", "server")},
    ),
)
@handle_errors
def explain(
    _context: Context,
    token: str,
    bound: str = "",
    schedules: str = "",
    seconds: str = "",
    html: str = "",
    file: str = "",
    server: str = "",
    json: bool = False,
    debug: bool = False,
) -> None:
    """Name a race's anomaly, and try cures of it.

    Shows what depends on what in the token's run. The cures, tried on the unmodified programs: REPEATABLE READ and
    SERIALIZABLE as the role's default, an advisory lock around each transaction and around each program, and, where
    rows were inserted twice, a unique index. Exit code 0, whatever helps; 1 if the run does not fail.

        invoke race.explain pgr1-6b9c558914fc-A1.B-6ad2
    """
    from dbtools.races import report, store
    from dbtools.races.explore import SCHEDULES
    from dbtools.races.explore import explain as run
    from dbtools.server.sources import narrowed

    out = console.Console(quiet=json)
    project = find_races()
    wanted = narrowed(project.server, server)
    scenario = store.find_by_token(project, token, file, wanted.version)
    found = run(
        scenario,
        token,
        bound=parse_option("--bound", bound, 0, low=0) if bound else None,
        schedules=parse_option("--schedules", schedules, SCHEDULES, low=1),
        seconds=parse_option("--seconds", seconds, float("inf"), low=0),
        server=wanted,
        note=out.note,
    )
    if found.anomaly is None:
        raise DbtoolsError(
            f"There is nothing to explain in the run of {token}.",
            f"It ended so: {found.run.ended}.",
            "Find a race first: invoke race.explore",
        )
    draw_run(found.run.trace, scenario.title, token, html, "", out, found.anomaly)
    for line in report.explained(found):
        out.say(line)
    if json:
        out.data(report.explained_json(found, scenario, token))
