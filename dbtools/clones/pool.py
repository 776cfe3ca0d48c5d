"""Databases made ahead: copies of one template, or empty ones, a few of which are always ready."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from dbtools.build import template as templates
from dbtools.db.connect import lost, open_session
from dbtools.errors import DbtoolsError, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from dbtools.build.template import Owner

EMPTY = "template1"


class Pool:
    """Keeps `ahead()` databases ready, in a thread of its own, from the first `take` on.

    `prepare` returns the name of the template, and is asked again where that is gone.
    """

    def __init__(self, owner: Owner, template: str, prepare: Callable[[], str], ahead: Callable[[], int]) -> None:
        self._owner, self._template, self._prepare, self._ahead = owner, template, prepare, ahead
        self._changed = threading.Condition()
        self._ready: deque[str] = deque()
        self._waiting = 0
        self._error: DbtoolsError | None = None
        self._closed = False
        self._maker = threading.Thread(target=self._make, name="dbtools databases", daemon=True)
        self._maker.start()

    def take(self) -> str:
        """Return the name of a new database, which is the caller's.

        Raises:
            DbtoolsError: None could be made.
        """
        with self._changed:
            self._error = None
            self._waiting += 1
            self._changed.notify_all()
            try:
                while not self._ready:
                    if self._error is not None:
                        raise self._error
                    self._changed.wait()
                return self._ready.popleft()
            finally:
                self._waiting -= 1

    def close(self) -> None:
        """Make no more databases; those that are ready stay with the owner."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._maker.join()

    def _make(self) -> None:
        session: psycopg.Connection | None = None
        while self._is_wanted():
            name = self._owner.new_name()
            try:
                session = session or open_session(self._owner.dsn, "databases")
                self._copy(session, name)
            except Exception as error:  # noqa: BLE001 - it is raised again in the threads that wait
                if session is not None:
                    session.close()
                session = None
                with self._changed:
                    self._error = _explain(error)
                    self._changed.notify_all()
                    # Those that wait now get the error; the next one that asks lets us try again.
                    self._changed.wait_for(lambda: self._closed or self._error is None)
            else:
                with self._changed:
                    self._ready.append(name)
                    self._changed.notify_all()
        if session is not None:
            session.close()

    def _is_wanted(self) -> bool:
        """Wait until another database is wanted; return False once none will be."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._ready) < max(self._waiting, self._ahead()))
            return not self._closed

    def _copy(self, session: psycopg.Connection, name: str) -> None:
        import psycopg

        try:
            templates.copy(session, self._template, name)
        except psycopg.errors.InvalidCatalogName:  # another run's sweep has dropped it
            self._template = self._prepare()
            templates.copy(session, self._template, name)


def _explain(error: Exception) -> DbtoolsError:
    if isinstance(error, DbtoolsError):
        return error
    if broken := lost(error):
        return broken
    return ServerError(
        "A database could not be made.",
        f"{' '.join(str(error).split()).rstrip('.')}.",
        "Look at the server's log, and at the room on its disk.",
    )
