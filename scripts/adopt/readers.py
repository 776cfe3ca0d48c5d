"""Readers: processes that read all tables in a loop and count what failed, while something happens to the tables."""

from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING, Self

import psycopg

from scripts.adopt.processes import Failed

if TYPE_CHECKING:
    from types import TracebackType

READERS = 3
MAX_TABLES = 20
PAUSE_S = 0.002
"""Between two reads: readers that never pause would leave two cores nothing for the reset."""
PATIENCE_S = 60.0
"""How long to wait for the readers' next read before they count as stuck."""

TABLES = """
select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema', 'dbtools')
  and n.nspname !~ '^pg_(toast|temp)' order by greatest(c.reltuples, 0) desc, 1
"""


class Readers:
    """Three readers on one database, from `with` to its end.

    A read is one statement that counts the rows of up to MAX_TABLES tables. It has failed when the server refused it,
    and also when a count was another than before: that is a state between old and new.
    """

    def __init__(self, url: str) -> None:
        """Look at the tables of `url`; start the readers."""
        with psycopg.connect(url) as connection:
            tables = [str(name) for (name,) in connection.execute(TABLES).fetchmany(MAX_TABLES)]
            self.query = "select " + ", ".join(f"(select count(*) from {table})" for table in tables)
            expected = connection.execute(self.query).fetchone()
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._counts = [(context.Value("q", 0), context.Value("q", 0)) for _ in range(READERS)]
        self._words = context.SimpleQueue()
        self._processes = [
            context.Process(
                target=_read, args=(url, self.query, expected, self._stop, *counts, self._words), daemon=True
            )
            for counts in self._counts
        ]

    @property
    def reads(self) -> int:
        """How many reads there were."""
        return sum(reads.value for reads, _ in self._counts)

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return sum(failed.value for _, failed in self._counts)

    def first_failure(self) -> str:
        """Return what the first read that failed was told."""
        return "" if self._words.empty() else str(self._words.get())

    def wait_for_reads(self) -> None:
        """Return when each reader has finished a read that began after this call."""
        before = [reads.value for reads, _ in self._counts]
        deadline = time.monotonic() + PATIENCE_S
        while any(reads.value < old + 2 for (reads, _), old in zip(self._counts, before, strict=True)):
            dead = [process for process in self._processes if not process.is_alive()]
            if dead or time.monotonic() > deadline:
                raise Failed(f"a reader {'ended' if dead else 'is stuck'}: {self.first_failure()}")
            time.sleep(0.005)

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        self.wait_for_reads()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for process in self._processes:
            process.join(PATIENCE_S)
            process.kill()


def _read(url, query, expected, stop, reads, failed, words) -> None:  # type: ignore[no-untyped-def]
    with psycopg.connect(url, autocommit=True, application_name="reader") as connection:
        while not stop.wait(PAUSE_S):
            try:
                found = connection.execute(query).fetchone()
                problem = "" if found == expected else f"counts {found} instead of {expected}"
            except psycopg.Error as error:
                problem = str(error).strip()
            if problem:
                if not failed.value:
                    words.put(problem)
                failed.value += 1
            reads.value += 1
            if connection.closed:
                return
