"""The set-ups: folders that are projects as others have them, each with an adopt.toml that says how it is driven."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "projects"
ABOUT = "adopt.toml"
"""The one file of a set-up that is not part of the project."""
PINS = ("requirements.txt", "package.json")


@dataclass(frozen=True)
class Setup:
    """A project, and what its own people would type."""

    name: str
    folder: Path
    own: tuple[tuple[str, ...], ...]
    """The project's own commands, which take an empty database to a filled one."""
    ledger: str
    """SQL: how many revisions the ledger has, or with `history` the heads that it names."""
    history: tuple[str, str] | None
    """Of an Alembic history: the folders of its scripts and its versions, below site-packages or the project."""
    env: dict[str, str]
    """Variables that have nothing to do with the database. "{here}" is the project's folder."""
    logs: tuple[str, ...]
    """Tables in which the own command writes down each call."""
    extensions: tuple[str, ...]
    short: bool
    """Whether the short form drives it."""

    @property
    def pin_files(self) -> list[Path]:
        """The files that name the packages to install, each in an exact version."""
        return [path for name in PINS if (path := self.folder / name).is_file()]

    @property
    def pins(self) -> list[str]:
        """The packages and their versions."""
        found = list[str]()
        for path in self.pin_files:
            text = path.read_text("utf-8")
            node = json.loads(text)["dependencies"] if path.suffix == ".json" else {}
            found += [f"{name}@{version}" for name, version in node.items()] or text.split()
        return found

    @property
    def table(self) -> list[str]:
        """The lines of [tool.dbtools] in pyproject.toml."""
        text = (self.folder / "pyproject.toml").read_text("utf-8").partition("[tool.dbtools]\n")[2]
        return [line for line in text.splitlines() if line.strip()]

    @property
    def has_seed(self) -> bool:
        """Whether there are steps that seed."""
        return "seed" in tomllib.loads((self.folder / "pyproject.toml").read_text("utf-8"))["tool"]["dbtools"]


def all_setups() -> list[Setup]:
    """Return every set-up, by name."""
    return [read(path) for path in sorted(FOLDER.glob(f"*/{ABOUT}"))]


def read(path: Path) -> Setup:
    """Return the set-up that an adopt.toml describes; its name is that of the folder."""
    found = tomllib.loads(path.read_text("utf-8"))
    history = found.get("history")
    return Setup(
        path.parent.name,
        path.parent,
        tuple(tuple(words) for words in found["own"]),
        found["ledger"],
        (history["scripts"], history["versions"]) if history else None,
        found.get("env", {}),
        tuple(found.get("logs", ())),
        tuple(found.get("extensions", ())),
        found.get("short", False),
    )
