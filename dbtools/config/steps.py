"""The steps that make a database's content, as [tool.dbtools] `migrate` and `seed` write them.

A step is one of

    "alembic"                                   the project's Alembic, found by its alembic.ini or [tool.alembic]
    ["npx", "drizzle-kit", "migrate"]           a command: the program and its arguments, without a shell
    { alembic = "db/alembic.ini" }              the Alembic of that file
    { command = ["npm", "run", "migrate"] }     a command
    { sql = "db/*.sql" }, { sql = [...] }       files that psql runs, each pattern's in the order of their names
    { call = "package.module:function" }        a function of the project
    { rows = "package.module:object" }          rows that an application generates; in `seed`, once

and each table may also say `cwd`, `env` and `timeout` (not with `rows`). Paths count from the step's `cwd`, and that
from the project's root, which it is if left out. In `env` and in the words of a command, {url}, {host}, {port}, {user},
{password} and {dbname} stand for the step's database.

`migrate` and `seed` take one step, or a list of steps. A list of nothing but strings is *one command*; a list that
holds a table or a list is a list of steps. [] is no step.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dbtools.db.secrets import mask
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtools.config.entry import Entry

Kind = Literal["alembic", "command", "sql", "call", "rows"]
KINDS: tuple[Kind, ...] = ("alembic", "command", "sql", "call", "rows")
OPTIONS = ("cwd", "env", "timeout")
MAX_TITLE_CHARACTERS = 72
_OBJECT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class Step:
    """One step: what runs, where, with which variables, and for how long at most."""

    kind: Kind
    words: tuple[str, ...]
    """The program and its arguments; patterns of files, or Alembic's file, from the project's root, or () where Alembic
    finds it; or one "package.module:function"."""
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Its own variables, with placeholders such as {dbname} still in them."""
    timeout_s: float | None = None

    @property
    def title(self) -> str:
        """What people see: "alembic", "python -m app.initial_data", "sql db/*.sql". Holds no password."""
        text = shlex.join(self.words) if self.kind == "command" else " ".join((self.kind, *self.words))
        text = mask(" ".join(text.split()))
        return text if len(text) <= MAX_TITLE_CHARACTERS else f"{text[: MAX_TITLE_CHARACTERS - 1]}…"


def read_steps(entry: Entry, *, has_alembic: bool) -> tuple[Step, ...]:
    """Return the steps of `migrate` or `seed`. `has_alembic`: the root's pyproject.toml has a [tool.alembic].

    Raises:
        ConfigurationError: It is not of a form that the docstring of this module shows.
    """
    value = entry.value
    if not isinstance(value, list) or (value and all(isinstance(item, str) for item in value)):
        entries = [entry]
    else:
        entries = [entry.below(f"step {number}", item) for number, item in enumerate(value, 1)]
    steps = tuple(_read_step(item, entry.key, has_alembic=has_alembic) for item in entries)
    if entry.key != "seed" and any(step.kind == "rows" for step in steps):
        raise entry.refuse("no rows here: they are a seed", f'seed = {{ rows = "{_rows(steps)}" }}')
    if sum(step.kind == "rows" for step in steps) > 1:
        raise entry.refuse("one step of rows at most", f'seed = {{ rows = "{_rows(steps)}" }}')
    return steps


def _rows(steps: tuple[Step, ...]) -> str:
    return next(step.words[0] for step in steps if step.kind == "rows")


def _read_step(entry: Entry, key: str, *, has_alembic: bool) -> Step:
    root, value = entry.path.parent, entry.value
    if value == "alembic":
        if not has_alembic and not (root / "alembic.ini").is_file():
            raise _no_migrations(entry.path)
        return Step("alembic", (), root)
    if isinstance(value, str):
        raise entry.refuse(
            'a list for a command, a table for anything else; "alembic" alone is a word', f"{key} = {_meant(value)}"
        )
    if isinstance(value, list):
        return Step("command", _command(entry), root)
    if not isinstance(value, dict):
        raise entry.refuse("a step or a list of steps", f'{key} = ["npm", "run", "{key}"]')
    entry.check_keys((*KINDS, *OPTIONS))
    kinds = [kind for kind in KINDS if kind in value]
    if len(kinds) != 1:
        raise entry.refuse(
            f"exactly one of the keys {', '.join(KINDS)}", f'{key} = {{ command = ["npm", "run", "{key}"] }}'
        )
    return _read_table(entry, kinds[0])


def _read_table(entry: Entry, kind: Kind) -> Step:
    root, value = entry.path.parent, entry.value
    if kind == "rows" and len(value) > 1:
        raise entry.refuse(f"none of {', '.join(OPTIONS)} beside rows", 'seed = { rows = "app.seed:application" }')
    folder = entry.below("cwd", value["cwd"]).text("a folder", 'cwd = "backend"') if "cwd" in value else ""
    cwd = Path(os.path.normpath(root / folder))
    words = _words(entry.below(kind, value[kind]), kind, cwd)
    env = entry.below("env", value["env"]).variables() if "env" in value else {}
    timeout_s = None
    if "timeout" in value:
        timeout_s = entry.below("timeout", value["timeout"]).seconds("timeout = 600", positive=True)
    return Step(kind, words, cwd, env, timeout_s)


def _words(entry: Entry, kind: Kind, cwd: Path) -> tuple[str, ...]:
    root = entry.path.parent
    if kind == "command":
        return _command(entry)
    if kind == "alembic":
        example = 'migrate = { alembic = "db/alembic.ini" }'
        word = entry.text("the path of an alembic.ini", example)
        if not (cwd / word).is_file():
            raise entry.refuse(f"a file that exists, and {cwd / word} does not", example)
        return (os.path.relpath(cwd / word, root),)
    if kind == "sql":
        example = 'seed = { sql = ["db/schema.sql", "db/seed/*.sql"] }'
        wanted = "a pattern of files, or a list of such"
        patterns = entry.texts(wanted, example) if isinstance(entry.value, list) else (entry.text(wanted, example),)
        if not patterns:
            raise entry.refuse(wanted, example)
        return tuple(os.path.relpath(cwd / pattern, root) for pattern in patterns)
    example = f'seed = {{ {kind} = "app.seed:{"run" if kind == "call" else "application"}" }}'
    word = entry.text('"package.module:name"', example)
    if not _OBJECT.fullmatch(word):
        raise entry.refuse('"package.module:name"', example)
    return (word,)


def _command(entry: Entry) -> tuple[str, ...]:
    value, example = entry.value, '["npm", "run", "migrate"]'
    if not isinstance(value, list) or not value:
        meant = json.dumps(_split(value)) if isinstance(value, str) and value.strip() else example
        raise entry.refuse("a list: the program and its arguments", meant)
    for number, word in enumerate(value):
        if not isinstance(word, str) or "\0" in word or not (word or number):
            raise entry.refuse("a list of texts: the program and its arguments", example)
    return tuple(value)


def _meant(text: str) -> str:
    """Return how to write what somebody meant by a bare text."""
    if _OBJECT.fullmatch(text):
        return f'{{ call = "{text}" }}'
    if text.endswith(".ini"):
        return f"{{ alembic = {json.dumps(text)} }}"
    if text.endswith(".sql"):
        return f"{{ sql = {json.dumps(text)} }}"
    return json.dumps(_split(text), ensure_ascii=False) if text.strip() else '"alembic"'


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quotation mark without its second
        return text.split()


def _no_migrations(path: Path) -> ConfigurationError:
    """Return the error for a project whose Alembic is not where it is looked for."""
    return ConfigurationError(
        f"[tool.dbtools] in {path} does not say how the database is migrated.",
        f"{path.parent} has neither an alembic.ini nor a [tool.alembic] in its pyproject.toml, and dbtools looks for"
        " Alembic nowhere else.",
        'Write one of: migrate = { alembic = "alembic.ini", cwd = "backend" }; '
        'migrate = ["npx", "drizzle-kit", "migrate"]; migrate = { sql = "db/*.sql" }',
        UNCHANGED,
    )


def first_edition(path: Path, table: Mapping[str, Any], *, has_alembic: bool) -> ConfigurationError:
    """Return the error for a table with the keys of the first edition. It shows the lines that replace them."""
    old = [key for key in ("application", "migrations") if key in table]
    lines = []
    if "migrations" in table and not has_alembic and not (path.parent / "alembic.ini").is_file():
        script_location = json.dumps(f"%(here)s/{table['migrations']}")
        lines.append(f'migrate = "alembic" (with [tool.alembic] script_location = {script_location})')
    elif "migrations" in table:
        lines.append('migrate = "alembic"')
    if "application" in table:
        lines.append(f"seed = {{ rows = {json.dumps(table['application'])} }}")
    return ConfigurationError(
        f"[tool.dbtools] in {path} has {'keys' if len(old) > 1 else 'a key'} of the first edition: {', '.join(old)}.",
        "The table now names the steps that make the database's content, and Alembic's own settings say where its"
        " migrations are.",
        f"Write instead: {'; '.join(lines)}",
        UNCHANGED,
    )
