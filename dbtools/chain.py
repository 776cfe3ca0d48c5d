"""The chain: lock, drop, migrate, seed, as one unit that no concurrent run can break.

The in-place strategy. One session holds the seed advisory lock and does nothing else; the work runs on another session
of the same pool, in one transaction, so that a failure at any point leaves the database as it was. Work sessions are
opened only once the lock is held, so a waiter costs the server one connection. The work is fenced (`lock`): once the
lock's session is gone nothing more is committed, and the next run waits until this one's work has ended.

A history of migrations that commits by itself (CREATE INDEX CONCURRENTLY, autocommit blocks) cannot run in one
transaction. It runs in phases instead, each committed, still under the one lock; a failure then leaves a database that
is dropped or half built, and the error says so.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from dbtools import guard
from dbtools.drop import BATCH, drop_all
from dbtools.errors import ChainFailed, DbtoolsError
from dbtools.load import empty, insert_missing, keys_checked_after, load, quote
from dbtools.lock import Holder, SeedLock
from dbtools.migrate import Online, Script, current, script
from dbtools.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from dbtools.config import SeedPlan
    from dbtools.dsn import Dsn
    from dbtools.rows import Rows

UNTOUCHED = "The transaction was rolled back: the database is as it was before."


class Report(Protocol):
    """Who is told what the chain does."""

    def doing(self, text: str) -> None:
        """A phase begins."""

    def done(self, text: str) -> None:
        """Something is done: a tick."""

    def note(self, text: str) -> None:
        """Something a person who waits wants to know; no part of the record."""


@dataclass(frozen=True)
class Target:
    """The database, and the rules under which it may be changed."""

    dsn: Dsn
    lock_key: int
    lock_timeout: float = 300.0
    """Seconds to wait for the lock; 0 tries once."""
    pool_size: int = 6
    schema: str = "public"
    confirm: str | None = None
    """The database's name, typed by a person: one of the two things that open a database marked as production."""
    rules: guard.Rules = field(default_factory=guard.Rules)
    unprotected: bool = False
    """No lock, and every statement commits by itself: the programs of the incident. For verify-concurrency, which
    has to show that the race is there before it shows that the lock ends it."""


@dataclass
class Outcome:
    """What a run did, by the server's own clock: the critical section lies between the two times."""

    waited: float = 0.0
    """Seconds waited for the lock."""
    acquired_at: str = ""
    released_at: str = ""
    rows: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds each phase took."""


def reset(target: Target, migrations: Path, cache: Path, rows: Rows, report: Report) -> Outcome:
    """Rebuild the database: drop what the application owns, migrate to head, seed; all under the seed lock.

    `migrations` is Alembic's folder, `cache` a folder for what can be made again, `rows` what `rows.prepare` gives.

    Raises:
        ResetRefused: The guard said no. Nothing was changed.
        DatabaseUnreachable: The server did not let us in. Nothing was changed.
        LockTimeout: Another session kept the lock. Nothing was changed.
        ChainFailed: A phase failed; the message says what state the database is in.
    """
    guard.check_environment("reset", rows.plan.environ)
    outcome = Outcome()
    history = script(migrations, cache)
    whole = (history is None or history.transactional) and not target.unprotected
    with (
        _locked(target, "reset", rows.plan, report, outcome) as hold,
        _work(hold, target, whole=whole) as work,
        ExitStack() as stack,
    ):
        # Alembic is to be set up before there is anything to roll back: now, or after the drop was committed.
        migrations_ready = _migrator(work, history, migrations, stack) if whole else None
        with _phase("drop", UNTOUCHED, outcome):
            report.doing("Dropping all application tables...")
            check_rights(work, target.schema)
            drop_all(work, target.schema, batch=None if whole else BATCH)
            report.done("All tables and enums dropped")
        dropped = UNTOUCHED if whole else "The schema is dropped and only partly rebuilt: run reset again."
        with _phase("migrate", dropped, outcome):
            hold.check(work)
            report.doing("Running migrations...")
            (migrations_ready or _migrator(work, history, migrations, stack)).run(work)
            report.done("Migrations applied")
        unseeded = UNTOUCHED if whole else "The schema is migrated and holds no data: run seed."
        with _phase("seed", unseeded, outcome):
            if not whole:
                work.autocommit = target.unprotected
            hold.check(work)
            with keys_checked_after(work, target.schema) if whole else nullcontext():
                _seed(work, rows, report, outcome)
            hold.check(work)
            work.commit()
    report.done(f"Reset complete (advisory lock key=0x{target.lock_key:x})")
    return outcome


def seed(target: Target, rows: Rows, report: Report) -> Outcome:
    """Empty the seeded tables and load them again, in one transaction under the seed lock.

    In the known-users mode nothing is emptied: rows are inserted where they are missing.

    Raises:
        As `reset`. ChainFailed: also when the tables are not there yet.
    """
    guard.check_environment("seed", rows.plan.environ)
    outcome = Outcome()
    with (
        _locked(target, "seed", rows.plan, report, outcome) as hold,
        _work(hold, target, whole=not target.unprotected) as work,
        _phase("seed", UNTOUCHED, outcome),
    ):
        empty(work, [one.table for one in rows.bulk()[0]], target.schema)
        _seed(work, rows, report, outcome)
        hold.check(work)
        work.commit()
    return outcome


def migrate(target: Target, migrations: Path, report: Report) -> tuple[str, str]:
    """Upgrade to head under the seed lock, keeping the data; return the revisions before and after.

    Raises:
        As `reset`, but for the guard's: nothing is destroyed here.
    """
    outcome = Outcome()
    with (
        _locked(target, "migrate", None, report, outcome) as hold,
        _work(hold, target, whole=True) as work,
        ExitStack() as stack,
        _phase("migrate", "Revisions before it stay applied where they commit by themselves.", outcome),
    ):
        online = Online(work, migrations, owned=False)
        stack.callback(online.close)
        before = current(work)
        work.rollback()
        report.doing("Running migrations...")
        online.run(work)
        after = current(work)
        work.rollback()
        report.done(
            f"Migrations applied: {before or 'nothing'} to {after}" if before != after else f"Already at {after}"
        )
    return before, after


@dataclass(frozen=True)
class _Hold:
    """The lock while it is held, and the pool for the work; an unprotected run has no lock."""

    pool: Pool
    lock: SeedLock | None

    def check(self, work: psycopg.Connection) -> None:
        if self.lock:
            self.lock.check(work)


@contextmanager
def _locked(target: Target, purpose: str, plan: SeedPlan | None, report: Report, outcome: Outcome) -> Iterator[_Hold]:
    """Hold the seed lock on a session reserved for it."""
    pool = Pool(target.dsn, target.pool_size, purpose)
    if target.unprotected:
        yield _Hold(pool, None)
        return

    def waiting(holder: Holder | None) -> None:
        held = f"held by {holder}" if holder else "changing hands"
        report.note(f"Waiting for the seed advisory lock (key={target.lock_key}), {held}")

    def draining(holder: Holder | None) -> None:
        report.note(f"Waiting for the work of a run that lost the lock: {holder or 'ending'}")

    with pool.session() as reserved:
        with _phase("lock", "Nothing was changed.", outcome):
            if plan:
                guard.check_database(reserved, target, purpose, environ=plan.environ)
            lock = SeedLock(reserved, target.lock_key)
            outcome.waited = lock.acquire(target.lock_timeout, waiting)
            lock.drain(max(0.0, target.lock_timeout - outcome.waited), draining)
            outcome.acquired_at = _clock(reserved)
        report.done(f"Acquired seed advisory lock (key={target.lock_key})")
        yield _Hold(pool, lock)
        with _phase("unlock", "The work was committed before.", outcome):
            outcome.released_at = _clock(reserved)
            lock.release()
        report.done("Released seed advisory lock")


@contextmanager
def _work(hold: _Hold, target: Target, *, whole: bool) -> Iterator[psycopg.Connection]:
    """Open a work session whose search_path is the schema; one transaction when `whole`, else autocommit."""
    with hold.pool.session(autocommit=True) as connection:
        if hold.lock:
            hold.lock.enter(connection)
        path = quote(target.schema) if target.schema == "public" else f"{quote(target.schema)}, public"
        connection.execute(f"set search_path to {path}")
        connection.autocommit = not whole
        yield connection


def _seed(work: psycopg.Connection, rows: Rows, report: Report, outcome: Outcome) -> None:
    report.doing("Seeding database...")
    tables, summary = rows.bulk()
    copied, inserted = load(work, tables), insert_missing(work, rows.missing)
    outcome.rows = copied + inserted
    for line in (*summary, *rows.missing.summary):
        report.done(line)
    if rows.plan.known_users_only:
        report.note(f"{inserted} rows were missing")
    report.doing("Seed complete!")


@contextmanager
def _phase(name: str, state: str, outcome: Outcome) -> Iterator[None]:
    """Time a phase, and turn what goes wrong in it into an error that says what state the database is in."""
    import psycopg

    started = time.monotonic()
    try:
        yield
    except ChainFailed as error:
        why = error.why.removesuffix(" Nothing was changed.")
        raise ChainFailed(error.what, f"{why} {state}", error.hint) from error
    except DbtoolsError:
        raise
    except psycopg.Error as error:
        raise ChainFailed(
            f"The {name} phase failed.", f"{' '.join(str(error).split()).rstrip('.')}. {state}", _hint(error)
        ) from error
    finally:
        outcome.seconds[name] = round(time.monotonic() - started, 3)


def _hint(error: psycopg.Error) -> str:
    match error.sqlstate:
        case "42P01":
            return "The tables are not there: run invoke migrate, or invoke reset."
        case "42501":
            return "Connect as the role that owns the database, or grant it the right."
        case "53200":
            return "Raise max_locks_per_transaction on the server (it needs a restart), or drop some tables by hand."
        case "23505":
            return "Rows with these keys are there already: run invoke reset, which starts from nothing."
        case None | "57P01" | "57P02" | "08006":
            return "The connection to the server broke; once it is back, run this again."
    return "Read the server's answer above; --debug shows the traceback."


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


def _clock(connection: psycopg.Connection) -> str:
    row = connection.execute(
        "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
    ).fetchone()
    assert row is not None
    return str(row[0])


def _migrator(work: psycopg.Connection, history: Script | None, folder: Path, stack: ExitStack) -> Script | Online:
    """Return what runs the migrations: the rendered script, or Alembic where there is none or it commits by itself."""
    if history is not None and history.transactional:
        return history
    online = Online(work, folder, owned=history is None)
    stack.callback(online.close)
    return online
