"""A first scenario file, of two commands or of the project's own steps. It runs as it is, and is meant to be edited.

Where it starts: the seed needs the tables without the rows, or it may find its work done. Migrations need an empty
database. All else starts from what `invoke reset` would install. Without a project, [start] is all there is.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.errors import UNCHANGED, ConfigurationError
from dbtools.races.scenario import SCHEMA
from dbtools.races.scenario_file import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dbtools.config import Project

STEPS = "dbtools.races.steps"
WHOLE, TABLES, EMPTY, NOTHING = (
    "from what a reset would install",
    "from the schema without the seed",
    "from an empty database",
    "from an empty database: [start] is to make the tables",
)
"""Where a scenario starts, in words."""
_START = {WHOLE: "snapshot = true", TABLES: f'snapshot = "{SCHEMA}"', EMPTY: "", NOTHING: '# file = "schema.sql"'}
_SHELL = re.compile(r"[|&;<>()$`*?~\n]|^\s*\w+=")
"""What only a shell understands; in a command without any, the words are the program and its arguments."""
_TEXT = """\
# To run it: {program} race.explore {name}
# All keys: docs/race-lab.md of dbtools.
title = {title}
# expect = "23505 jobs_pkey"          # the failure that has to be found; without it nothing may fail
# allow = ["exit 1"]                  # failures by design, which are no race

[start]
{start}
{actors}
# [invariants]                        # queries that return no row, whatever the order
# "one owner" = "select 1 from jobs group by id having count(owner) > 1"
"""


@dataclass(frozen=True)
class Draft:
    """A scenario file that is not written yet."""

    name: str
    title: str
    start: str
    """Where it starts, in words."""
    actors: tuple[tuple[str, str], ...]
    """The name of each, and its line."""

    def text(self, program: str) -> str:
        """Return the file's content; `program` is what runs the tasks: "dbtools"."""
        actors = "".join(f"\n[actors.{name}]\n{line}\n" for name, line in self.actors)
        start = f"{_START[self.start]}\n" if _START[self.start] else ""
        title = _quoted(self.title)
        return _TEXT.format(program=program, name=self.name, title=title, start=start, actors=actors.lstrip("\n"))


def from_commands(project: Project | None, commands: Sequence[str], folder: Path) -> Draft:
    """Return the scenario of two commands, which run in `folder`, each as a shell would read it.

    Raises:
        ConfigurationError: There are not two, or one of them cannot be read, or names no program.
    """
    if len(commands) != 2:
        raise ConfigurationError(
            f"race.init takes two commands, each in quotes, and was given {len(commands)}.",
            f"They are: {', '.join(map(repr, commands))}.",
            'For example: invoke race.init -- "npm run seed" "npm run seed"',
            UNCHANGED,
        )
    words = [_split(command, folder) for command in commands]
    roles = [_role(project, each) for each in words]
    start = NOTHING if project is None else EMPTY if "migrate" in roles else WHOLE
    if project is not None and start == WHOLE and "seed" in roles:
        start = TABLES if project.migrate else EMPTY
    first, second = map(_name, words)
    actors = (first, second) if first != second else ("first", "second")
    lines = tuple(
        (actor, _line(project, *each)) for actor, each in zip(actors, zip(words, roles, strict=True), strict=True)
    )
    return Draft(f"{first}-vs-{second}", f"{commands[0]} and {commands[1]}, at once", start, lines)


def from_steps(project: Project) -> list[Draft]:
    """Return the scenarios of the project's own steps: those of the seed twice, and a reset and the seed.

    Without a seed they are the migrations, twice.

    Raises:
        ConfigurationError: There are no steps but generated rows.
    """
    seeds = any(step.kind != "rows" for step in project.seed)
    if not seeds and not project.migrate:
        raise ConfigurationError(
            "The project has no steps that could race.",
            "Generated rows are written by dbtools itself, under its lock.",
            'Name two programs: invoke race.init -- "npm run seed" "npm run seed"',
            UNCHANGED,
        )
    if not seeds:
        return [_of_steps("migrate", "migrate", EMPTY, "Two runs of the project's migrations, at once")]
    start = TABLES if project.migrate else EMPTY
    drafts = [_of_steps("seed", "seed", start, "Two runs of the project's seed, at once")]
    if project.migrate:
        title = "A reset and the project's seed, at once, without a lock"
        drafts.append(_of_steps("reset", "seed", WHOLE, title))
    return drafts


def rename(drafts: Sequence[Draft], name: str) -> list[Draft]:
    """Return the only one of the drafts under another name.

    Raises:
        ConfigurationError: There are several, or no scenario can have the name.
    """
    if len(drafts) > 1:
        raise ConfigurationError(
            f"--name {name} cannot name {len(drafts)} scenarios.",
            f"The project's steps make {' and '.join(draft.name for draft in drafts)}.",
            "Leave out --name, or name two commands behind --.",
            UNCHANGED,
        )
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"--name cannot be {name!r}.",
            "A name consists of letters, digits, - and _, and begins and ends with a letter or a digit.",
            "For example: --name two-workers",
            UNCHANGED,
        )
    return [replace(drafts[0], name=name)]


def write(texts: Mapping[Path, str]) -> None:
    """Write files that do not exist yet: all of them or none.

    Raises:
        ConfigurationError: One exists, or cannot be written.
    """
    if there := [path for path in texts if os.path.lexists(path)]:
        raise ConfigurationError(
            f"{there[0]} exists already.",
            "race.init changes no file.",
            f"Run it: invoke race.explore {there[0].stem}; or name two commands, and another file: --name NAME",
            UNCHANGED,
        )
    written: list[Path] = []
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise ConfigurationError(
            f"{' and '.join(path.name for path in texts)} cannot be written to {next(iter(texts)).parent}.",
            f"{error.strerror}: {error.filename}.",
            "Make that writable, or take the lines from --dry-run.",
            UNCHANGED,
        ) from None


def _of_steps(first: str, second: str, start: str, title: str) -> Draft:
    names = (first, second) if first != second else ("first", "second")
    calls = tuple((name, f'call = "{STEPS}:{role}"') for name, role in zip(names, (first, second), strict=True))
    return Draft(f"{first}-vs-{second}", title, start, calls)


def _split(command: str, folder: Path) -> list[str]:
    """Return the words of a command; where only a shell understands it, those that call one."""
    if _SHELL.search(command):
        return ["sh", "-c", command]
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigurationError(
            f"The command {command!r} cannot be read.", f"{error}.", "Close the quotation mark.", UNCHANGED
        ) from None
    program = words[0] if words else ""
    if not program or not (shutil.which(program) or shutil.which(folder / program)):
        raise ConfigurationError(
            f"There is no program {program!r}.",
            f"Neither PATH nor {folder} has one that can be run.",
            'Put each command in quotes: invoke race.init -- "npm run seed" "npm run seed"',
            UNCHANGED,
        )
    return words


def _role(project: Project | None, words: Sequence[str]) -> str:
    """Return the role of the step that is this command: "migrate", "seed", or ""."""
    for role in ("migrate", "seed") if project else ():
        if any(step.kind == "command" and step.words == tuple(words) for step in getattr(project, role)):
            return role
    return ""


def _name(words: Sequence[str]) -> str:
    """Return what to call a command: by its last word that can be a name, as "seed" in npm run seed."""
    script = words[2].split()[:1] if words[:2] == ["sh", "-c"] else words
    return next((name for word in reversed(script) if NAME.fullmatch(name := Path(word).stem)), "program")


def _line(project: Project | None, words: Sequence[str], role: str) -> str:
    """Return the line that says what an actor runs; the only step of a role is run as that, with its variables."""
    if project and role and len(getattr(project, role)) == 1:
        return f'call = "{STEPS}:{role}"  # {" ".join(shlex.join(words).split())}'
    return f"command = [{', '.join(map(_quoted, words))}]"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML's escapes are those of JSON
