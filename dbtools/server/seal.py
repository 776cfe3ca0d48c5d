"""A seal on a folder: all of its files are there, as long as they were, and the ones that matter most are unchanged.

Reading every byte would take longer than starting a server. So the lengths of all files are compared, and the content
of those that say who may connect, and how.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

SEAL = "seal.json"
READ = {"password", "version", "pg_hba.conf", "pg_ident.conf", "postgresql.conf", "PG_VERSION", "pg_control"}
"""Names of the files whose content is compared."""


def seal(folder: Path) -> None:
    """Write down what the folder holds now."""
    (folder / SEAL).write_text(json.dumps(_contents(str(folder))), "utf-8")


def is_whole(folder: Path) -> bool:
    """Return whether the folder holds what it held when it was sealed."""
    try:
        return bool(json.loads((folder / SEAL).read_text("utf-8")) == _contents(str(folder)))
    except (OSError, ValueError):
        return False


def _contents(folder: str, below: str = "") -> dict[str, int | str]:
    # With plain strings: this is done before every start of a server.
    found: dict[str, int | str] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                found[name] = -1
                found |= _contents(entry.path, f"{name}/")
            elif entry.name in READ:
                found[name] = hashlib.sha256(Path(entry.path).read_bytes()).hexdigest()
            elif entry.name != SEAL:
                found[name] = entry.stat(follow_symlinks=False).st_size
    return found
