"""The task that writes a first scenario file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools import config, console
from dbtools.commands.common import find_project, handle_errors, option_help, remainder, task

if TYPE_CHECKING:
    from invoke.context import Context


@task(
    auto_shortflags=False,
    help=option_help(
        "json",
        "debug",
        name="The scenario's name, and that of its file (default: from the commands)",
        **{"dry-run": "Print what would be written, and write nothing"},
    ),
)
@handle_errors
def init(_context: Context, name: str = "", dry_run: bool = False, json: bool = False, debug: bool = False) -> None:
    """Write a first scenario file.

    It is for two commands, or for the project's own steps, as a start. The commands stand behind --, each in quotes.
    Without any, the scenarios are of the steps in [tool.dbtools]: the seed twice, and a reset and the seed, without
    dbtools' lock. Runs nothing, and changes no file that exists.

        invoke race.init -- "npm run seed" "npm run seed"
        invoke race.init --dry-run
    """
    from dbtools.races import draft

    out, root = console.Console(quiet=json), Path.cwd()
    project: config.Project | None = None
    commands = remainder(sys.argv)
    try:
        project = find_project()
    except config.NoProject as error:
        if not commands:
            error.hint = f'Name two commands: invoke race.init -- "npm run seed" "npm run seed". {error.hint}'
            raise
    folder = project.races if project else root
    if project and not commands:
        drafts = draft.from_steps(project)
    else:
        drafts = [draft.from_commands(project, commands, project.root if project else root)]
    drafts = draft.rename(drafts, name) if name else drafts
    texts = {folder / f"{each.name}.toml": each.text(console.program()) for each in drafts}
    if not dry_run:
        draft.write(texts)
    for (path, text), each in zip(texts.items(), drafts, strict=True):
        shown = path.relative_to(root) if path.is_relative_to(root) else path
        out.say(f"{shown}: {each.title}. It starts {each.start}.")
        if dry_run:
            out.say(f"\n{text}")
        else:
            out.done(f"Wrote {shown}")
    following = [f"{console.program()} race.explore {each.name}" for each in drafts]
    out.say("Nothing was written." if dry_run else f"Next: {following[0]}")
    if json:
        files = {str(path): text for path, text in texts.items()}
        out.data({"files": files, "written": not dry_run, "next": following})
