"""Digests of files, folders, packages and variables; those of files are remembered until the files change.

A file is read again if its size, mtime, ctime or inode is another one. Only a file that was changed twice within one
tick of the file system's clock, and read in between, could keep all four. So what was changed shortly before it was
read is not remembered ("racily clean", as Git has it), and read again the next time.

What may hold a password is hashed with the pepper of this folder.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dbtools.build import pepper
from dbtools.build.folders import is_leftover, names_digest, package_list, signature, signature_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dbtools.build.folders import Signature

FORMAT = 1
RACY_NS = 2_000_000_000
"""The coarsest clock of a file system in use: FAT's."""
MAX_REMEMBERED = 150_000
MISSING, FOLDER, SPECIAL, UNREADABLE = "", "folder", "special", "unreadable"
"""In place of a digest."""


MODULE_ENDS = (".py", ".so", ".zip", ".dist-info", ".egg-info")
"""What imports and lists of packages find, besides folders."""


class Digests:
    """Digests of what lies below a root, or has an absolute path.

    `folder` is where they are remembered, beside the pepper. Where it cannot be written, or is None, every file is read
    every time, and another process gets other digests of secrets.
    """

    def __init__(self, root: Path, folder: Path | None) -> None:
        self.root = str(root)
        self._prefix = f"{root}/"
        self._folder = folder
        self._changed = False

    def path(self, name: str) -> str:
        """Return the absolute path of a stored one."""
        return name if name.startswith("/") else self._prefix + name

    def of_file(self, name: str) -> str:
        """Return the SHA-256 of the file's content, or one with the pepper for a file whose name speaks of secrets.

        MISSING where there is none. Other words stand for what is no file; the one for a file that may not be read
        holds its signature.
        """
        path = self.path(name)
        try:
            status = os.stat(path)
        except OSError as error:
            return UNREADABLE if error.errno in {errno.EACCES, errno.EIO, errno.ESTALE} else MISSING
        kept = self._files.get(name)
        if (
            kept is not None
            and status.st_mtime_ns == kept[1]
            and status.st_ctime_ns == kept[2]
            and status.st_size == kept[0]
            and status.st_ino == kept[3]
        ):
            return str(kept[4])
        if stat.S_ISDIR(status.st_mode):
            return FOLDER
        if not stat.S_ISREG(status.st_mode):
            return SPECIAL
        return self._read(name, path, status)

    def of_folder(self, name: str) -> str:
        """Return the SHA-256 of the names in the folder, MISSING where there is none."""
        path = self.path(name)
        began_ns = time.time_ns()
        seen = signature_of(path)
        kept = self._files.get(f"{name}/")
        if kept is not None and seen == tuple(kept[:4]):
            return str(kept[4])
        try:
            digest = names_digest(entry for entry in os.listdir(path) if not is_leftover(entry))
        except PermissionError:
            return UNREADABLE
        except OSError:
            return MISSING
        if seen and _is_settled(seen, began_ns):
            self._keep(f"{name}/", seen, digest)
        return digest

    def of_modules(self, name: str) -> str:
        """Return the SHA-256 of the names in the folder that an import may find: modules, and folders as packages."""
        try:
            entries = [entry for entry in os.listdir(self.path(name)) if not is_leftover(entry)]
        except OSError:
            return MISSING
        return names_digest(entry for entry in entries if "." not in entry or entry.endswith(MODULE_ENDS))

    def of_packages(self, name: str) -> str:
        """Return the SHA-256 of what is installed in a site-packages folder: names, versions, and lists of files.

        The list of a package's files has their digests, and so shows another build of the same version.
        """
        try:
            entries = sorted(entry for entry in os.listdir(self.path(name)) if package_list(entry))
        except OSError:
            return MISSING
        return names_digest(f"{entry}/{self.of_file(f'{name}/{package_list(entry)}')}" for entry in entries)

    def of_variable(self, name: str, value: str | None) -> str:
        """Return the digest of a variable's value, with the pepper; MISSING where it is not set."""
        if value is None:
            return MISSING
        return hashlib.blake2b(os.fsencode(f"{name}={value}"), digest_size=32, key=self._pepper).hexdigest()

    def known_listing(self, rule: str) -> str | None:
        """Return the digest that `keep_listing` was given for the rule, if what was watched is as it was then."""
        kept = self._listings.get(self._of_root(rule))
        if not kept or any(signature_of(path) != (seen and tuple(seen)) for path, seen in kept["watched"].items()):
            return None
        return str(kept["digest"])

    def keep_listing(self, rule: str, digest: str, watched: Mapping[str, Signature | None], began_ns: int) -> None:
        """Remember the digest of a list of names until one of the `watched` paths changes."""
        self._changed = True
        key = self._of_root(rule)
        self._listings.pop(key, None)
        if all(seen is None or _is_settled(seen, began_ns) for seen in watched.values()):
            self._listings[key] = {"digest": digest, "watched": dict(watched)}

    def _of_root(self, rule: str) -> str:
        # A project that is copied with its cache would find the listing of the folder that it was copied from.
        return f"{rule} in {self.root}"

    def save(self) -> None:
        """Write what is to be remembered, as one file that is replaced as a whole.

        Of two that do so at once the last one wins. A folder that cannot be written is left alone.
        """
        if not self._changed or self._folder is None:
            return
        files = self._files
        if len(files) > MAX_REMEMBERED:
            files = dict([*files.items()][-MAX_REMEMBERED // 2 :])  # the latest; the others are read again
        text = json.dumps({"format": FORMAT, "files": files, "listings": self._listings}, separators=(",", ":"))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            pepper.replace(self._folder / "inputs.json", text.encode())
        except OSError:
            return
        self._changed = False

    def _read(self, name: str, path: str, status: os.stat_result) -> str:
        began_ns = time.time_ns()
        try:
            # A path that became a pipe in between must not make us wait for a writer.
            with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
                before = signature(os.fstat(file.fileno()))
                digest = hashlib.file_digest(file, self._hasher(name)).hexdigest()
                after = signature(os.fstat(file.fileno()))
        except FileNotFoundError:
            return MISSING
        except OSError:
            return f"{UNREADABLE} {signature(status)}"
        if before == after and _is_settled(after, began_ns):
            self._keep(name, after, digest)
        return digest

    def _keep(self, name: str, seen: Signature, digest: str) -> None:
        self._files[name] = [*seen, digest]
        self._changed = True

    def _hasher(self, name: str) -> Callable[[], Any]:
        if pepper.may_hold_secrets(name):
            return lambda: hashlib.blake2b(digest_size=32, key=self._pepper)
        return hashlib.sha256

    @cached_property
    def _files(self) -> dict[str, list[Any]]:
        files: dict[str, list[Any]] = self._remembered["files"]
        return files

    @cached_property
    def _listings(self) -> dict[str, Any]:
        listings: dict[str, Any] = self._remembered["listings"]
        return listings

    @cached_property
    def _remembered(self) -> dict[str, Any]:
        try:
            found = json.loads((self._folder / "inputs.json").read_bytes()) if self._folder else {}
            if found["format"] == FORMAT:
                return {"files": dict(found["files"]), "listings": dict(found["listings"])}
        except (OSError, ValueError, LookupError, TypeError):
            pass  # there is none yet, or not one of ours
        return {"files": {}, "listings": {}}

    @cached_property
    def _pepper(self) -> bytes:
        return pepper.load(self._folder)


def _is_settled(seen: Signature, began_ns: int) -> bool:
    """Return whether a change after `began_ns` must show as another time than those of the signature."""
    return max(seen[1], seen[2]) < began_ns - RACY_NS
