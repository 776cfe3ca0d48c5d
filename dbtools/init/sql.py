"""Plain SQL: which files psql can run one after the other, and which of them hold the rows of a seed."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dbtools.init.files import folder_of, join, relative
from dbtools.init.found import Steps, in_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.init.files import Files

MIGRATIONS = ("migrations", "migrate", "migration")
"""Names of folders that grow, file by file."""
REVISIONS = ("drizzle", "versions")
"""Names of folders that belong to a tool."""
FOLDERS = (
    *(*MIGRATIONS, "schema", "schemas", "ddl", "sql", "db", "database", "initdb"),
    *("initdb.d", "docker-entrypoint-initdb.d", "init", "postgres", "postgresql"),
)
"""Names of folders whose files make a schema, the likeliest first."""
ALONE = ("schema.sql", "init.sql", "structure.sql", "tables.sql", "create*.sql", "database.sql", "ddl.sql", "dump.sql")
"""Names of files that make a schema wherever they are."""
LEVELS = {"extension": 0, "extensions": 0, "init": 1, "schema": 1, "types": 1, "enums": 1, "tables": 2, "create": 2}
LATE = {"views": 4, "functions": 4, "triggers": 5, "indexes": 5, "indices": 5, "constraints": 5, "foreign": 5}
"""Where files without a number belong, by a word of their name; 3 is that of all others."""
_SEED = re.compile(r"(^|[\W_\d])(seeds?|seeders?|samples?|demo|fixtures?|dummy|mock|data|inserts?|populate)([\W_\d]|$)")
_SEEDS = ("seed", "seeds", "fixtures", "sample", "samples", "demo")
_DOWN = re.compile(r"(^|[\W_])(down|undo|rollback|revert)\.sql$|^U\d")
_UNDO = re.compile(
    r"(^|[\W_])(down|undo|rollback|drop|teardown|cleanup|clean|truncate|reset|quer(y|ies)|backup)([\W_]|$)"
)
_MARKED = re.compile(r"^-- *(\+goose Up|migrate:up|\+migrate Up|rambler up)|^--liquibase formatted", re.MULTILINE)
_CONNECTS = re.compile(r"^\s*(\\c(onnect)?\s|create\s+database\b)", re.MULTILINE | re.IGNORECASE)
_OTHER = re.compile(
    r"AUTO_INCREMENT|ENGINE\s*=|AUTOINCREMENT|^\s*GO\s*$|IDENTITY\(1|^\s*CREATE TABLE `", re.MULTILINE | re.IGNORECASE
)
_INCLUDES = re.compile(r"^\\(?:i|ir|include|include_relative)\s+'?([^'\s]+)", re.MULTILINE)
_TABLE = re.compile(r"\bcreate\s+(\w+\s+)?table\b", re.IGNORECASE)
_MAKES = re.compile(r"\b(create|alter)\s+", re.IGNORECASE)
_FILLS = re.compile(r"\b(insert\s+into|copy\s+\S+)", re.IGNORECASE)


def find_sql(files: Files) -> Iterator[Steps]:
    """Yield the files of the likeliest folder as the steps that migrate, and then those of the others.

    Where that folder makes no table, the first one that does goes before it: a schema, and what has changed since.
    """
    folders: dict[str, list[str]] = {}
    for path in files.find("*.sql"):
        folders.setdefault(_group(path), []).append(path)
    ranked = sorted((rank, folder) for folder in folders if (rank := _rank(files, folder, folders[folder])) is not None)
    found = [steps for _, folder in ranked if (steps := _steps(files, folder, folders[folder])) is not None]
    if len(found) > 1 and not _makes_tables(files, found[0]):
        base = next((steps for steps in found[1:] if _makes_tables(files, steps)), None)
        if base is not None:
            both = replace(found[0], evidence=base.evidence + found[0].evidence, value=[base.value, found[0].value])
            found = [replace(both, mind=base.mind + found[0].mind)]
    yield from found


def find_sql_seed(files: Files, migrate: Steps) -> Iterator[Steps]:
    """Yield the files that seed, folder by folder.

    Only where the schema is SQL as well, a file may be one by what it holds; elsewhere its name has to say so.
    """
    found: dict[str, list[str]] = {}
    for path in files.find("*.sql"):
        near = migrate.folder == "." or path.startswith(f"{migrate.folder}/") or "/" not in path
        is_seed = _is_seed(files, path, _group(path), by_content=migrate.led == "psql")
        if near and is_seed and not _why_not(files, path):
            found.setdefault(folder_of(path), []).append(path)
    for at, paths in found.items():
        value = {"sql": _patterns(paths, files.inside(at, "*.sql"))}
        yield Steps("SQL", tuple(sorted(paths, key=_order)), value, sure=False, led="psql", weak=True)


def _steps(files: Files, folder: str, paths: list[str]) -> Steps | None:
    """Return the files of a folder that make a schema, None where none does."""
    why = {path: _why_not(files, path) for path in paths}
    chosen = [path for path in paths if not why[path] and not _is_seed(files, path, folder, by_content=True)]
    if not chosen:
        return None
    mind = tuple(f"{path} is left out: {reason}." for path, reason in why.items() if reason)
    value = _including(files, chosen) or {"sql": _patterns(chosen, paths)}
    return Steps("SQL", tuple(sorted(chosen, key=_order)), value, sure=False, led="psql", weak=True, mind=mind)


def _makes_tables(files: Files, steps: Steps) -> bool:
    return any(_TABLE.search(files.text(path)) for path in steps.evidence)


def _including(files: Files, chosen: list[str]) -> dict[str, Any] | None:
    """Return the one file that has psql read others, None where there is none."""
    found = [path for path in chosen if _INCLUDES.search(files.text(path))]
    if len(found) != 1:
        return None
    names = _INCLUDES.findall(files.text(found[0]))
    beside = any(files.has(join(folder_of(found[0]), name)) for name in names)
    folder = folder_of(found[0]) if beside else "."
    return in_folder({"sql": relative(found[0], folder)}, folder)


def _group(path: str) -> str:
    """Return the folder whose files run together: the one above where each migration has a folder of its own."""
    own = path.rpartition("/")[2] in ("up.sql", "migration.sql", "down.sql")
    return folder_of(folder_of(path)) if own else folder_of(path)


def _rank(files: Files, folder: str, paths: list[str]) -> tuple[int, int] | None:
    name = folder.rpartition("/")[2].lower()
    named = any(path in files.find(*ALONE) for path in paths)
    if name in FOLDERS:
        return FOLDERS.index(name), folder.count("/")
    return (len(FOLDERS), folder.count("/")) if named else None


def _why_not(files: Files, path: str) -> str:
    """Return why psql cannot run a file as a step, "" where it can."""
    text, name = files.text(path), path.rpartition("/")[2]
    # 0007_drop_column.sql goes forward, among others that have a number.
    if _DOWN.search(name) or (not name[:1].isdecimal() and _UNDO.search(name)):
        return "its name says that it undoes or reads"
    if _CONNECTS.search(text):
        return "it makes a database or connects to one, and a step is given its own"
    if _MARKED.search(text):
        return "it holds the way up and the way down, for another tool"
    return "it is not written for PostgreSQL" if _OTHER.search(text) else ""


def _is_seed(files: Files, path: str, group: str, *, by_content: bool) -> bool:
    """Return whether a file holds rows. In a folder of migrations none does: there a number orders them."""
    name = group.rpartition("/")[2].lower()
    if name in (*MIGRATIONS, *REVISIONS):
        return False
    if name in _SEEDS or _SEED.search(path.rpartition("/")[2].rpartition(".")[0].lower()):
        return True
    text = files.text(path)
    return by_content and bool(_FILLS.search(text)) and not _MAKES.search(text)


def _order(path: str) -> tuple[int, list[tuple[int, str]]]:
    """Return where a file belongs: by the numbers in its name, else by what its name speaks of."""
    name = path.rpartition("/")[2].lower()
    natural = [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", path.lower()) if part]
    if any(part.isdecimal() for part in re.split(r"\D+", name)) or name in ("up.sql", "migration.sql"):
        return 0, natural
    return next(
        (level for word in re.split(r"\W|_", name) if (level := {**LEVELS, **LATE}.get(word)) is not None), 3
    ), natural


def _patterns(chosen: list[str], everything: list[str]) -> str | list[str]:
    """Return one pattern where it fits the files that were chosen, in their order, and no other; else their list."""
    ordered = sorted(chosen, key=_order)
    ends = {(folder_of(folder_of(path)), path.rpartition("/")[2]) for path in chosen}
    patterns = [f"{folder_of(chosen[0])}/*.up.sql", f"{folder_of(chosen[0])}/*.sql"]
    if len(ends) == 1 and _group(chosen[0]) != folder_of(chosen[0]):
        patterns = [f"{_group(chosen[0])}/*/{chosen[0].rpartition('/')[2]}"]
    grows = len(ordered) > 1 or _group(chosen[0]).rpartition("/")[2].lower() in MIGRATIONS
    for pattern in (pattern.removeprefix("./") for pattern in patterns):
        regex = re.compile(re.escape(pattern).replace(r"\*", "[^/]*"))
        if grows and sorted(path for path in everything if regex.fullmatch(path)) == ordered:
            return pattern
    return ordered[0] if len(ordered) == 1 else ordered
