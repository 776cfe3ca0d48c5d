"""A reader beside the processes of a round: how long each of its reads took, and which failed."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbtools.db.connect import open_session
from dbtools.db.sql import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from dbtools.db.dsn import Dsn

PAUSE_S = 0.005
"""Between two reads: the processes of the round need the cores."""


@dataclass
class Reads:
    """What a reader has seen."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    """For each read the Unix time at which it reached the server, by the server's clock, and the seconds it took."""
    errors: list[str] = field(default_factory=list)
    """The failed reads: SQLSTATE and words of the server, "42P01 relation "a" does not exist"."""

    @property
    def number(self) -> int:
        """How many reads there were, failed ones too."""
        return len(self.spans) + len(self.errors)

    @property
    def longest(self) -> float:
        """The seconds of the longest read that did not fail."""
        return max((seconds for _, seconds in self.spans), default=0.0)


@contextmanager
def reader(database: Dsn, tables: Sequence[tuple[str, str]]) -> Iterator[Reads]:
    """Count the rows of all `tables` (schema and name) in one statement, again and again, until the block ends.

    Each read is a transaction of its own. The first one has ended before the block begins, and the last one when it
    has ended.

    Raises:
        DatabaseUnreachable: The server did not let the reader in.
    """
    reads, over = Reads(), threading.Event()
    counts = ", ".join(f"(select count(*) from {quote(schema)}.{quote(name)})" for schema, name in tables)
    query = f"select extract(epoch from statement_timestamp())::float8, array[{counts}]::bigint[]"
    with open_session(database, "reader") as session:
        _read(session, query, reads)

        def read_on() -> None:
            while not over.wait(PAUSE_S) and not session.closed:
                _read(session, query, reads)

        thread = threading.Thread(target=read_on, daemon=True)
        thread.start()
        try:
            yield reads
        finally:
            over.set()
            thread.join()


def _read(session: psycopg.Connection, query: str, reads: Reads) -> None:
    import psycopg

    began = time.monotonic()
    try:
        row = session.execute(query).fetchone()
    except psycopg.Error as error:
        words = error.diag.message_primary or str(error).partition("\n")[0]
        reads.errors.append(f"{error.sqlstate or ''} {words}".strip())
    else:
        assert row is not None
        reads.spans.append((row[0], time.monotonic() - began))
