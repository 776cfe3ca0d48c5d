"""Put what one schema holds in the place of what another holds, at one moment, without failing a reader.

Readers go on until the tables are locked, wait for the few milliseconds of the exchange, and then find the new tables
under the old names. The locks are what keeps old and new apart: without them a statement, or a transaction, could read
one table before the exchange and another one after it.

Taking many locks while others take theirs can end in a deadlock, of which the server ends one side, after
deadlock_timeout. So the locks are tried for less than that, all or none: on failure all are given back, readers go on,
and it is tried again after a moment.
"""

from __future__ import annotations

import random
import secrets
import time
from typing import TYPE_CHECKING

from dbtools.drop import BATCH, statements
from dbtools.errors import LockTimeout
from dbtools.holder import find_user
from dbtools.inventory import MARK, Item, items
from dbtools.load import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import psycopg

    from dbtools.holder import Holder

PATIENCE = 30.0
"""Seconds for which the locks are tried at least, whatever the lock's own timeout."""
LONGEST = 0.5
"""Seconds of one try, where deadlock_timeout does not ask for less."""
PREFIX = "dbtools_old_"
_SWEEP = 0x53574550 << 32  # "SWEP"; sweepers take turns, because two drops of one schema disturb each other

_LEFTOVERS = """
select nspname from pg_namespace
where nspname like %s and obj_description(oid, 'pg_namespace') = %s and pg_has_role(nspowner, 'USAGE') order by 1
"""


def exchange(
    work: psycopg.Connection,
    live: str,
    new: str,
    kept: Collection[str],
    timeout: float,
    waiting: Callable[[Holder | None], None],
) -> None:
    """Move what `live` holds into a schema to be dropped, and what `new` holds into `live`; drop `new`.

    What `kept` names stays in `live`, and so does what belongs to extensions. In the open transaction of `work`: nobody
    sees anything of it before the commit. `waiting` is told whose transaction uses the old tables, when that changes.

    Raises:
        LockTimeout: The old tables were in use for `timeout` seconds. The caller is to roll back.
    """
    old = f"{PREFIX}{secrets.token_hex(4)}"
    work.execute(f"create schema {old}; comment on schema {old} is '{MARK}'")
    before, after = [one for one in items(work, live) if one.name not in kept], items(work, new)
    fresh = work.execute(
        "select quote_ident(extname) from pg_extension where extnamespace = %s::regnamespace", (quote(new),)
    )
    _move_away(work, before, old, timeout, waiting)
    work.execute("; ".join(_moves(after, live)))
    for (name,) in fresh.fetchall():
        work.execute(f"alter extension {name} set schema {quote(live)}")
    # Without CASCADE: the server refuses, if anything was forgotten.
    work.execute(f"drop schema {quote(new)}")


def sweep(connection: psycopg.Connection, patience: float) -> str:
    """Drop what earlier exchanges have replaced, in small transactions of their own; return what is left, or "".

    A table that somebody still uses is tried again for `patience` seconds, each time waiting for 100 ms at most, and
    left to the next sweep. `connection` must be in autocommit.
    """
    from psycopg.errors import LockNotAvailable, UndefinedTable

    deadline = time.monotonic() + patience
    while name := _leftover(connection):
        try:
            for statement in [*statements(items(connection, name), BATCH), f"drop schema if exists {name} cascade"]:
                with connection.transaction():
                    connection.execute(f"set local lock_timeout = 100; select pg_advisory_xact_lock({_SWEEP})")
                    connection.execute(statement)
        except (LockNotAvailable, UndefinedTable):
            if time.monotonic() > deadline:
                return name
            time.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - jitter
    return ""


def _leftover(connection: psycopg.Connection) -> str:
    row = connection.execute(_LEFTOVERS, (PREFIX.replace("_", r"\_") + "%", MARK)).fetchone()
    return str(row[0]) if row else ""


def _move_away(
    work: psycopg.Connection, found: list[Item], old: str, timeout: float, waiting: Callable[[Holder | None], None]
) -> None:
    from psycopg.errors import DeadlockDetected, LockNotAvailable

    row = work.execute("select setting::float / 1000 from pg_settings where name = 'deadlock_timeout'").fetchone()
    assert row is not None
    span = min(LONGEST, 0.8 * float(row[0]))
    tables = [one.name for one in found if one.lockable]
    deadline, told = time.monotonic() + timeout, -1
    while True:
        try:
            with work.transaction():  # a savepoint: what was locked before the one that failed is given back
                _lock(work, tables, span)
                work.execute("; ".join(_moves(found, old)))
            work.execute("set local lock_timeout = 0")
            return
        except (LockNotAvailable, DeadlockDetected):
            user = find_user(work, tables)
            if time.monotonic() > deadline:
                raise _busy(user) from None
            if user and user.pid != told:
                waiting(user)
                told = user.pid
            time.sleep(random.uniform(0.02, 0.1))  # noqa: S311 - jitter: readers get their turn


def _lock(work: psycopg.Connection, tables: list[str], span: float) -> None:
    """Lock all tables within `span` seconds, or raise LockNotAvailable."""
    end = time.monotonic() + span
    for table in tables:
        left = max(1, round((end - time.monotonic()) * 1000))
        work.execute(f"set local lock_timeout = {left}; lock table {table} in access exclusive mode")


def _moves(found: list[Item], schema: str) -> Iterator[str]:
    # Routines and operators first: their names hold those of their arguments' types, which are about to change. The
    # sequence of a serial or identity column goes with its table, and cannot go without it.
    named_by_types = {"routine", "operator"}
    wanted = [one for one in found if not (one.part and one.sequence)]
    for one in sorted(wanted, key=lambda one: one.kind not in named_by_types):
        yield f"alter {one.kind} {one.name} set schema {quote(schema)}"


def _busy(user: Holder | None) -> LockTimeout:
    end = f"End that session: select pg_terminate_backend({user.pid}); or wait" if user else "Wait"
    return LockTimeout(
        "The new tables are ready, but the old ones are in use and could not be replaced.",
        f"Used by the open transaction of {user or 'others'}. Everything was rolled back: nothing was changed.",
        f"{end} longer with --lock-timeout SECONDS.",
    )
