"""The pepper: a secret key for the digests of what may hold a password.

A manifest can be passed on, and a short password is soon guessed from its plain SHA-256. With the pepper a digest tells
nothing, not even whether two variables are equal. It is a file beside the snapshots, for its owner alone, and never
part of a snapshot. Where it is lost, snapshots whose inputs have secrets fit no more, and are built again.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SIZE_BYTES = 32
FILE = "inputs.key"
SECRET_BEGINNINGS = (".env", ".pgpass", ".netrc", ".npmrc", ".pypirc", ".pg_service", "id_")
SECRET_ENDS = (".env", ".pem", ".key", ".p12", ".pfx", ".jks", ".tfvars")
SECRET_WORDS = ("secret", "credential", "password", "passwd", "token")


def may_hold_secrets(path: str) -> bool:
    """Return whether files of this name often hold passwords or keys."""
    name = path.rpartition("/")[2].lower()
    return (
        name.startswith(SECRET_BEGINNINGS) or name.endswith(SECRET_ENDS) or any(word in name for word in SECRET_WORDS)
    )


def load(folder: Path | None) -> bytes:
    """Return the pepper of a folder, made now if there is none.

    Processes that ask at once get the same one. Without a folder, or where it cannot be written, it is another one each
    time.
    """
    new = os.urandom(SIZE_BYTES)
    if folder is None:
        return new
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        kept = path.read_bytes() if path.exists() else _place(path, new)
        if len(kept) != SIZE_BYTES:  # it was damaged
            replace(path, new)
            kept = path.read_bytes()
    except OSError:
        return new
    return kept


def replace(path: Path, content: bytes) -> None:
    """Write a file for its owner alone: a reader finds the old content or the new one, and no part of either."""
    draft = _draft(path, content)
    try:
        draft.replace(path)
    except OSError:
        draft.unlink()
        raise


def _place(path: Path, content: bytes) -> bytes:
    """Write a file if there is none yet, and return what it holds then: of several who do so, the first one wins."""
    draft = _draft(path, content)
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        draft.unlink()
    except OSError:  # a file system without hard links
        draft.replace(path)
    else:
        draft.unlink()
    return path.read_bytes()


def _draft(path: Path, content: bytes) -> Path:
    draft = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except OSError:
        draft.unlink(missing_ok=True)  # the disk is full
        raise
    return draft
