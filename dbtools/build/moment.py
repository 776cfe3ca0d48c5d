"""A project's files at the moment before a build: to see afterwards that none changed while the build ran.

A build reads its inputs over seconds or minutes; their digests are taken at one moment, afterwards, when it is known
which they are. A file that changed in between may have been read before the change. Then the snapshot would be kept
under what was not read, and be installed for inputs that it was not made of. So it is not kept at all, even if the
content came back: a build between `git stash` and `git stash pop` has read the other files.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.build.folders import names_digest, package_list, relative, shown, signature, signature_of, walk
from dbtools.build.listing import MAX_FILES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbtools.build.folders import Signature
    from dbtools.build.inputs import Inputs
    from dbtools.build.listing import Listing

TICK_NS = 50_000_000
"""File systems stamp a change with the time of the last tick, up to 10 ms ago."""


@dataclass(frozen=True)
class Moment:
    """What lay below the root at one moment. Of anything else only the time of its last change can tell."""

    root: str
    taken_ns: int
    files: dict[str, Signature]
    folders: dict[str, str]
    """The digest of the names in each folder."""
    listed: frozenset[str]
    """The files that patterns or Git named."""

    @classmethod
    def take(cls, root: str, listing: Listing | None) -> Moment:
        """Look at the files below the root, the upper ones first; stop at `MAX_FILES`."""
        taken_ns = time.time_ns()
        files: dict[str, Signature] = {}
        folders: dict[str, str] = {}
        for folder in walk(root):
            folders[relative(folder.path, root)] = names_digest(folder.names)
            for entry in folder.files:
                try:
                    files[relative(entry.path, root)] = signature(entry.stat())
                except OSError:
                    continue  # it vanished, or is a link to nothing
            if len(files) > MAX_FILES:
                break
        return cls(root, taken_ns, files, folders, listing.names if listing else frozenset())

    def change_since(self, inputs: Inputs) -> str:
        """Return which of the inputs changed since, in words, or "". The inputs have to be described before this call.

        A file outside the root that was deleted shows by the time of its folder; not in the home folder, which other
        programs change all the time.
        """
        names = set(inputs.files)
        if inputs.how in {"git", "patterns"}:
            names |= self.listed
        for name in sorted(names):
            if reason := self._file_change(name):
                return reason
        for name, digest in inputs.folders.items():
            path = os.path.join(self.root, name)
            same = self.folders[name] == digest if name in self.folders else not self._has_new(_files_in(path))
            if not same:
                return f"the names in {shown(name)} changed while the build ran"
        for name in inputs.packages:
            path = os.path.join(self.root, name)
            if self._has_new(f"{path}/{package_list(entry)}" for entry in _list(path) if package_list(entry)):
                return f"the packages in {shown(name)} changed while the build ran"
        return ""

    def _file_change(self, name: str) -> str:
        path = os.path.join(self.root, name)
        now, before = signature_of(path), self.files.get(name)
        if before is not None:
            changed = now != before
        elif now is not None:
            changed = self._is_new(now)
        else:
            above = os.path.dirname(path)
            is_telling = name.startswith("/") and above != os.path.expanduser("~")
            changed = is_telling and self._has_new([above])
        verb = "changed" if now is not None else "was deleted"
        return f"{shown(name)} {verb} while the build ran" if changed else ""

    def _has_new(self, paths: Iterable[str]) -> bool:
        return any(self._is_new(seen) for seen in map(signature_of, paths) if seen)

    def _is_new(self, seen: Signature) -> bool:
        return max(seen[1], seen[2]) >= self.taken_ns - TICK_NS


def _list(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _files_in(path: str) -> list[str]:
    return [f"{path}/{name}" for name in _list(path) if not os.path.isdir(f"{path}/{name}")]
