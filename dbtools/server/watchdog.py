"""A clean-up process that outlives this one: it blocks on a pipe that closes when we exit, even after kill -9."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_open: set[Watchdog] = set()


class Watchdog:
    """Starts `command`, which must read its standard input to the end and then clean up.

    The command runs in a session of its own, so that Ctrl-C does not reach it.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str]) -> None:
        read_end, self.write_end = os.pipe()
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
    def pid(self) -> int:
        """The process id of the command."""
        return self._process.pid

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self not in _open

    def close(self) -> None:
        """Start the clean-up, and return when it has finished."""
        if not self.closed:
            _open.discard(self)
            os.close(self.write_end)
        self._process.wait()


def _close_all() -> None:
    while _open:
        os.close(_open.pop().write_end)


# A forked child inherits the write ends: while it held them, the watchdogs would not notice the parent's death.
os.register_at_fork(after_in_child=_close_all)
