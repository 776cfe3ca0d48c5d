"""The task that writes the table [tool.dbtools] of a project that has none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools import console
from dbtools.commands.common import handle_errors, option_help, task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from invoke.context import Context

    from dbtools.init.survey import Survey


@task(
    auto_shortflags=False,
    help=option_help("json", "debug", **{"dry-run": "Print what would be written, and write nothing"}),
)
@handle_errors
def init(_context: Context, dry_run: bool = False, json: bool = False, debug: bool = False) -> None:
    """Look at the project, and write [tool.dbtools].

    Writes a tasks.py as well, for Invoke. Finds what migrates and what seeds by the project's own files, and says what
    it found, what it guessed and from what, and what it did not find. Runs nothing of the project. Adds to a
    pyproject.toml at its end, or makes one; all that is there already stays as it is.

        dbtools init --dry-run
        dbtools init
    """
    from dbtools.init import write
    from dbtools.init.survey import survey
    from dbtools.init.table import text

    out = console.Console(quiet=json)
    root = Path.cwd()
    there = write.find_table(root)
    if there is not None:
        out.say(f"{there} has a table [tool.dbtools] already. Nothing was changed.")
        _end(out, [f"Next: {console.program()} reset"], json=json, table=None, findings=[], written=[])
        return
    found = survey(root)
    planned = write.plan(root, text(found.table, found.guesses))
    for finding in found.findings:
        out.say(str(finding))
    out.say()
    if dry_run:
        out.say(f"To the end of pyproject.toml:\n\n{text(found.table, found.guesses)}")
        if not planned.tasks_there:
            out.say(f"As tasks.py:\n\n{write.TASKS}")
        ending = [f"Nothing was written. Next: {console.program()} init"]
    else:
        write.write(planned)
        out.done(f"Wrote [tool.dbtools] {'into a new' if planned.before is None else 'at the end of'} pyproject.toml")
        if not planned.tasks_there:
            out.done("Wrote tasks.py")
        elif write.NAMESPACE not in _text(root / "tasks.py"):
            out.say(f"Left {planned.tasks_there} as it is. For these tasks in Invoke, add: {write.NAMESPACE}")
        ending = [*_next(found)]
    _end(
        out,
        ending,
        json=json,
        table=found.table,
        findings=[finding.to_json() for finding in found.findings],
        written=[] if dry_run else planned.names,
    )


def _end(out: console.Console, ending: list[str], *, json: bool, **facts: object) -> None:
    for line in ending:
        out.say(line)
    if json:
        out.data(facts | {"next": ending})


def _next(found: Survey) -> Iterator[str]:
    """Yield what to type next, and on which database that works."""
    yield f"Next{'' if found.has_server else ', once there is a PostgreSQL'}: {console.program()} reset"
    if os.environ.get("DATABASE_URL"):
        yield "It rebuilds the database that DATABASE_URL names."
        return
    if found.has_server:
        yield "DATABASE_URL is not set, so it rebuilds the database of dbtools' own server."
    if found.compose is not None and found.compose.port:
        yield f"For that of {found.compose.path}: DATABASE_URL={found.compose.url}"


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.is_file() else ""
