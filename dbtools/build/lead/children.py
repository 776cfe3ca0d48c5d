"""Child processes of the program: Python is led as its parent is; of other programs the name is recorded."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # not typing's: its import takes milliseconds, in every child
if TYPE_CHECKING:
    from typing import Any, MutableMapping, Sequence

    from .record import Record

_UNLED_FLAGS = set("IES")
"""Flags with which Python reads no PYTHONPATH, or no sitecustomize."""
_PYTHON = "DBTOOLS_LEAD_PYTHON"
"""What the clients in `bin` run in."""


class Children:
    """What is done before a child process starts."""

    def __init__(self, record: Record | None, folder: str, variables: dict[str, str]) -> None:
        self._record = record
        self._folder = folder
        self._variables = variables

    def started(self, path: Any, arguments: Any, environment: MutableMapping[Any, Any] | None) -> None:
        """Let the child be led, whatever environment it is given, and record it if it is not Python."""
        self._lead(os.environ if environment is None else environment)
        if not self._record:
            return
        path = os.fsdecode(path)
        if os.path.isabs(path) and not os.path.exists(path):
            return  # os.execvp tries each folder of PATH
        words = [] if isinstance(arguments, (str, bytes)) else [os.fsdecode(word) for word in arguments]
        if not _is_led(path, words):
            self._record.write("program", os.path.basename(path))

    def _lead(self, environment: MutableMapping[Any, Any]) -> None:
        """Put back what a child needs to be led: a program may have made the environment from nothing."""
        if environment is not os.environ:  # a copy, or the program's own: its names may be bytes
            for key in [key for key in environment if isinstance(key, bytes)]:
                environment[os.fsdecode(key)] = environment.pop(key)
        search = os.fsdecode(environment.get("PYTHONPATH") or "")
        if self._folder not in search.split(os.pathsep):
            environment["PYTHONPATH"] = self._folder + (os.pathsep + search if search else "")
        path, clients = os.fsdecode(environment.get("PATH") or os.defpath), os.path.join(self._folder, "bin")
        if clients not in path.split(os.pathsep) and _PYTHON in self._variables:
            environment["PATH"] = clients + os.pathsep + path
        for name, value in self._variables.items():
            if environment.get(name) != value:
                environment[name] = value


def _is_led(path: str, words: Sequence[str]) -> bool:
    """Whether this starts a Python that imports our sitecustomize, as the interpreter or by the script's first line."""
    found = _find(path)
    if found is None:
        return False
    if os.path.basename(found).rstrip("0123456789.") not in ("python", "pypy"):
        return _is_python_script(found)
    for word in words[1:]:
        if not word.startswith("-") or word in ("-", "-c", "-m"):
            break
        if word[1] not in "WX-" and _UNLED_FLAGS & set(word):
            return False
    return True


def _find(path: str) -> str | None:
    if os.path.dirname(path):
        return path
    candidates = (os.path.join(folder, path) for folder in os.get_exec_path())
    return next((candidate for candidate in candidates if os.access(candidate, os.X_OK)), None)


def _is_python_script(path: str) -> bool:
    """Whether a script that Python runs: such as `alembic` in an environment's bin."""
    try:
        with open(path, "rb") as script:
            start = script.read(300)
    except OSError:
        return False
    # Where the interpreter's path is long or has a space, pip writes #!/bin/sh and then '''exec' "path/python".
    first, _, rest = start.partition(b"\n")
    return first.startswith(b"#!") and (b"python" in first or rest.startswith(b"'''exec'"))
