"""Drive one set-up: its own commands alone, beside dbtools with the same project. The server is asked for each cell."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from dbtools.build.programs import find_program
from dbtools.chain.mark import marked_schemas
from dbtools.db.digest import digest_all
from dbtools.db.dsn import Dsn
from dbtools.db.sql import quote, scalar
from dbtools.server.requirements import Requirements
from dbtools.server.sources import sources
from dbtools.server.throwaway import start_throwaway
from scripts.adopt.environments import environment
from scripts.adopt.processes import Failed, run
from scripts.adopt.project import Project
from scripts.adopt.readers import READERS, TABLES, Readers
from scripts.adopt.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dbtools.db.digest import Digest
    from dbtools.server import Server
    from scripts.adopt.setups import Setup

RESETS = 3
"""How many resets there are while the readers read."""
OBJECTS = """
select count(*) from pg_depend d join pg_namespace n on (d.refclassid, d.refobjid) = ('pg_namespace'::regclass, n.oid)
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
"""
SESSIONS = "select sessions from pg_stat_database where datname = %s"
SCHEMAS = "select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'"


def drive(setup: Setup, folder: Path, rounds: int) -> Result:
    """Return what came out of driving `setup` on a server of its own, with its project in `folder`."""
    result = Result(setup)
    home = None
    with result.check("install"):
        home = environment(setup)
    if home is not None:
        with result.check("server"), _server(setup.extensions) as server:
            result.server = server.version.partition(" ")[0]  # Debian adds its own
            Driver(result, server, folder, home, rounds).drive()
    return result


def _server(extensions: tuple[str, ...]) -> Server:
    """Start the first server that is there with the extensions; the set-up itself makes them."""
    majors = [binaries.major for binaries in sources() if binaries.extensions.issuperset(extensions)]
    return start_throwaway(Requirements(majors[0] if majors else None, extensions), bare=True)


class Driver:
    """The databases, and two copies of the project.

    The settings of `project`, which dbtools resets, name the database `trap`; those of `by_hand`, its own.
    """

    def __init__(self, result: Result, server: Server, folder: Path, home: Path, rounds: int) -> None:
        name = result.setup.name.replace("-", "_")
        self.result, self.server, self.rounds = result, server, rounds
        self.hand, self.target, self.trap = (
            server.create_database(f"{name}_{what}") for what in ("hand", "target", "trap")
        )
        self.project = Project(result.setup, home, folder / "project", self.trap)
        self.by_hand = Project(result.setup, home, folder / "by-hand", self.hand)

    def drive(self) -> None:
        """Measure, and run all checks. Without the own command or a reset there is nothing to check."""
        check, before = self.result.check, self._sessions_of_trap()
        for number in range(self.rounds):
            with check("own command"):
                self._run_own(again=number > 0)
            with check("reset"):
                self._reset()
            if self.result.failures:
                break
        else:
            for name, action in self._checks():
                with check(name):
                    action()
        with check("trap"):
            self._stays_empty(before)

    def _checks(self) -> Iterator[tuple[str, Callable[[], None]]]:
        yield "figures", self._count
        yield "digest", self._same_twice
        yield "in place", lambda: self._same_after("reset", "--in-place")
        if self.result.setup.has_seed:
            yield "seed", lambda: self._same_after("seed")
        yield "doctor", lambda: self._same_after("doctor")
        yield "schema", self._same_schema
        yield "rows", self._same_rows
        yield "migrate", self._migrate
        yield "readers", self._readers
        yield "bare drop", self._bare_drop

    def _run_own(self, *, again: bool) -> None:
        if again:
            self.server.drop_database(Dsn.parse(self.hand).dbname)
            self.server.create_database(Dsn.parse(self.hand).dbname)
        self.result.seconds["own"].append(_seconds(self.by_hand.own))

    def _reset(self) -> None:
        for name, words in {"cold": ("reset", "--rebuild"), "warm": ("reset",)}.items():
            self.result.seconds[name].append(_seconds(partial(self.project.invoke, self.target, *words)))

    def _count(self) -> None:
        with psycopg.connect(self.target) as connection:
            found = [value for (value,) in connection.execute(self.result.setup.ledger)]
        self.result.revisions = self.project.ancestors(found) if self.result.setup.history else int(found[0])
        counts = _counts(self.target)
        self.result.tables, self.result.rows = len(counts), sum(counts.values())
        if not (self.result.revisions and self.result.tables):
            raise Failed(f"{self.result.revisions} revisions, {self.result.tables} tables")

    def _same_twice(self) -> None:
        self.project.invoke(self.target, "reset")
        self.digest = self._digest()
        self.result.digest = self.digest.both
        self._same_after("reset")

    def _same_after(self, *words: str) -> None:
        self.project.invoke(self.target, *words)
        if (found := self._digest()) != self.digest:
            raise Failed(f"the digest is {found.both[:12]} after {' '.join(words)}, not {self.digest.both[:12]}")

    def _migrate(self) -> None:
        """Hold that a migration with nothing to do keeps all rows. It may use up sequences, and write its own log."""
        self.project.invoke(self.target, "migrate")
        changed = {table.name for table in {*self._digest().tables} ^ {*self.digest.tables}}
        if changed - {*self.result.setup.logs}:
            raise Failed(f"migrate changed rows of {', '.join(sorted(changed))}")

    def _digest(self) -> Digest:
        """Return the digest of all rows and of the structure, as `invoke digest` shows it."""
        with psycopg.connect(self.target, autocommit=True) as connection:
            return digest_all(connection, marked_schemas(connection, self.project.folder.name))

    def _same_schema(self) -> None:
        ours, theirs = self._dump(self.target), self._dump(self.hand)
        if ours != theirs:
            differing = sorted(set(ours) ^ set(theirs))
            raise Failed(f"pg_dump --schema-only differs in {len(differing)} lines, such as: {differing[:6]}")

    def _dump(self, url: str) -> list[str]:
        """Return the lines of pg_dump, but for the schema with dbtools' mark and the random words of its guard."""
        with psycopg.connect(url) as connection:
            major = connection.info.server_version // 10000
        words = [str(find_program("pg_dump", major)), "--schema-only", "--exclude-schema=dbtools", url]
        return [line for line in run(words, self.project.folder).splitlines() if not line.startswith("\\")]

    def _same_rows(self) -> None:
        """Compare the number of rows of each table with that of the own command."""
        ours, theirs = _counts(self.target), _counts(self.hand)
        if ours != theirs:
            names = {name for name, _ in {*ours.items()} ^ {*theirs.items()}}
            differing = [f"{name}: {ours.get(name)}, by hand {theirs.get(name)}" for name in sorted(names)]
            raise Failed(f"the number of rows differs: {'; '.join(differing)}")

    def _readers(self) -> None:
        with Readers(self.target) as readers:
            for _ in range(RESETS):
                self.project.invoke(self.target, "reset")
                readers.wait_for_reads()
        self.result.reads, self.result.reads_failed = readers.reads, readers.failed
        if readers.failed:
            raise Failed(f"{readers.failed} of {readers.reads} reads failed, the first: {readers.first_failure()}")

    def _bare_drop(self) -> None:
        """Show that these readers would see it if the tables were gone for a moment."""
        with Readers(self.hand) as readers, psycopg.connect(self.hand, autocommit=True) as connection:
            if readers.failed:
                raise Failed(f"reads failed before the drop: {readers.first_failure()}")
            schemas = [str(name) for (name,) in connection.execute(SCHEMAS).fetchall()]
            while not _dropped(connection, schemas):
                readers.wait_for_reads()
            before = readers.failed
            readers.wait_for_reads()
        self.result.bare_drop_failed = readers.failed
        if readers.failed - before < READERS:
            raise Failed("a reader did not notice a bare drop, so it would not notice one of a reset")

    def _stays_empty(self, before: int) -> None:
        """Hold that nothing was made in the database that the project's settings name, and that nobody connected."""
        sessions = self._sessions_of_trap() - before
        with psycopg.connect(self.trap) as connection:
            objects = scalar(connection, OBJECTS)
        if objects or sessions:
            raise Failed(f"in the database that the project's settings name: {objects} objects, {sessions} sessions")

    def _sessions_of_trap(self) -> int:
        with psycopg.connect(self.target) as connection:
            row = connection.execute(SESSIONS, [Dsn.parse(self.trap).dbname]).fetchone()
        return int(row[0]) if row else 0


def _counts(url: str) -> dict[str, int]:
    """Return how many rows each table has, ledgers of migrations included."""
    with psycopg.connect(url) as connection:
        names = [str(name) for (name,) in connection.execute(TABLES).fetchall()]
        return {name: int(scalar(connection, f"select count(*) from {name}") or 0) for name in names}


def _dropped(connection: psycopg.Connection, schemas: list[str]) -> bool:
    """Drop the schemas; return False where the readers, who lock in another order, made it the victim of a deadlock."""
    try:
        connection.execute(f"drop schema {', '.join(map(quote, schemas))} cascade")
    except psycopg.errors.DeadlockDetected:
        return False
    return True


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
