"""The task that puts the reports of shards together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from dbtools import console
from dbtools.commands.common import handle_errors, option_help, task
from dbtools.errors import NOT_RUN, ConfigurationError

if TYPE_CHECKING:
    from invoke.context import Context


@task(
    auto_shortflags=False,
    iterable=["file"],
    help=option_help("json", "debug", file="What race.explore --json printed for a shard; --file may be left out"),
)
@handle_errors
def merge(_context: Context, file: list[str], json: bool = False, debug: bool = False) -> None:
    """Put the reports of shards together.

    Each is what race.explore --shard --json printed. All must be there once, with the same options, and give one
    verdict: violated if one of them is, with the token of the failure with the fewest switches; held only if each shard
    tried its part, and what has to be seen was seen in one of them. Exit codes as those of race.explore. Starts no
    server. Every word after the task's name is read as a file or an option, so no other task can follow.

        invoke race.merge shards/*.json
    """
    from dbtools.races import merge, report, shard_report

    if not file:
        raise ConfigurationError(
            "There is nothing to merge.",
            "No report was named.",
            "Name what race.explore --json wrote for each shard: invoke race.merge shards/*.json",
            NOT_RUN,
        )
    out = console.Console(quiet=json)
    merged = merge.merge([shard_report.read(Path(path)) for path in file])
    for line in report.merged(merged):
        out.say(line)
    if json:
        out.data(report.merged_json(merged))
    if merged.exit_code:
        raise Exit(code=merged.exit_code)
