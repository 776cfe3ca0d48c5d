"""Where a fault happens: a database of its own with the sample application's rows, and a superuser who looks on."""

from __future__ import annotations

import datetime as dt
import random
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import psycopg

from dbtools import chain
from dbtools.build.scratch import PREFIX
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.chain.target import Target
from dbtools.config import LOCK_KEY, Project, SeedPlan
from dbtools.db.blockers import find_holder
from dbtools.db.digest import digest
from dbtools.db.dsn import Dsn
from tests.faults.child import Child
from tests.support.sources import sample_source
from tests.support.waiting import seconds_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.chain.phase import Outcome
    from dbtools.chain.prefetch import SeedRows
    from dbtools.server.embedded import EmbeddedServer

AS_OF = dt.date(2026, 11, 23)
OLD, NEW = 42, 43
"""Two seeds: two contents that can be told apart."""
RUNS = "starts_with(application_name, 'dbtools ')"
_ADVISORY_LOCKS = (
    "select count(*) from pg_locks where locktype = 'advisory'"
    " and database = (select oid from pg_database where datname = current_database())"
)


@cache
def rows(seed: int) -> SeedRows:
    """Return the rows of a seed, computed: what is broken here is the chain, not the generator."""
    with generate_in_background(Project.find().load_application(), SeedPlan("dev", AS_OF, seed)) as computed:
        computed.copy_data()
    return computed


@dataclass
class Environment:
    """A database on a server, and a superuser's session on it."""

    server: EmbeddedServer
    url: str
    admin: psycopg.Connection

    def target(self, **options: Any) -> Target:
        """Return the database as the chain takes it."""
        return Target(Dsn.parse(self.url), LOCK_KEY, **options)

    def reset(self, seed: int, **options: Any) -> Outcome:
        """Reset to the content of a seed, in this process."""
        return chain.reset(self.target(**options), sample_source(), rows(seed), NullReport())

    def seed(self, seed: int) -> Outcome:
        """Seed, in this process."""
        return chain.seed(self.target(), sample_source(), rows(seed), NullReport())

    def resetting(self, seed: int, **options: Any) -> Child:
        """Start a reset in a process of its own."""
        return Child(partial(self.reset, seed, **options))

    def contents(self, **options: Any) -> dict[str, int]:
        """Reset to both seeds and return the digests they give; the content is OLD then."""
        found = {}
        for seed in (NEW, OLD):
            self.reset(seed, **options)
            found[self.digest()] = seed
        assert len(found) == 2
        return found

    def duration(self, **options: Any) -> float:
        """Return the seconds a reset in a process of its own takes: the longest of three."""
        times = []
        for seed in (NEW, OLD, OLD):
            started = time.monotonic()
            with self.resetting(seed, **options) as child:
                assert child.finish().ok
            times.append(time.monotonic() - started)
        return max(times)

    def digest(self) -> str:
        """Return the content's digest."""
        with psycopg.connect(self.url, autocommit=True, application_name="faults digest") as connection:
            return digest(connection).sha256

    def query(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Ask as the superuser."""
        cursor = self.admin.execute(sql, arguments or None)
        return cursor.fetchall() if cursor.description else []

    @contextmanager
    def holding(self, key: int) -> Iterator[None]:
        """Hold the advisory lock `key` during the block: others who take it, shared or not, wait until its end."""
        self.query("select pg_advisory_lock(%s)", key)
        try:
            yield
        finally:
            self.query("select pg_advisory_unlock(%s)", key)

    def holder(self) -> int | None:
        """Return the server process that holds the seed lock, None where it is free."""
        found = find_holder(self.admin, LOCK_KEY)
        return found.pid if found else None

    def waiters(self, key: int) -> int:
        """Return how many sessions wait for the advisory lock `key`."""
        condition = " and not granted and (classid::int8 << 32 | objid::int8) = %s"
        return int(self.query(_ADVISORY_LOCKS + condition, key)[0][0])

    def terminate(self, ports: list[int], pid: int | None = None) -> int:
        """End the chain's sessions that come from these ports, or only `pid` of them; return how many there were."""
        return len(
            self.query(
                f"select pg_terminate_backend(pid) from pg_stat_activity where {RUNS}"
                " and datname = current_database() and client_port = any(%s) and pid = coalesce(%s, pid)",
                ports,
                pid,
            )
        )

    def sessions(self) -> int:
        """Return how many sessions of the chain there are."""
        found = self.query(f"select count(*) from pg_stat_activity where {RUNS} and datname = current_database()")
        return int(found[0][0])

    def locks(self) -> int:
        """Return how many advisory locks of the database are held or waited for."""
        return int(self.query(_ADVISORY_LOCKS)[0][0])

    def freed(self, limit_s: float = 30.0) -> float:
        """Wait until no session and no lock of the chain is left; return how long, or infinity."""
        return seconds_until(lambda: not self.locks() and not self.sessions(), limit_s)

    def leftovers(self) -> list[str]:
        """Return the schemas of ours that are there, but for that of the mark; and databases of builds."""
        found = self.query(
            "select nspname from pg_namespace where starts_with(nspname, 'dbtools_') union all"
            " select datname from pg_database where starts_with(datname, %s)",
            PREFIX,
        )
        return [str(name) for (name,) in found]


@contextmanager
def environment(server: EmbeddedServer) -> Iterator[Environment]:
    """Make a database on the server for one row, and drop it at the end."""
    name = f"faults_{secrets.token_hex(4)}"
    url = server.create_database(name)
    try:
        with psycopg.connect(server.url_of(name, admin=True), autocommit=True, application_name="faults") as connection:
            yield Environment(server, url, connection)
    finally:
        server.drop_database(name)


def database(url: str) -> str:
    """Return the name of the database at `url`."""
    return Dsn.parse(url).dbname


def port(url: str) -> int:
    """Return the server's port."""
    return int(Dsn.parse(url).port)


class Moments:
    """Random moments of a run: `number` of them spread over `length_s`, in random order.

    A run may take less time than the one that was measured, and be over when its moment comes. So when fewer than
    `wanted` were hits (the caller counts them in `hits`), up to 2 * `number` more follow, ever earlier.
    """

    def __init__(self, number: int, length_s: float, wanted: int) -> None:
        self.number = number
        self.hits = 0
        self._length_s = length_s
        self._wanted = wanted

    def __iter__(self) -> Iterator[float]:
        slots = list(range(self.number))
        random.shuffle(slots)
        for slot in slots:
            yield (slot + random.random()) * self._length_s / self.number  # noqa: S311 - not for cryptography
        length_s = self._length_s
        for _ in range(2 * self.number):
            if self.hits >= self._wanted:
                return
            length_s *= 0.8
            yield random.random() * length_s  # noqa: S311 - not for cryptography
