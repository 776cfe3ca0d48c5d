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
from tests.support.toy import TABLES, ToyShop, execute, write_history

TODAY = dt.date(2026, 11, 23)
PLAN = SeedPlan("small", TODAY)
AUTOCOMMIT = (
    "with op.get_context().autocommit_block():\n    op.execute('create index concurrently byprice on items (price)')"
)


GATE = 4711
"""The key of an advisory lock. `PASS_GATE` in a migration waits for as long as `closed_gate` holds it."""
PASS_GATE = f"op.execute('select pg_advisory_xact_lock_shared({GATE})')"


class Log:
    """A report that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.notes: list[str] = []

    def doing(self, text: str) -> None:
        self.lines.append(text)

    def done(self, text: str) -> None:
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

    def done(self, text: str) -> None:
        super().done(text)
        if text == self._line:
            self._act()


class Runner:
    """Runs resets over histories of the given upgrades, on one target."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self._folder = folder
        self.log = Log()
        """Of the run that began last."""
        self._count = 0

    def __call__(self, *bodies: str, plan: SeedPlan = PLAN, log: Log | None = None, **options: object) -> Log:
        log = self.log = log or Log()
        self._count += 1
        history = write_history(self._folder / f"migrations{self._count}", *(bodies or [execute(TABLES)]))
        changed = Target(**{**self.target.__dict__, **options})
        with generate_in_background(ToyShop(), plan) as rows:
            chain.reset(changed, history, self._folder / "cache", rows, log)
        return log


def seed(target: Target, plan: SeedPlan = PLAN, log: Log | None = None) -> Outcome:
    with generate_in_background(ToyShop(), plan) as rows:
        return chain.seed(target, rows, log or Log())


def query(target: Target, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(target.dsn.url, autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


def content(target: Target) -> str:
    with psycopg.connect(target.dsn.url, autocommit=True) as connection:
        return digest(connection).sha256


@contextmanager
def closed_gate(target: Target) -> Iterator[None]:
    """Hold up migrations with `PASS_GATE` until the end of the block."""
    with psycopg.connect(target.dsn.url, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", (GATE,))
        yield


def waits_at_gate(target: Target) -> bool:
    """Return whether a migration is held up: its run then stays at work until the gate opens."""
    waiting = f"select pid from pg_locks where locktype = 'advisory' and not granted and objid = {GATE}"
    return query(target, waiting) != []


def holder(target: Target) -> int | None:
    """Return the server process that holds the seed lock, None where it is free."""
    with psycopg.connect(target.dsn.url, autocommit=True) as connection:
        found = find_holder(connection, target.lock_key)
    return found.pid if found else None
