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
    from collections.abc import Iterator

MAX_FILES = 20_000
MAX_DEPTH = 5
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
    def _paths(self) -> str:
        return "\n".join(self._walk())

    def find(self, *patterns: str) -> list[str]:
        """Return the files that one of the patterns fits, in any folder; those nearest to the root first.

        A * stands for anything but a slash, and a pattern counts from the path's end: "db/*.sql" fits "api/db/a.sql".
        """
        words = "|".join(re.escape(pattern).replace(r"\*", r"[^/\n]*") for pattern in patterns)
        found = {match[0] for match in re.finditer(rf"^(?:[^\n]*/)?(?:{words})$", self._paths, re.MULTILINE)}
        return sorted(found, key=lambda path: (path.count("/"), path))

    def inside(self, folder: str, *patterns: str) -> list[str]:
        """Return the files of `find` that lie in `folder` itself, where the patterns count from."""
        prefix = "" if folder == "." else f"{folder}/"
        wanted = [re.compile(re.escape(pattern).replace(r"\*", "[^/]*")) for pattern in patterns]
        return [
            path
            for path in self.find(*patterns)
            if path.startswith(prefix) and any(word.fullmatch(path[len(prefix) :]) for word in wanted)
        ]

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
            wrong = "" if isinstance(value, dict) else "it holds no object"
        except (ValueError, OSError) as error:
            wrong = str(getattr(error, "strerror", None) or error)
        if wrong:
            raise ConfigurationError(
                f"{self.root / path} cannot be read.", f"It is not valid JSON: {wrong}.", "Correct it.", UNCHANGED
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
            with (self.root / path).open("rb") as file:
                return file.read(MAX_READ_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""

    def _walk(self) -> Iterator[str]:
        count, folders = 0, [""]
        while folders:
            deeper: list[str] = []
            for folder in folders:
                for name, is_folder in _entries(self.root / folder):
                    path = f"{folder}{name}"
                    if is_folder and path.count("/") < MAX_DEPTH:
                        deeper.append(f"{path}/")
                    elif not is_folder:
                        count += 1
                        if count > MAX_FILES:
                            self.complete = False
                            return
                        yield path
            folders = deeper


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
