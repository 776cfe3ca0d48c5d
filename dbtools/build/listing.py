"""Lists the files that count as inputs where none were recorded: those that patterns name, or that Git knows."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NoReturn

from dbtools.build.folders import MAGIC, Signature, is_installed, is_leftover, relative, signature_of, walk
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MAX_FILES = 50_000
"""More would take minutes to read the first time, and a noticeable part of a second each time."""


@dataclass(frozen=True)
class Listing:
    """Files by their stored names, and what decides that it is these."""

    names: frozenset[str]
    watched: dict[str, Signature | None]
    """Absolute paths and their signatures: as long as they are the same, another listing would be equal to this one."""
    is_watchable: bool = True
    """False: what decides was not to be found; list again each time."""


def list_matches(root: str, patterns: Sequence[str]) -> Listing:
    """Return the files that the patterns match: globs relative to the root, with ** for any number of folders.

    A folder stands for everything below it. Leaves out what tools left, and installed packages.

    Raises:
        ConfigurationError: A pattern matches nothing, or they match too many files.
    """
    names: set[str] = set()
    watched: dict[str, Signature | None] = {}
    for pattern in patterns:
        absolute = pattern.startswith("/")
        parts = [part for part in pattern.split("/") if part not in {"", "."}]
        found = _Matches(root, watched)
        found.add("" if absolute else root, parts)
        if not found.names:
            raise ConfigurationError(
                f"A pattern in [tool.dbtools] inputs matches no file: {pattern!r}.",
                f"It was looked up in {root}.",
                "Correct or remove it.",
                UNCHANGED,
            )
        names |= found.names
    check_number(names)
    return Listing(frozenset(names), watched)


class _Matches:
    """What one pattern matches."""

    def __init__(self, root: str, watched: dict[str, Signature | None]) -> None:
        self.names: set[str] = set()
        self._root = root
        self._watched = watched

    def add(self, path: str, parts: list[str]) -> None:
        """Add the files that `parts` of a pattern match at this path."""
        if not parts or parts in (["**"], ["**", "*"]):
            self._add_all(path)
            return
        part, rest = parts[0], parts[1:]
        if part == "**":
            for folder in walk(path, follow=True):
                self._watched.setdefault(folder.path, folder.signature)
                self.add(folder.path, rest)
        elif not MAGIC.intersection(part):
            self._watch(path)
            self.add(f"{path}/{part}", rest)
        else:
            self._watch(path)
            for name in _list(path):
                if fnmatchcase(name, part) and not is_installed(f"{path}/{name}"):
                    self.add(f"{path}/{name}", rest)

    def _add_all(self, path: str) -> None:
        if not os.path.isdir(path):
            if os.path.lexists(path):
                self.names.add(relative(path, self._root))
            return
        for folder in walk(path, follow=True):
            self._watched.setdefault(folder.path, folder.signature)
            self.names.update(relative(entry.path, self._root) for entry in folder.files)
            check_number(self.names)

    def _watch(self, path: str) -> None:
        if path not in self._watched:
            self._watched[path] = signature_of(path)


def _list(path: str) -> list[str]:
    try:
        return [name for name in os.listdir(path) if not is_leftover(name)]
    except OSError:
        return []


def check_number(names: Collection[str]) -> None:
    """Raise ConfigurationError if these are too many files to read."""
    if len(names) > MAX_FILES:
        _refuse(names)


def _refuse(names: Collection[str]) -> NoReturn:
    folders = Counter(name.rpartition("/")[0].split("/")[0] + "/" for name in names if "/" in name)
    most = "".join(f"; {count:,} of them are in {folder}" for folder, count in folders.most_common(1))
    raise ConfigurationError(
        f"The build has more than {MAX_FILES:,} files as inputs{most}.",
        "Each of them would be read, to know whether a snapshot still fits.",
        "Let Git ignore that folder, or name what decides the content: "
        '[tool.dbtools] inputs = ["db/**", "package-lock.json"]',
        UNCHANGED,
    )
