"""One attempt to connect, which ends in time whatever the look-up of the host's name does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.db.watch import WatchedConnection


class Attempt(threading.Thread):
    """An attempt to connect, in a thread of its own: nothing but leaving it alone ends the look-up of a name."""

    def __init__(self, attempt: Callable[[], WatchedConnection]) -> None:
        super().__init__(name="dbtools connect", daemon=True)
        self._attempt = attempt
        self._result: WatchedConnection | BaseException | None = None
        self._left = threading.Lock()
        """Held by this thread when it has a result, or by the one that does not wait for it any more."""

    def run(self) -> None:
        """Connect; close the session where nobody waits for it any more."""
        try:
            result: WatchedConnection | BaseException = self._attempt()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            result = error
        if self._left.acquire(blocking=False):
            self._result = result
        elif not isinstance(result, BaseException):
            result.close()

    def result_within(self, seconds: float) -> WatchedConnection:
        """Return the session, or raise what the attempt raised, or ConnectionTimeout."""
        import psycopg

        try:
            self.start()
            self.join(seconds)
        finally:
            late = self._left.acquire(blocking=False)
        if late:
            raise psycopg.errors.ConnectionTimeout(f"connection timeout expired: no answer in {seconds:.1f} s")
        self.join()
        if isinstance(self._result, BaseException):
            raise self._result
        assert self._result is not None
        return self._result
