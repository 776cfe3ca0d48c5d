"""Files and folders that the program reads: what of them counts as the project's own."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # not typing's: its import takes milliseconds, in every child
if TYPE_CHECKING:
    from typing import Any

    from .record import Record

_SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/", "/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/")
_INSTALLED = ("bin", "include", "lib", "lib64", "libexec", "share")
"""What a Python installation keeps below its prefix. The prefix itself may be /usr, and the project in /usr/src."""
_IMPORTERS = ("<frozen importlib._bootstrap_external>", "/importlib/metadata/__init__.py")
"""What looks through every folder of sys.path, for modules and for what is installed."""
# Django looks through __pycache__ for packages of migrations, and Python makes it meanwhile.
_ANYWHERE = ("/site-packages/", "/dist-packages/", "/.git/", "/.dbtools/", "/__pycache__/")


class Files:
    """Records each file that is opened for reading and each folder that is listed, unless it is ignored.

    Ignored: installed packages and the standard library, the system's own files, the temp folder (but for the folder in
    it that the program runs in), .git, .dbtools, __pycache__, `folder`, and files that this process itself wrote anew.
    """

    def __init__(self, record: Record, folder: str) -> None:
        self._record = record
        self._made = {record.path}
        prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
        ignored = {os.path.join(prefix, name, "") for prefix in prefixes for name in _INSTALLED}
        here = os.path.join(os.path.realpath(os.curdir), "")
        temp = os.path.join(os.environ.get("TMPDIR") or "/tmp", "")  # noqa: S108 - ignored, not written to
        real = os.path.join(os.path.realpath(temp), "")
        self._temp = (temp, real) if here != real else ()
        # A project below the temp folder: its neighbours there are what it and others made for a moment.
        inside = here[len(real) :].partition("/")[0] if here.startswith(real) else ""
        self._kept = tuple(os.path.join(path, inside, "") for path in self._temp) if inside else ()
        ignored.add(os.path.join(folder, ""))
        self._ignored = (*_SYSTEM, *ignored, *(os.path.join(os.path.realpath(path), "") for path in ignored))

    def opened(self, path: Any, mode: Any, flags: int) -> None:  # noqa: ARG002 - as the audit event has them
        """Record a file that is opened, if it is opened for what is in it."""
        found = _absolute(path)
        if found is None or found in self._made:
            return
        if flags & (os.O_TRUNC | os.O_EXCL):
            self._made.add(found)  # what it is given from now on is no input
        elif flags & os.O_ACCMODE != os.O_WRONLY:
            self._write("file", _source(found) if found.endswith(".pyc") else found)

    def listed(self, path: Any = None) -> None:
        """Record a folder that is listed: by the program, or by an import that looks for a module there."""
        found = _absolute(os.curdir if path is None else path)
        if found is not None:
            caller = sys._getframe(2).f_code.co_filename  # noqa: SLF001 - below this function and the hook
            self._write("modules" if caller.endswith(_IMPORTERS) else "folder", found)

    def _write(self, key: str, path: str) -> None:
        inner = path + "/"
        is_out = inner.startswith(self._ignored) or (inner.startswith(self._temp) and not inner.startswith(self._kept))
        if not is_out and not any(part in inner for part in _ANYWHERE):
            self._record.write(key, path)


def _absolute(path: Any) -> str | None:
    """Return the path in full, None for an open descriptor and for what `open` is about to refuse."""
    try:
        return None if isinstance(path, int) else os.path.abspath(os.fsdecode(path))
    except (TypeError, FileNotFoundError):  # no path; or relative to a folder that is gone
        return None


def _source(path: str) -> str:
    """Return the .py of a cached .pyc: where the cache is fresh, Python opens nothing else.

    importlib.util.source_from_cache does this, but an audit hook must not import: it runs inside of imports.
    """
    folder, name = os.path.split(path)
    prefix = sys.pycache_prefix and os.path.abspath(sys.pycache_prefix)
    if prefix and folder.startswith(prefix):
        parent = os.sep + folder[len(prefix) :].lstrip(os.sep)
    else:
        parent, cache = os.path.split(folder)
        if cache != "__pycache__":
            return path
    return os.path.join(parent, name.partition(".")[0] + ".py")
