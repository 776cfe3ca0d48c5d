"""Alembic: which alembic.ini a project runs, from which folder, and whether it is Flask-Migrate's."""

from __future__ import annotations

import configparser
import re
from typing import TYPE_CHECKING

from dbtools.init.files import folder_of, join
from dbtools.init.found import Steps, command, in_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.init.files import Files
    from dbtools.init.found import Value

_FLASK = re.compile(r"\bcurrent_app\b")
_LEDGER = re.compile(r"version_table(?:_schema)?\s*=\s*[\"']?([\w.]+)")


def find_alembic(files: Files) -> Iterator[Steps]:
    """Yield what Alembic would run: one step, or several where each has a ledger of its own."""
    inis = [ini for ini in files.find("alembic.ini", "alembic*.ini") if not is_flask(files, ini)]
    found = [(ini, _step(files, ini)) for ini in inis]
    tables = [path for path in files.find("pyproject.toml") if "alembic" in files.tools(path)]
    for path in tables:
        folder = folder_of(path)
        if not any(folder_of(ini) == folder for ini in inis):
            value: Value = "alembic" if folder == "." else command(["alembic", "upgrade", "heads"], folder)
            found.append((path, value))
    found.sort(key=lambda one: (one[0].count("/"), one[0]))
    folders = {folder_of(_env(files, ini)) for ini in files.find("alembic.ini", "alembic*.ini")}
    for mako in files.find("script.py.mako") if not tables else ():
        if folder_of(mako) not in folders:
            what = "Alembic without an alembic.ini, which the application's own command runs"
            yield Steps(what, (mako,), None, folder_of(mako))
    ledgers = {_ledger(files, path) for path, _ in found}
    if len(found) > 1 and len(ledgers) == len(found):
        values = [value for _, value in found]
        yield Steps("Alembic", tuple(path for path, _ in found), values, folder_of(found[0][0]), sure=False)
        return
    for path, value in found:
        yield Steps("Alembic", (path,), value, folder_of(path), sure=len(found) == 1)


def is_flask(files: Files, ini: str) -> bool:
    """Return whether an alembic.ini is Flask-Migrate's, whose env.py works inside of the application alone."""
    return bool(_FLASK.search(files.text(_env(files, ini))))


def _sections(files: Files, ini: str) -> dict[str, str]:
    """Return the sections that name a folder of revisions, and the folder of each."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(files.text(ini))
    except configparser.Error:
        return {}
    names = [name for name in parser.sections() if parser.has_option(name, "script_location")]
    return {name: parser.get(name, "script_location").strip() for name in names}


def _location(files: Files, ini: str) -> str:
    sections = _sections(files, ini)
    return sections.get("alembic") or next(iter(sections.values()), "")


def _env(files: Files, ini: str) -> str:
    """Return where the env.py of an alembic.ini may be expected."""
    location = _location(files, ini).replace("%(here)s", folder_of(ini)).removeprefix("./")
    for folder in (join(folder_of(ini), location), location, folder_of(ini)):
        if location and files.has(join(folder, "env.py")):
            return join(folder, "env.py")
    return join(folder_of(ini), "env.py")


def _ledger(files: Files, path: str) -> str:
    env = _env(files, path) if path.endswith(".ini") else join(folder_of(path), "env.py")
    return " ".join(_LEDGER.findall(files.text(path) + files.text(env)))


def _step(files: Files, ini: str) -> Value:
    folder, sections = _folder(files, ini), _sections(files, ini)
    name = ini if folder == "." else ini.removeprefix(f"{folder}/")
    if sections and "alembic" not in sections:
        config = [] if name == "alembic.ini" else ["-c", name]
        return command(["alembic", *config, "-n", next(iter(sections)), "upgrade", "heads"], folder)
    return "alembic" if name == "alembic.ini" and folder == "." else in_folder({"alembic": name}, folder)


def _folder(files: Files, ini: str) -> str:
    """Return the folder that the paths of an alembic.ini count from, and that its env.py imports from."""
    folder, location = folder_of(ini), _location(files, ini)
    if location and "%(here)s" not in location and not files.has(join(folder, location)) and files.has(location):
        return "."
    while folder != "." and "%(here)s" in location and files.has(join(folder, "__init__.py")):
        folder = folder_of(folder)
    return folder
