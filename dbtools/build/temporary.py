"""Folders for what a run needs for a moment. One that a killed process has left is removed by the next one.

They hold data, so only their owner can read them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import weakref
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.server.folders import temporary_place
from dbtools.server.lease import Lease, is_held

if TYPE_CHECKING:
    from collections.abc import Iterator

LEASE = "lease"
YOUNG_S = 60.0
"""How old a folder without a lease has to be before it counts as left: its maker may be about to take one."""


class TemporaryFolder:
    """A new folder in the place for temporary files, until it is closed or this process ends."""

    def __init__(self) -> None:
        place = temporary_place()
        prefix = f"dbtools-{os.geteuid()}-build-"
        for path in place.glob(f"{prefix}*"):
            with suppress(OSError):
                if _is_left(path):
                    shutil.rmtree(path, ignore_errors=True)
        self._top = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        self._lease = Lease(self._top / LEASE)
        self.path = self._top / "files"
        self.path.mkdir()
        weakref.finalize(self, shutil.rmtree, self._top, ignore_errors=True)

    def close(self) -> None:
        """Remove it. A second call does nothing."""
        shutil.rmtree(self._top, ignore_errors=True)
        self._lease.close()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder that is gone at the end of the block."""
    folder = TemporaryFolder()
    try:
        yield folder.path
    finally:
        folder.close()


def _is_left(path: Path) -> bool:
    status = path.lstat()
    if status.st_uid != os.geteuid():
        return False
    held = is_held(path / LEASE)
    return held is False or (held is None and status.st_mtime < time.time() - YOUNG_S)
