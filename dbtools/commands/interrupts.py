"""Ctrl-C, SIGTERM and SIGHUP end a task alike: open work is rolled back, and the message says what that leaves."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dbtools.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption(KeyboardInterrupt):
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = signal.Signals(number)

    @property
    def exit_code(self) -> int:
        """What a shell reports of a program that the signal ended."""
        return 128 + self.signal

    @property
    def error(self) -> Interrupted:
        """The same as an error: what it ended, and what state that leaves."""
        state = next(iter(getattr(self, "__notes__", [])), "What was not committed is rolled back by the server.")
        hint = "Run this again; invoke doctor looks at the database."
        return Interrupted(f"Interrupted by {self.signal.name}.", "", hint, state)

    def __str__(self) -> str:
        return str(self.error)


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Have each of `SIGNALS` raise an `Interruption` in the block; one that is ignored stays ignored, as under nohup.

    Without a handler, process 1 of a container ignores SIGTERM. A second signal ends the process without clean-up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    replaced = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in replaced:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, before[number])


def _interrupt(number: int, _frame: FrameType | None) -> None:
    for other in SIGNALS:
        if signal.getsignal(other) is _interrupt:
            signal.signal(other, signal.SIG_DFL)
    raise Interruption(number)
