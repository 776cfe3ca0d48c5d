"""A snapshot as one file, to be passed on: a compressed tar archive of its folder."""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.build.snapshot import Snapshot, SnapshotDamaged
from dbtools.build.temporary import temporary_folder
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator


def pack(snapshot: Snapshot, file: Path) -> None:
    """Write a snapshot into `file`, which only its owner may read: it holds the data.

    Raises:
        ConfigurationError: It cannot be written there.
    """
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "wb") as output, tarfile.open(fileobj=output, mode="w:gz") as archive:
            for path in sorted(snapshot.folder.iterdir()):
                archive.add(path, path.name)
        draft.replace(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ConfigurationError(
            f"The snapshot cannot be written to {file}.", f"{error.strerror}.", "Name another file.", UNCHANGED
        ) from error


@contextmanager
def unpack(file: Path) -> Iterator[Snapshot]:
    """Yield the snapshot in `file`, all its parts checked; its files are gone at the end of the block.

    Raises:
        ConfigurationError: There is no such file, or it is no snapshot.
        SnapshotDamaged: A part is missing or was changed.
    """
    with temporary_folder() as folder:
        try:
            with tarfile.open(file, "r:gz") as archive:
                for member in archive:
                    # A link, a folder, or a name that leads elsewhere is no part of a snapshot.
                    content = archive.extractfile(member) if member.isfile() else None
                    if content and member.name == Path(member.name).name:
                        with (folder / member.name).open("wb") as output:
                            shutil.copyfileobj(content, output)
        except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
            raise ConfigurationError(
                f"{file} is not a snapshot that can be read.",
                f"{getattr(error, 'strerror', None) or error}.",
                "Make one: invoke snapshot.save FILE",
                UNCHANGED,
            ) from error
        snapshot = Snapshot(folder)
        try:
            snapshot.check()
        except SnapshotDamaged as error:
            error.what = f"The snapshot {file} cannot be used."  # not the folder of a moment
            raise
        yield snapshot
