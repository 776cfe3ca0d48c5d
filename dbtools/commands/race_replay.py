"""The tasks that run one schedule again, to see it fail or to look at it: race.replay, race.show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from dbtools import console
from dbtools.commands.common import handle_errors, option_help, parse_option, task
from dbtools.commands.race import HELP, draw_run, find_races
from dbtools.errors import VerificationFailed

if TYPE_CHECKING:
    from invoke.context import Context


@task(
    auto_shortflags=False,
    positional=["token"],
    help=option_help(
        "json",
        "debug",
        times="How many times to run it (default 1)",
        **{n: HELP[n] for n in ("token", "file", "server")},
    ),
)
@handle_errors
def replay(
    _context: Context,
    token: str,
    times: str = "",
    file: str = "",
    server: str = "",
    json: bool = False,
    debug: bool = False,
) -> None:
    """Run a token's schedule again.

    It runs on a fresh clone of the start state. Exit code 0 if every run fails as the scenario expects, or nothing
    fails and no failure is expected; 6 if not; 1 if the programs did something else than when the token was made (the
    message says at which step).

        invoke race.replay pgr1-6b9c558914fc-A1.B-6ad2 --times 100
    """
    from dbtools.races import report, store
    from dbtools.races.explore import replay as run
    from dbtools.server.sources import narrowed

    out = console.Console(quiet=json)
    project = find_races()
    wanted = narrowed(project.server, server)
    scenario = store.find_by_token(project, token, file, wanted.version)
    count = parse_option("--times", times, 1, low=1)
    runs = run(scenario, token, times=count, server=wanted, note=out.note)
    if count == 1:
        draw_run(runs[0].trace, scenario.title, token, "", "", out)
    for line in report.replayed(runs, token):
        out.say(line)
    if json:
        out.data(report.replayed_json(runs, token))
    for result in runs:
        store.require_same(project, token, result)
    if not all(report.is_expected(scenario, result) for result in runs):
        raise Exit(code=VerificationFailed.exit_code)


@task(
    auto_shortflags=False,
    positional=["token"],
    help=option_help(
        "debug",
        html="Write it as a self-contained page to this file",
        svg="Write it as an image to this file",
        **{name: HELP[name] for name in ("token", "file", "server")},
    ),
)
@handle_errors
def show(
    _context: Context,
    token: str,
    html: str = "",
    svg: str = "",
    file: str = "",
    server: str = "",
    debug: bool = False,
) -> None:
    """Draw a token's run.

    Which program ran what, which waited for which, and where it failed. With a scenario's name in the place of the
    token, its programs run one after the other.

        invoke race.show TOKEN --html race.html
    """
    from dbtools.races import store
    from dbtools.races import token as tokens
    from dbtools.races.explore import replay as run
    from dbtools.races.result import encode
    from dbtools.server.sources import narrowed

    out = console.Console()
    project = find_races()
    wanted = narrowed(project.server, server)
    if tokens.is_token(token):
        scenario = store.find_by_token(project, token, file, wanted.version)
        choices = [token]
    else:
        scenario = store.find(project, token)
        choices = [encode(scenario, wanted.version, ((first, None),)) for first in range(len(scenario.actors))]
    if scenario.about and not html and not svg:
        out.say(f"{scenario.about}\n")
    for token in choices:  # the first one that can be run: an actor may send no SQL
        found = run(scenario, token, server=wanted, note=out.note)[0]
        if not found.diverged:
            break
    draw_run(found.trace, scenario.title, token, html, svg, out)
    if found.diverged:
        out.say(f"The run ends here: {found.diverged}.")
    sent = {step.actor for step in found.trace.steps}
    if silent := [actor.name for actor in scenario.actors if actor.name not in sent]:
        out.say(f"{', '.join(silent)} sent no SQL.")
