"""The record: lines of JSON, appended by all processes of a step to one file."""

from __future__ import annotations

import os
import sys

try:
    # The C function alone: the json package takes milliseconds to import, in every child.
    from _json import encode_basestring_ascii as quote
except ImportError:
    from json.encoder import py_encode_basestring_ascii as quote


class Record:
    """The file `path`. Each process writes a line once."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)  # the program may change its folder
        self._written: set[tuple[str, str]] = set()

    def write(self, key: str, value: str) -> None:
        """Append {key: value}, once."""
        if (key, value) not in self._written:
            self._written.add((key, value))
            self._append(key, quote(value))

    def write_all_variables(self) -> None:
        """Append that the environment was read as a whole."""
        if ("variables", "") not in self._written:
            self._written.add(("variables", ""))
            self._append("variables", "true")

    def _append(self, key: str, json: str) -> None:
        """Append one line. A record that cannot be written ends the program: its inputs would be unknown."""
        line = f'{{"{key}": {json}}}\n'
        try:
            # Opened for each line: a program that closes all descriptors may get our number for a file of its own.
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, line.encode("ascii"))
            finally:
                os.close(descriptor)
        except OSError as error:
            os.write(2, f"dbtools: cannot record what this program reads: {error}\n".encode(errors="replace"))
            os._exit(70)

    def packages(self) -> None:
        """Record the folders of installed packages, which decide what the program's imports mean."""
        for entry in sys.path:
            if os.path.basename(entry) in ("site-packages", "dist-packages"):
                self.write("packages", os.path.abspath(entry))
