"""The sessions of one run: the first is reserved for the lock, the others do the work."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dbtools.db.connect import open_session
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from dbtools.db.dsn import Dsn

MINIMUM_SIZE = 2


def check_size(size: int) -> None:
    """Refuse a pool that is too small, before anything is opened.

    Raises:
        ConfigurationError: `size` is less than 2. With one session the lock would keep it and the first statement of
            the work would wait for it for ever.
    """
    if size < MINIMUM_SIZE:
        raise ConfigurationError(
            f"A pool of {size} cannot run the chain.",
            "One connection is reserved for the lock, so a pool of 1 leaves none for the work and would hang.",
            f"Set --pool-size, DBTOOLS_POOL_SIZE or [tool.dbtools] pool-size to {MINIMUM_SIZE} or more.",
            UNCHANGED,
        )


class Sessions:
    """At most `size` sessions on one database, each opened when it is asked for.

    Where the URL leaves a choice of servers, the first session decides: the others go to the same one.

    Raises:
        ConfigurationError: `size` is too small (`check_size`).
    """

    def __init__(self, dsn: Dsn, size: int, purpose: str) -> None:
        check_size(size)
        self._dsn = dsn
        self._free = size
        self._purpose = purpose

    @contextmanager
    def open(self, *, autocommit: bool = True) -> Iterator[psycopg.Connection]:
        """Open a session and close it at the end of the block; what was not committed is rolled back.

        Raises:
            DatabaseUnreachable: The server did not let us in.
        """
        assert self._free > 0, "the chain asked for more sessions than its pool has"
        self._free -= 1
        connection = open_session(self._dsn, self._purpose, autocommit=autocommit)
        self._dsn = self._dsn.pinned(connection)
        try:
            yield connection
        finally:
            connection.close()
            self._free += 1
