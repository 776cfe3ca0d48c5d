"""The in-place strategy: drop, migrate and seed in the live schema, under the session lock.

One session holds the seed advisory lock and does nothing else; the work runs on another session of the same pool, in
one transaction, so that a failure at any point leaves the database as it was. Work sessions are opened only once the
lock is held, so a waiter costs the server one connection. The work is fenced (`lock`): once the lock's session is gone
nothing more is committed, and the next run waits until this one's work has ended. Readers wait from the drop to the
commit.

A history of migrations that commits by itself (CREATE INDEX CONCURRENTLY, autocommit blocks) cannot run in one
transaction. It runs in phases instead, each committed, still under the one lock; a failure then leaves a database that
is dropped or half built, and the error says so.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.chain import guard
from dbtools.chain.copy import keys_checked_after, quote
from dbtools.chain.drop import BATCH, drop_all
from dbtools.chain.lock import SeedLock
from dbtools.chain.migrations import Online, Script
from dbtools.chain.phase import UNTOUCHED, Outcome, Report, clock, draining, in_use, phase, waiting
from dbtools.chain.seeding import fill
from dbtools.db.catalog import items
from dbtools.db.connect import settle
from dbtools.db.pooler import refuse_shared_sessions
from dbtools.db.sessions import Pool
from dbtools.db.table_locks import PATIENCE, lock_tables
from dbtools.errors import ChainFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from dbtools.chain.prefetch import Rows
    from dbtools.chain.target import Target
    from dbtools.config import SeedPlan


def rebuild(
    target: Target, history: Script | None, migrations: Path, rows: Rows, report: Report, outcome: Outcome
) -> None:
    """Drop what the application owns, migrate to head and seed. `history` is None where only Alembic can run it.

    Raises:
        As `chain.reset`.
    """
    whole = (history is None or not history.committing) and not target.unprotected
    with (
        locked(target, "reset", rows.plan, report, outcome) as hold,
        opened(hold, target, whole=whole) as work,
        ExitStack() as stack,
    ):
        # Alembic is to be set up before there is anything to roll back: now, or after the drop was committed.
        migrations_ready = _migrator(work, history, migrations, stack) if whole else None
        with phase("drop", UNTOUCHED, outcome):
            report.doing("Dropping all application tables...")
            check_rights(work, target.schema)
            if whole:
                tables = [one.name for one in items(work, target.schema) if one.lockable]
                what = "The old tables are in use and could not be dropped."
                lock_tables(work, tables, max(PATIENCE, target.lock_timeout), in_use(report), what)
            drop_all(work, target.schema, batch=None if whole else BATCH)
            report.done("All tables and enums dropped")
        dropped = UNTOUCHED if whole else "The schema is dropped and only partly rebuilt: run reset again."
        with phase("migrate", dropped, outcome):
            hold.check(work)
            report.doing("Running migrations...")
            (migrations_ready or _migrator(work, history, migrations, stack)).run(work)
            report.done("Migrations applied")
        unseeded = UNTOUCHED if whole else "The schema is migrated and holds no data: run seed."
        with phase("seed", unseeded, outcome):
            if not whole:
                work.autocommit = target.unprotected
            hold.check(work)
            with keys_checked_after(work, target.schema) if whole else nullcontext():
                outcome.rows = fill(work, rows, report)
            hold.check(work)
            work.commit()


@dataclass(frozen=True)
class Hold:
    """The lock while it is held, and the pool for the work; an unprotected run has no lock."""

    pool: Pool
    lock: SeedLock | None

    def check(self, work: psycopg.Connection) -> None:
        """Raise ChainFailed unless this run still holds the lock."""
        if self.lock:
            self.lock.check(work)


@contextmanager
def locked(target: Target, purpose: str, plan: SeedPlan | None, report: Report, outcome: Outcome) -> Iterator[Hold]:
    """Hold the seed lock on a session reserved for it."""
    pool = Pool(target.dsn, target.pool_size, purpose)
    if target.unprotected:
        yield Hold(pool, None)
        return
    with pool.session() as reserved:
        with phase("lock", "Nothing was changed.", outcome):
            if plan:
                guard.check_database(reserved, target, purpose, environ=plan.environ)
            refuse_shared_sessions(reserved, pool)
            lock = SeedLock(reserved, target.lock_key)
            outcome.waited = lock.acquire(target.lock_timeout, waiting(report, target.lock_key))
            lock.drain(max(0.0, target.lock_timeout - outcome.waited), draining(report))
            outcome.acquired_at = clock(reserved)
        report.done(f"Acquired seed advisory lock (key={target.lock_key})")
        yield Hold(pool, lock)
        with phase("unlock", "The work was committed before.", outcome):
            outcome.released_at = clock(reserved)
            lock.release()
        report.done("Released seed advisory lock")


@contextmanager
def opened(hold: Hold, target: Target, *, whole: bool) -> Iterator[psycopg.Connection]:
    """Open a work session whose search_path is the schema; one transaction when `whole`, else autocommit."""
    with hold.pool.session(autocommit=True) as connection:
        settle(connection, local=False)
        if hold.lock:
            hold.lock.enter(connection)
        connection.execute(f"set search_path to {search_path(target.schema)}")
        connection.autocommit = not whole
        yield connection


def search_path(schema: str) -> str:
    """Return the search_path of work in `schema`: extensions may be in public."""
    return quote(schema) if schema == "public" else f"{quote(schema)}, public"


def check_rights(work: psycopg.Connection, schema: str) -> None:
    """Refuse to drop what this role could not build again.

    Raises:
        ChainFailed: The schema is not there, or this role may not create in it.
    """
    row = work.execute(
        "select has_schema_privilege(oid, 'CREATE') and has_schema_privilege(oid, 'USAGE'), current_user"
        " from pg_namespace where nspname = %s",
        (schema,),
    ).fetchone()
    if row is None:
        raise ChainFailed(
            f"The schema {schema} does not exist.",
            "There is nothing to reset.",
            f"Create it: create schema {quote(schema)}; or set [tool.dbtools] schema.",
        )
    if not row[0]:
        who = str(row[1])  # the role that the URL's options chose, where they do
        raise ChainFailed(
            f"Role {who} may not create anything in schema {schema}.",
            "It would drop what it cannot build again.",
            f"As its owner: grant create, usage on schema {quote(schema)} to {quote(who)}; or connect as the owner.",
        )


def _migrator(work: psycopg.Connection, history: Script | None, folder: Path, stack: ExitStack) -> Script | Online:
    """Return what runs the migrations: the rendered script, or Alembic where there is none or it commits by itself."""
    if history is not None and not history.committing:
        return history
    online = Online(work, folder, owned=history is None)
    stack.callback(online.close)
    return online
