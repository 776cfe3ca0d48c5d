"""Put what one schema holds in the place of what another holds, at one moment, without failing a reader.

Readers go on until the tables are locked (`tables`), wait for the few milliseconds of the exchange, and then find the
new tables under the old names. The locks are what keeps old and new apart: without them a statement, or a transaction,
could read one table before the exchange and another one after it.
"""

from __future__ import annotations

import random
import secrets
import time
from typing import TYPE_CHECKING

from dbtools.chain.copy import quote
from dbtools.chain.drop import BATCH, statements
from dbtools.db.catalog import MARK, Item, items
from dbtools.db.table_locks import lock_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import psycopg

    from dbtools.db.blockers import Holder

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
    tables = [one.name for one in before if one.lockable]
    what = "The new tables are ready, but the old ones are in use and could not be replaced."
    lock_tables(work, tables, timeout, waiting, what, then="; ".join(_moves(before, old)))
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
                    connection.execute(
                        "set local lock_timeout = 100; set local statement_timeout = 0;"
                        f" select pg_advisory_xact_lock({_SWEEP})"
                    )
                    connection.execute(statement)
        except (LockNotAvailable, UndefinedTable):
            if time.monotonic() > deadline:
                return name
            time.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - jitter
    return ""


def _leftover(connection: psycopg.Connection) -> str:
    row = connection.execute(_LEFTOVERS, (PREFIX.replace("_", r"\_") + "%", MARK)).fetchone()
    return str(row[0]) if row else ""


def _moves(found: list[Item], schema: str) -> Iterator[str]:
    # Routines and operators first: their names hold those of their arguments' types, which are about to change. The
    # sequence of a serial or identity column goes with its table, and cannot go without it.
    named_by_types = {"routine", "operator"}
    wanted = [one for one in found if not (one.part and one.sequence)]
    for one in sorted(wanted, key=lambda one: one.kind not in named_by_types):
        yield f"alter {one.kind} {one.name} set schema {quote(schema)}"
