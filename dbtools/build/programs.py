"""PostgreSQL's client programs: where one is that is new enough for a server."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dbtools.errors import ServerError
from dbtools.server.sources import TREES, WHEEL, client_folders, installing

if TYPE_CHECKING:
    from collections.abc import Iterator

Program = Literal["psql", "pg_dump", "pg_restore"]


@cache
def find_program(name: Program, major: int) -> Path:
    """Return a program of PostgreSQL `major`, or else of the nearest newer version.

    Among equals, that of the embedded server's wheel comes first, then the distribution's, then that on PATH. What was
    found is kept for this process.

    Raises:
        ServerError: There is none. Names those that are too old.
    """
    found = [(version, path) for path in _candidates(name) if (version := _version(path))]
    usable = [(version, path) for version, path in found if version >= major]
    if usable:
        return min(usable, key=lambda candidate: candidate[0])[1]
    old = ", ".join(f"{version} in {path.parent}" for version, path in found)
    raise ServerError(
        f"{name} of PostgreSQL {major} or newer was not found.",
        f"Found, and too old: {old}." if old else "It is neither in the embedded server's wheel nor on PATH.",
        f"Install the distribution's programs (Debian: postgresql-client-{major})"
        + (f", or: {installing(WHEEL)}" if major <= max(TREES) else "."),
    )


def _candidates(name: str) -> Iterator[Path]:
    yield from (folder / name for folder in client_folders() if (folder / name).is_file())
    if on_path := shutil.which(name):
        yield Path(on_path)


def _version(program: Path) -> int:
    """Return the major version of a program, or 0 if it does not run here."""
    try:
        done = subprocess.run(
            [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(found[1]) if found else 0
