"""What the Python children of a build opened, listed and read, as they recorded it: lines of JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Record:
    """Paths are absolute."""

    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    """Folders in which imports looked for modules."""
    packages: set[str] = field(default_factory=set)
    variables: set[str] = field(default_factory=set)
    led: set[str] = field(default_factory=set)
    """What connections were led away from: "psycopg app@db.example.com:5432/prod"."""
    all_variables: bool = False
    """Some child went through all variables, or copied them."""
    is_complete: bool = False
    """All that decides the content was recorded: children did record, and started no other program."""

    @classmethod
    def read(cls, path: Path | None, start: int = 0) -> Record:
        """Return the record in a file, from the byte `start` on. A missing, empty or damaged one is incomplete."""
        record = cls()
        try:
            lines = path.read_bytes()[start:].split(b"\n") if path else []
        except OSError:
            lines = []
        record.is_complete = any(lines)
        for line in filter(None, lines):
            try:
                ((kind, value),) = json.loads(line).items()
            except (ValueError, AttributeError):
                record.is_complete = False
            else:
                record._add(kind, value)
        return record

    def _add(self, kind: str, value: object) -> None:
        place = {"file": self.files, "folder": self.folders, "modules": self.modules}
        place |= {"packages": self.packages, "variable": self.variables, "led": self.led}
        if kind in place and isinstance(value, str):
            if "\0" not in value:  # nothing has such a name
                place[kind].add(value if kind in ("file", "led") else value.rstrip("/") or "/")
        elif kind == "variables":
            self.all_variables = True
        elif kind == "program":
            self.is_complete = False
