"""Read tables that others use: nothing is changed, nothing stays set, and a locked table is not waited for long."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dbtools.db.sql import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

LOCK_WAIT_S = 5
"""How long a table that another session has locked is waited for."""


@contextmanager
def reading(connection: psycopg.Connection, schema: str = "pg_catalog") -> Iterator[None]:
    """Read in a transaction; names without a schema are looked up in `schema`. `connection` is in autocommit.

    Raises:
        psycopg.errors.LockNotAvailable: A table is locked.
    """
    with connection.transaction():
        connection.execute(
            f"set transaction read only; set local lock_timeout = '{LOCK_WAIT_S}s';"
            f" set local search_path to {quote(schema)}"
        )
        yield
