"""Lists the files of a folder that Git knows or does not ignore, and tells what that list depends on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dbtools.build.folders import Signature, is_installed, is_leftover, signature_of, walk
from dbtools.build.listing import Listing, check_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TIMEOUT_S = 120.0
SUBMODULE = b"160000"
ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE")
"""Variables that a Git hook sets; they would lead us to the repository of the hook."""


def list_known(root: str, environ: Mapping[str, str]) -> Listing | None:
    """Return the files below the root that Git knows or does not ignore; None where Git cannot tell.

    That is where Git is missing, where the root is in no repository, or where the repository around it ignores it.
    Has the files that are tracked but deleted, those of submodules and of repositories that lie within, and what lies
    behind links to folders. Of untracked files it leaves out what tools left, and installed packages.

    Raises:
        ConfigurationError: There are too many files.
    """
    names: set[str] = set()
    watched: dict[str, Signature | None] = {}
    is_watchable = _add(root, "", environ, names, watched)
    if is_watchable is None or not names:
        return None
    return Listing(frozenset(names), watched, is_watchable=is_watchable)


def _add(
    top: str, prefix: str, environ: Mapping[str, str], names: set[str], watched: dict[str, Signature | None]
) -> bool | None:
    """Add the files of the folder `top`, and return whether all that decides is watched; None if Git cannot tell.

    Signatures are taken before Git is asked, so that a change in between shows.
    """
    before = _watch(top, environ)
    staged = _git(top, environ, "ls-files", "-s", "-z")
    others = _git(top, environ, "ls-files", "-o", "--exclude-standard", "-z")
    if staged is None or others is None or _git(top, environ, "check-ignore", "--no-index", "-q", ".") is not None:
        return None
    repositories, links = set(), []
    for line in staged:
        mode, _, rest = line.partition(b" ")
        name = os.fsdecode(rest.partition(b"\t")[2])
        if mode == SUBMODULE:
            repositories.add(name)
        else:
            names.add(prefix + name)
            if mode == b"120000":
                links.append(name)
    for name in _without_leftovers(top, map(os.fsdecode, others)):
        if name.endswith("/"):
            repositories.add(name[:-1])
        else:
            names.add(prefix + name)
            if os.path.islink(f"{top}/{name}"):
                links.append(name)
    check_number(names)
    for name in links:
        _follow(top, name, prefix, names, watched)
    is_watchable = before is not None
    watched.update(before or {})
    for name in repositories:
        if os.path.lexists(f"{top}/{name}/.git"):
            inner = _add(f"{top}/{name}", f"{prefix}{name}/", environ, names, watched)
            if inner is None:
                return None
            is_watchable = is_watchable and inner
    return is_watchable


def _follow(top: str, name: str, prefix: str, names: set[str], watched: dict[str, Signature | None]) -> None:
    """Put the files behind a link to a folder in the link's place, unless we are within that folder."""
    path = f"{top}/{name}"
    behind = os.path.realpath(path)
    if not os.path.isdir(path):
        return
    names.discard(prefix + name)
    if os.path.commonpath((behind, os.path.realpath(top))) == behind or is_installed(path) or is_installed(behind):
        return
    for folder in walk(path, follow=True):
        watched[folder.path] = folder.signature
        names.update(prefix + entry.path.removeprefix(f"{top}/") for entry in folder.files)
        check_number(names)


def _without_leftovers(top: str, names: Iterable[str]) -> Iterable[str]:
    passes: dict[str, bool] = {"": True}

    def is_passed(folder: str) -> bool:
        if folder not in passes:
            above, _, name = folder.rpartition("/")
            passes[folder] = is_passed(above) and not is_leftover(name) and not is_installed(f"{top}/{folder}")
        return passes[folder]

    for name in names:
        folder, _, file = name.rstrip("/").rpartition("/")
        if is_passed(folder) and not is_leftover(file):
            yield name


def _watch(top: str, environ: Mapping[str, str]) -> dict[str, Signature | None] | None:
    """Return what decides which files Git lists: folders, ignore files, the index, settings. None if it is not found.

    Git puts a folder into its list of ignored ones too if only the files in it are ignored. A new file there may count:
    so each such folder is asked about by itself.
    """
    places = ("index", "info/exclude", "config", "config.worktree")
    options = [word for place in places for word in ("--git-path", place)]
    found = _git(top, environ, "rev-parse", "--path-format=absolute", "--show-toplevel", *options, separator=b"\n")
    ignored = _git(top, environ, "ls-files", "-o", "-i", "--exclude-standard", "--directory", "-z")
    settings = _git(top, environ, "config", "--list", "--show-origin", "-z")
    if found is None or ignored is None or settings is None or len(found) != 1 + len(places):
        return None
    worktree, *paths = map(os.fsdecode, found)
    paths += _settings_paths(worktree, settings, environ)
    watched = {path: signature_of(path) for path in paths}
    asked = b"\0".join(name.rstrip(b"/") for name in ignored if name.endswith(b"/"))
    skip = _git(top, environ, "check-ignore", "-z", "--stdin", stdin=asked) if asked else []
    for folder in walk(top, {f"{top}/{os.fsdecode(name)}" for name in skip or []}):
        watched[folder.path] = folder.signature
        if ".gitignore" in folder.names:
            watched[f"{folder.path}/.gitignore"] = signature_of(f"{folder.path}/.gitignore")
    above = top
    while above != worktree and above.startswith(worktree):
        above = os.path.dirname(above)
        watched[f"{above}/.gitignore"] = signature_of(f"{above}/.gitignore")
    return watched


def _settings_paths(worktree: str, settings: Iterable[bytes], environ: Mapping[str, str]) -> set[str]:
    """Return the files of Git's settings, and those with patterns that they name or that Git looks for by itself."""
    home = environ.get("HOME", "")
    user = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    paths = {"/etc/gitconfig", f"{home}/.gitconfig", f"{user}/git/config", f"{user}/git/ignore"}
    for text in map(os.fsdecode, settings):
        if text.startswith("file:"):
            paths.add(os.path.join(worktree, text.removeprefix("file:")))
        elif text.startswith("core.excludesfile\n"):
            path = text.partition("\n")[2]
            paths.add(os.path.join(worktree, home + path[1:] if path.startswith("~/") else path))
    return paths


def _git(
    top: str, environ: Mapping[str, str], *words: str, stdin: bytes = b"", separator: bytes = b"\0"
) -> list[bytes] | None:
    """Return what Git printed, in parts; None where it failed."""
    import subprocess

    own = {name: value for name, value in environ.items() if name not in ELSEWHERE}
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=top,
            env={**own, "GIT_OPTIONAL_LOCKS": "0"},
            input=stdin,
            capture_output=True,
            check=True,
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return [part for part in done.stdout.split(separator) if part]
