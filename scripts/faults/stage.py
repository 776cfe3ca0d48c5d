"""The stage of a fault: a database of its own, the sample application's rows, and somebody who looks on."""

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
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.chain.target import Target
from dbtools.config import LOCK_KEY, Project, SeedPlan
from dbtools.db.digest import digest
from dbtools.db.dsn import Dsn
from scripts.faults.child import Child, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.chain.phase import Outcome
    from dbtools.chain.prefetch import SeedRows
    from dbtools.server.embedded import EmbeddedServer

AS_OF = dt.date(2026, 11, 23)
OLD, NEW = 42, 43
"""Two seeds: two contents that can be told apart."""
RUNS = "starts_with(application_name, 'dbtools ')"


@cache
def rows(seed: int) -> SeedRows:
    """Return the rows of a seed, computed: what is broken here is the chain, not the generator."""
    with generate_in_background(Project.find().load_application(), SeedPlan("dev", AS_OF, seed)) as computed:
        computed.copy_data()
    return computed


@dataclass
class Stage:
    """A database on a server, and a superuser's session on it."""

    server: EmbeddedServer
    url: str
    admin: psycopg.Connection

    def target(self, **options: Any) -> Target:
        """Return the database as the chain takes it."""
        return Target(Dsn.parse(self.url), LOCK_KEY, **options)

    def reset(self, seed: int, **options: Any) -> Outcome:
        """Reset to the content of a seed, in this process."""
        project = Project.find()
        return chain.reset(self.target(**options), project.migrations, project.cache, rows(seed), NullReport())

    def seed(self, seed: int) -> Outcome:
        """Seed, in this process."""
        return chain.seed(self.target(), rows(seed), NullReport())

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

    def terminate(self, ports: list[int]) -> int:
        """End the sessions that come from these ports; return how many there were."""
        return len(
            self.query(
                f"select pg_terminate_backend(pid) from pg_stat_activity where {RUNS}"
                " and datname = current_database() and client_port = any(%s)",
                ports,
            )
        )

    def sessions(self) -> int:
        """Return how many sessions of the chain there are."""
        found = self.query(f"select count(*) from pg_stat_activity where {RUNS} and datname = current_database()")
        return int(found[0][0])

    def locks(self) -> int:
        """Return how many advisory locks of the database are held or waited for."""
        return int(
            self.query(
                "select count(*) from pg_locks where locktype = 'advisory'"
                " and database = (select oid from pg_database where datname = current_database())"
            )[0][0]
        )

    def freed(self, seconds: float = 30.0) -> float:
        """Wait until no session and no lock of the chain is left; return how long, or infinity."""
        return until(lambda: not self.locks() and not self.sessions(), seconds)

    def leftovers(self) -> list[str]:
        """Return the schemas of ours that are there."""
        return [str(name) for (name,) in self.query("select nspname from pg_namespace where nspname like 'dbtools%'")]


@contextmanager
def stage(server: EmbeddedServer) -> Iterator[Stage]:
    """Make a database on the server for one row, and drop it at the end."""
    name = f"faults_{secrets.token_hex(4)}"
    url = server.create_database(name)
    admin = server.url_of(name, admin=True)
    try:
        with psycopg.connect(admin, autocommit=True, application_name="faults") as connection:
            yield Stage(server, url, connection)
    finally:
        server.drop_database(name)


def port(url: str) -> int:
    """Return the server's port."""
    return int(Dsn.parse(url).port)


def moments(number: int, length: float) -> Iterator[float]:
    """Yield so many random moments, spread over `length` seconds, in random order."""
    slots = list(range(number))
    random.shuffle(slots)
    for slot in slots:
        yield (slot + random.random()) * length / number  # noqa: S311 - not for cryptography
