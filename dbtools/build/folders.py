"""Folders as inputs of a build: which names count, what lies below, and how to see that nothing changed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

Signature = tuple[int, int, int, int]
"""Size, mtime_ns, ctime_ns and inode. `dbtools.build.digests` says why they show every change."""

LEFTOVERS = frozenset({
    ".dbtools", ".git", ".hg", ".svn",
    "__pycache__", ".coverage", ".hypothesis", ".mypy_cache", ".nox", ".pytest_cache", ".ruff_cache", ".tox",
    ".DS_Store", ".idea", ".ipynb_checkpoints", ".vscode", "Thumbs.db",
    "4913",  # Vim tries with it whether it may write
})  # fmt: skip
LEFTOVER_ENDS = (".pyc", ".pyo", ".swp", ".swo", ".swx", "~", "___jb_tmp___", "___jb_old___")
LEFTOVER_BEGINNINGS = (".#", ".~", ".coverage.", ".nfs")
MAGIC = frozenset("*?[")
"""A part of a path with one of these is a pattern."""


def is_leftover(name: str) -> bool:
    """Return whether tools and editors leave files of this name behind: they come and go without a meaning."""
    is_autosaved = name.startswith("#") and name.endswith("#")
    return name in LEFTOVERS or name.endswith(LEFTOVER_ENDS) or name.startswith(LEFTOVER_BEGINNINGS) or is_autosaved


def is_installed(folder: str) -> bool:
    """Return whether the folder holds installed packages: Node's, or a virtual environment of Python.

    They have too many files to look at each. A lock file stands for them, or the names of Python's packages.
    """
    return folder.endswith("/node_modules") or os.path.exists(f"{folder}/pyvenv.cfg")


def signature(status: os.stat_result) -> Signature:
    """Return what shows a change without reading the content. A change cannot keep its ctime, unlike its mtime."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def signature_of(path: str) -> Signature | None:
    """Return the signature of what a path leads to, through links; None where that is nothing we can see."""
    try:
        return signature(os.stat(path))
    except OSError:
        return None


def names_digest(names: Iterable[str]) -> str:
    """Return the SHA-256 of the names, in whatever order they come. None can hold the separator."""
    return hashlib.sha256(b"\0".join(sorted(map(os.fsencode, names)))).hexdigest()


def relative(path: str, root: str) -> str:
    """Return how an absolute path is stored: relative to the root where it lies below, "." for the root."""
    if path == root:
        return "."
    return path.removeprefix(f"{root}/")


def shown(name: str) -> str:
    """Return a path for a message: on one line, and in characters that every terminal can encode."""
    return name if name.isprintable() else ascii(name)


@dataclass(frozen=True)
class Folder:
    """One folder, without what tools left in it."""

    path: str
    signature: Signature
    """As it was before the names were read: a later change shows."""
    names: list[str]
    files: list[os.DirEntry[str]]
    """All entries that are no folders."""


def walk(top: str, skip: Container[str] = (), *, follow: bool = False) -> Iterator[Folder]:
    """Yield the folder and all below, the upper ones first.

    Leaves out the paths in `skip`, installed packages, and what tools left; yields a folder that may not be read as an
    empty one. Goes through links to folders where it is to `follow` them, but never round in a circle.
    """
    waiting: list[tuple[str, tuple[int, ...]]] = [(top, ())]
    for path, above in waiting:
        try:
            status = os.stat(path)
        except OSError:
            continue  # it vanished
        if status.st_ino in above:
            continue
        folder = Folder(path, signature(status), [], [])
        for entry in _entries(path):
            folder.names.append(entry.name)
            if not _is_folder(entry, follow=follow):
                folder.files.append(entry)
            elif (below := f"{path}/{entry.name}") not in skip and not is_installed(below):
                waiting.append((below, (*above, status.st_ino)))
        yield folder


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if not is_leftover(entry.name)]
    except OSError:  # it vanished, or is not for us to read
        return []


def _is_folder(entry: os.DirEntry[str], *, follow: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:  # a link to itself
        return False


def package_list(entry: str) -> str:
    """Return the file that tells which files a package of this entry in site-packages has, or "" for other entries."""
    if entry.endswith(".dist-info"):
        return f"{entry}/RECORD"
    return entry if entry.endswith((".egg-info", ".egg-link", ".pth")) else ""
