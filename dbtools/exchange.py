"""Put what one schema holds in the place of what another holds, at one moment, without failing a reader.

Readers go on until the tables are locked, wait for the few milliseconds of the exchange, and then find the new tables
under the old names. The locks are what keeps old and new apart: without them a statement, or a transaction, could read
one table before the exchange and another one after it.

Taking many locks while others take theirs can end in a deadlock, of which the server ends one side, after
deadlock_timeout. So the locks are tried for less than that, all or none: on failure all are given back, and readers
have as long a turn before the next try. The table that could not be had goes first then: who begins with it waits
outside, holding nothing that is still wanted. So the order comes to be the readers' own, in which no two wait for each
other. A try is short, as readers wait that long for nothing; it grows as long as what stands in the way is a
transaction that takes its time, and not two that wait for each other.
"""

from __future__ import annotations

import random
import secrets
import time
from typing import TYPE_CHECKING

from dbtools.drop import BATCH, statements
from dbtools.errors import LockTimeout
from dbtools.holder import find_user, is_waiting
from dbtools.inventory import MARK, Item, items
from dbtools.load import quote
from dbtools.lock import REMIND

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import psycopg

    from dbtools.holder import Holder

PATIENCE = 30.0
"""Seconds for which the locks are tried at least, whatever the lock's own timeout."""
SHORTEST, LONGEST = 0.01, 0.5
"""Seconds of the first try, and of any, where deadlock_timeout does not ask for less."""
QUIET = 1.0
"""Seconds of trying of which nobody needs to be told."""
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
    sees anything of it before the commit. `waiting` is told whose transaction uses the old tables, where it
    takes long, and again every 15 s.

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
    longest = min(LONGEST, 0.8 * float(row[0]))
    tables = [one.name for one in found if one.lockable]
    began, told, span = time.monotonic(), 0.0, min(SHORTEST, longest)
    while True:
        user, mutual = None, False
        try:
            with work.transaction():  # a savepoint: a failed try gives back what it had locked
                _lock(work, tables, span)
                work.execute("; ".join(_moves(found, old)))
            work.execute("set local lock_timeout = 0")
            return
        except _InUseError as error:
            user, mutual = error.user, error.mutual
            tables.sort(key=error.table.__ne__)  # to the front
        except (LockNotAvailable, DeadlockDetected):
            pass  # by what is no table, such as a sequence
        now = time.monotonic()
        if now > began + timeout:
            raise _busy(user)
        if user and not mutual and now > max(began + QUIET, told + REMIND):
            waiting(user)
            told = now
        time.sleep(random.uniform(0.5, 1.5) * span)  # noqa: S311 - jitter: readers get as long a turn
        if not mutual:
            span = min(1.5 * span, longest)


class _InUseError(Exception):
    def __init__(self, work: psycopg.Connection, table: str) -> None:
        self.table = table
        self.user, self.mutual = find_user(work, table), is_waiting(work, table)


def _lock(work: psycopg.Connection, tables: list[str], span: float) -> None:
    """Lock the tables in this order, within `span` seconds, or raise _InUseError with those before it still locked."""
    from psycopg.errors import DeadlockDetected, LockNotAvailable

    end = time.monotonic() + span
    for table in tables:
        left = max(1, round((end - time.monotonic()) * 1000))
        try:
            with work.transaction():
                work.execute(f"set local lock_timeout = {left}; lock table {table} in access exclusive mode")
        except (LockNotAvailable, DeadlockDetected):
            raise _InUseError(work, table) from None


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
