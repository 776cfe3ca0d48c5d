"""What to do about a failed step, where the last lines that it printed say why it failed."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from dbtools.db.sql import quote

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dbtools.config import Project
    from dbtools.config.steps import Step

NO_REVISION = 'Write one: alembic revision -m "first"; or, if they are elsewhere: version_locations in alembic.ini'
# SQLAlchemy looks for psycopg2 where a URL names no driver, also in an environment that has another one.
_NO_DRIVER = re.compile(r"No module named '?psycopg2?\b|requires an async driver")
_NO_MODULE = re.compile(r"^ModuleNotFoundError: No module named '(\w+)", re.MULTILINE)
_NOT_PYTHON = re.compile(r"^(?:SyntaxError|IndentationError|TabError): ", re.MULTILINE)
_NO_VARIABLE = re.compile(
    r'File "(?:<frozen os>|.*[/\\]os\.py)", line \d+, in __getitem__\n(?:.*\n)*?KeyError: \'(\w+)\''  # os.environ[...]
    r"|UndefinedValueError: (\w+) not found"  # python-decouple
    r'|Environment variable "(\w+)" not set'  # environs
)
_NO_SETTINGS = re.compile(r"validation errors? for \w*(?:Settings|Config)\w*$", re.MULTILINE)  # pydantic-settings
_NO_SETTING = re.compile(r"^(\w+)\n +Field required", re.MULTILINE)
_REFUSED = "dbtools refused a connection to "  # lead.cjs
_EXTENSION = re.compile(r'extension "([^"]+)" is not available|permission denied to create extension "([^"]+)"')


def find_hint(step: Step, lines: Sequence[str], project: Project, interpreter: Path) -> str:
    """Return what to do about a step that ended with an error and these last lines; "" where they do not tell.

    `interpreter` is the project's Python.
    """
    text = "\n".join(line.rstrip() for line in lines)
    if _NO_DRIVER.search(text) and step.kind != "sql":
        return (
            f"It ran in {interpreter}. Install the driver there; or, if that has another one, name it: [tool.dbtools]"
            ' env = { DATABASE_URL = "postgresql+asyncpg://{user}@{host}:{port}/{dbname}" };'
            ' or, if it is the wrong Python, that of the project: python = ".venv/bin/python"'
        )
    if (found := _NO_MODULE.search(text)) and _runs_in(step, interpreter):
        return _about_module(found[1], step, project, interpreter)
    if _REFUSED in text:
        return (
            "Have it take its database from DATABASE_URL, which no .env file may override, or map its variables:"
            ' [tool.dbtools] env = { DB_NAME = "{dbname}", DB_HOST = "{host}", DB_PORT = "{port}" }'
        )
    if names := _missing_variables(text):
        given, listed = (", ".join(form.format(name) for name in names) for form in ("{}=...", '{} = "..."'))
        prefix = " (after its env_prefix, if it has one)" if _NO_SETTINGS.search(text) else ""
        return f"Give it {given}{prefix} in the environment, or [tool.dbtools] env = {{ {listed} }}"
    if _NOT_PYTHON.search(text):
        return "Correct that line, and run this again."
    if "Path doesn't exist" in text and step.kind == "alembic" and step.words:
        folder, name = os.path.split(step.words[0])
        return f'If its paths count from its own folder: {{ alembic = "{name}", cwd = "{folder or "."}" }}'
    return _about_extension(text, project)


def _missing_variables(text: str) -> list[str]:
    """Return the variables that a program asked for and was not given."""
    if _NO_SETTINGS.search(text):
        return [name.upper() for name in _NO_SETTING.findall(text)]
    found = _NO_VARIABLE.search(text)
    return [next(filter(None, found.groups()))] if found else []


def _runs_in(step: Step, interpreter: Path) -> bool:
    """Return whether a step is a program of that Python: its own commands are the first on the step's PATH."""
    if step.kind == "command":
        return os.sep not in step.words[0] and (interpreter.parent / step.words[0]).is_file()
    return step.kind in ("alembic", "call")


def _about_module(name: str, step: Step, project: Project, interpreter: Path) -> str:
    """Return what to do about a module that was not found: the project's own, or a package."""
    for folder in (step.cwd, step.cwd / "src", project.root, project.root / "src"):
        if (folder / name).is_dir() or (folder / f"{name}.py").is_file():
            path = os.path.relpath(folder, step.cwd)
            return (
                f"It ran in {interpreter}. {name} is in the project: install that there, or have Python look for it:"
                f' [tool.dbtools] env = {{ PYTHONPATH = "{path}" }}'
            )
    return (
        f"It ran in {interpreter}. Install {name} there; or, if it is the wrong Python, name that of the project:"
        ' [tool.dbtools] python = ".venv/bin/python"'
    )


def _about_extension(text: str, project: Project) -> str:
    """Return what to do where the server has not the extension that a step makes, or not for its role; else ""."""
    found = [*_EXTENSION.finditer(text)]
    if not found:
        return ""
    missing, forbidden = found[-1].groups()
    if (missing or forbidden) in project.server.extensions:
        return ""
    listed = json.dumps([*project.server.extensions, missing or forbidden])
    own = f"install {missing} there" if missing else f"as a superuser: create extension {quote(forbidden)};"
    return f"On a server that dbtools starts: [tool.dbtools.server] extensions = {listed}; on one of your own, {own}"
