"""Runs of the chain over the toy application, for the tests of the library itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from dbtools import chain
from dbtools.chain.phase import Outcome
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.target import Target
from dbtools.config import SeedPlan
from dbtools.db.blockers import find_holder
from dbtools.db.digest import digest
from tests.support.sources import sql_source
from tests.support.toy import TABLES, ToyShop

TODAY = dt.date(2026, 11, 23)
PLAN = SeedPlan("small", TODAY)
GATE = 4711
"""The key of an advisory lock. With `PASS_GATE` in the history, rows wait as long as `closed_gate` holds it.

A build waits for nothing: its database is another one, in which nobody holds the lock.
"""
PASS_GATE = f"alter table shops add check (pg_advisory_xact_lock_shared({GATE})::text is not null)"


class Log:
    """A report that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.notes: list[str] = []

    def doing(self, text: str) -> None:
        self.lines.append(text)

    def done(self, text: str, **facts: object) -> None:
        self.lines.append(f"✓ {text}")

    def note(self, text: str) -> None:
        self.notes.append(text)


class Acting(Log):
    """A report that does something at the moment of one line."""

    def __init__(self, line: str, act: Callable[[], None]) -> None:
        super().__init__()
        self._line = line
        self._act = act

    def doing(self, text: str) -> None:
        super().doing(text)
        if text == self._line:
            self._act()

    def done(self, text: str, **facts: object) -> None:
        super().done(text)
        if text == self._line:
            self._act()


class Runner:
    """Runs resets over histories of SQL, on one target."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self._folder = folder
        self.log = Log()
        """Of the run that began last."""
        self._count = 0

    def __call__(self, *migrations: str, plan: SeedPlan = PLAN, log: Log | None = None, **options: object) -> Log:
        log = self.log = log or Log()
        self._count += 1
        changed = Target(**{**self.target.__dict__, **options})
        source = sql_source(self._folder / f"project{self._count}", *(migrations or [TABLES]), schema=changed.schema)
        with generate_in_background(ToyShop(), plan) as rows:
            chain.reset(changed, source, rows, log)
        return log


def seed(target: Target, folder: Path, plan: SeedPlan = PLAN, log: Log | None = None) -> Outcome:
    """Seed a database whose history is that of the toys."""
    with generate_in_background(ToyShop(), plan) as rows:
        return chain.seed(target, sql_source(folder / "project", TABLES, schema=target.schema), rows, log or Log())


def query(target: Target, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(target.dsn.url, autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


def content(target: Target) -> str:
    with psycopg.connect(target.dsn.url, autocommit=True) as connection:
        return digest(connection).sha256


@contextmanager
def closed_gate(target: Target) -> Iterator[None]:
    """Hold up rows with `PASS_GATE` until the end of the block."""
    with psycopg.connect(target.dsn.url, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (GATE,))
        yield


def waits_at_gate(target: Target) -> bool:
    """Return whether the rows are held up: its run then stays at work until the gate opens."""
    waiting = f"select pid from pg_locks where locktype = 'advisory' and not granted and objid = {GATE}"
    return query(target, waiting) != []


def holder(target: Target) -> int | None:
    """Return the server process that holds the seed lock, None where it is free."""
    with psycopg.connect(target.dsn.url, autocommit=True) as connection:
        found = find_holder(connection, target.lock_key)
    return found.pid if found else None
