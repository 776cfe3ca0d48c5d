"""The files of the project that is looked at: their names, and the text of the few that matter."""

from __future__ import annotations

import json
import os
import re
import tomllib
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbtools.build.folders import is_leftover
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_FILES = 20_000
MAX_DEPTH = 7
"""How many folders deep a file may lie."""
MAX_READ_BYTES = 200_000
SKIPPED = frozenset({
    "node_modules", "bower_components", "vendor", "site-packages", "dist", "build", "target", "out", "coverage",
    "test", "tests", "__tests__", "testing", "e2e", "spec", "docs", "doc", "example", "examples", "templates", "tmp",
})  # fmt: skip
"""Folders that hold nothing of the project's own, or what its database is not made from."""
HIDDEN = (".devcontainer", ".docker")
"""Folders that are looked into though they are hidden."""


class Files:
    """The files below a folder, as they were when first asked for. Paths count from the root, with slashes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.complete = True
        """Whether all files were looked at; `MAX_FILES` ends the walk."""
        self.text = cache(self._text)
        """Return the beginning of a file's text, "" where there is no such file."""

    @cached_property
    def _folders(self) -> dict[str, list[str]]:
        """The names of the files in each folder, those nearest to the root first."""
        return dict(self._walk())

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """The folders that have a file of each name."""
        found: dict[str, list[str]] = {}
        for folder, names in self._folders.items():
            for name in names:
                found.setdefault(name, []).append(folder)
        return found

    def find(self, *patterns: str) -> list[str]:
        """Return the files that one of the patterns fits, in any folder; those nearest to the root first.

        A * stands for anything but a slash, and a pattern counts from the path's end: "db/*.sql" fits "api/db/a.sql".
        """
        found: set[str] = set()
        for pattern in patterns:
            above, _, name = pattern.rpartition("/")
            for fitting in filter(_fits(name), self._by_name) if "*" in name else [name]:
                for folder in self._by_name.get(fitting, ()):
                    if not above or _ends_with(folder, above):
                        found.add(join(folder, fitting))
        return sorted(found, key=lambda path: (path.count("/"), path))

    def inside(self, folder: str, *patterns: str) -> list[str]:
        """Return the files that one of the patterns fits, which count from `folder`; those nearest to it first."""
        found: set[str] = set()
        for pattern in patterns:
            above, _, name = pattern.rpartition("/")
            wanted = join(folder, above) if above else folder
            inner = (at for at in self._folders if at != "." and _fits(wanted)(at))
            for at in inner if "*" in above else [wanted]:
                found.update(join(at, fitting) for fitting in filter(_fits(name), self._folders.get(at, ())))
        return sorted(found, key=lambda path: (path.count("/"), path))

    def has(self, path: str) -> bool:
        """Return whether there is this file or folder."""
        return (self.root / path).exists()

    def json(self, path: str) -> dict[str, Any]:
        """Return the object of a JSON file.

        Raises:
            ConfigurationError: It holds no such thing.
        """
        try:
            value = json.loads((self.root / path).read_text("utf-8-sig"))
            wrong = "" if isinstance(value, dict) else "It holds no object"
        except OSError as error:
            wrong = str(error.strerror)
        except ValueError as error:
            wrong = f"It is not valid JSON: {error}"
        if wrong:
            raise ConfigurationError(
                f"{self.root / path} cannot be read.", f"{wrong}.", "Correct that, and run this again.", UNCHANGED
            )
        return dict(value)

    def tools(self, path: str) -> dict[str, Any]:
        """Return the tables below [tool] of a pyproject.toml, {} where it cannot be read."""
        try:
            tools = tomllib.loads(self.text(path)).get("tool", {})
        except tomllib.TOMLDecodeError:
            return {}
        return dict(tools) if isinstance(tools, dict) else {}

    def _text(self, path: str) -> str:
        try:
            if not (self.root / path).is_file():  # a pipe would be waited for
                return ""
            with (self.root / path).open("rb") as file:
                return file.read(MAX_READ_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""

    def _walk(self) -> Iterator[tuple[str, list[str]]]:
        count, folders = 0, ["."]
        while folders:
            deeper: list[str] = []
            for folder in folders:
                entries = _entries(self.root / folder)
                names = [name for name, is_folder in entries if not is_folder]
                count += len(names)
                if count > MAX_FILES:
                    self.complete = False
                    return
                yield folder, names
                inner = [join(folder, name) for name, is_folder in entries if is_folder]
                deeper += [path for path in inner if path.count("/") < MAX_DEPTH]
            folders = deeper


def _fits(pattern: str) -> Callable[[str], object]:
    return re.compile(re.escape(pattern).replace(r"\*", "[^/]*")).fullmatch


def _ends_with(folder: str, pattern: str) -> bool:
    count = pattern.count("/") + 1
    return bool(_fits(pattern)("/".join(folder.split("/")[-count:])))


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """Return the files and folders in a folder that are worth a look, and whether each is a folder."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.isprintable() or is_leftover(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    hidden = entry.name.startswith(".") and entry.name not in HIDDEN
                    if not hidden and entry.name not in SKIPPED and not (Path(entry.path) / "pyvenv.cfg").is_file():
                        found.append((entry.name, True))
                elif entry.is_file():
                    found.append((entry.name, False))
    except OSError:  # a folder that is not ours to read
        return []
    return sorted(found)


def folder_of(path: str) -> str:
    """Return the folder of a path, "." for the root."""
    return path.rpartition("/")[0] or "."


def join(folder: str, name: str) -> str:
    """Return a path in a folder."""
    return name if folder == "." else f"{folder}/{name}"


def relative(path: str, folder: str) -> str:
    """Return a path as it counts from a folder."""
    return os.path.relpath(path, folder)
