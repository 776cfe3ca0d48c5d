"""What was found: steps that may make the database, and lines that say how that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_SHOWN_FILES = 3
Value = str | list[Any] | dict[str, Any]
"""What stands behind `migrate =` or `seed =`."""
Led = Literal["python", "psql", "variables"]
"""How a step comes to its database: dbtools leads Python programs, and runs psql itself; others read variables."""


@dataclass(frozen=True)
class Steps:
    """Something that may stand behind `migrate` or `seed`."""

    tool: str
    """What people call it: "Alembic"."""
    evidence: tuple[str, ...]
    """The files that show it."""
    value: Value | None
    """None: it is there, but its command cannot be guessed."""
    folder: str = "."
    """Where the part of the project lies that it belongs to."""
    sure: bool = True
    """Whether it is more than a guess."""
    led: Led = "python"
    weak: bool = False
    """Whether anything else that was found goes before it."""
    mind: tuple[str, ...] = ()
    """Sentences about what may go wrong with it."""


@dataclass(frozen=True)
class Finding:
    """A line for the person who asked."""

    kind: Literal["found", "guessed", "missing", "unused", "mind"]
    text: str
    evidence: tuple[str, ...] = ()

    def __str__(self) -> str:
        files = ", ".join(self.evidence)
        if len(self.evidence) > MAX_SHOWN_FILES:
            files = f"{self.evidence[0]} … {self.evidence[-1]} ({len(self.evidence)} files)"
        return {
            "found": f"Found {files}: {self.text}",
            "guessed": f"Guessed from {files}: {self.text}",
            "missing": f"Not found: {self.text}",
            "unused": f"Also found, not used: {self.text} ({files})",
            "mind": f"Mind: {self.text}",
        }[self.kind]

    def to_json(self) -> dict[str, Any]:
        """Return the line for a machine."""
        return {"kind": self.kind, "text": self.text, "files": list(self.evidence)}


def command(words: Sequence[str], folder: str = ".", env: Mapping[str, str] | None = None) -> Value:
    """Return the shortest form of a step that runs a command in a folder."""
    if folder == "." and not env:
        return list(words)
    return in_folder({"command": list(words)}, folder) | ({"env": dict(env)} if env else {})


def in_folder(table: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return the table of a step that runs in a folder."""
    return table if folder == "." else table | {"cwd": folder}
