"""A process that acts when this one is gone, however it went: it reads a pipe whose other end only we hold."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_open: set[Watchdog] = set()


class Watchdog:
    """Starts `command` with the pipe as its standard input. It is to wait for the end of file, then clean up.

    In a session of its own, so that Ctrl-C does not reach it.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str]) -> None:
        read_end, self._write_end = os.pipe()
        _open.add(self)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=environment,
                start_new_session=True,
            )
        finally:
            os.close(read_end)

    @property
    def closed(self) -> bool:
        """Whether the clean-up was asked for already."""
        return self not in _open

    def close(self) -> None:
        """Let it clean up now, and return when it has."""
        if not self.closed:
            _open.discard(self)
            os.close(self._write_end)
        self._process.wait()


def _close_all() -> None:
    while _open:
        os.close(_open.pop()._write_end)


# A forked child inherits the write ends and would keep the watchdogs waiting after its parent's death.
os.register_at_fork(after_in_child=_close_all)
