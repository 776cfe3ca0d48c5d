"""Put what one schema holds in the place of what another holds, at one moment, without failing a reader.

Readers go on until the tables are locked (`table_locks`), wait for the few milliseconds of the exchange, and then find
the new tables under the old names. The locks are what keeps old and new apart: without them a statement, or a
transaction, could read one table before the exchange and another one after it.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from dbtools.chain.cleanup import REPLACED_PREFIX
from dbtools.db.catalog import REPLACED_COMMENT, SchemaObject, schema_objects
from dbtools.db.sql import quote
from dbtools.db.table_locks import lock_tables

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import psycopg

    from dbtools.chain.report import Waiting


def exchange(
    work: psycopg.Connection, live: str, new: str, kept: Collection[str], timeout: float, waiting: Waiting
) -> None:
    """Move what `live` holds into a schema to be dropped, and what `new` holds into `live`; drop `new`.

    What `kept` names stays in `live`, and so does what belongs to extensions. All in the open transaction of `work`: no
    other session sees any of it before the commit. `waiting` is told whose transaction uses the old tables (see
    `lock_tables`).

    Raises:
        LockTimeout: The old tables were in use for `timeout` seconds. The caller has to roll back.
    """
    replaced = f"{REPLACED_PREFIX}{secrets.token_hex(4)}"
    work.execute(f"create schema {replaced}; comment on schema {replaced} is '{REPLACED_COMMENT}'")
    before = [found for found in schema_objects(work, live) if found.name not in kept]
    after = schema_objects(work, new)
    extensions = work.execute(
        "select quote_ident(extname) from pg_extension where extnamespace = %s::regnamespace", (quote(new),)
    )
    tables = [found.name for found in before if found.is_lockable]
    what = "The new tables are ready, but the old ones are in use and could not be replaced."
    lock_tables(work, tables, timeout, waiting, what, then="; ".join(_moves(before, replaced)))
    work.execute("; ".join(_moves(after, live)))
    for (name,) in extensions.fetchall():
        work.execute(f"alter extension {name} set schema {quote(live)}")
    # Without CASCADE: the server refuses, if anything was forgotten.
    work.execute(f"drop schema {quote(new)}")


def _moves(found: list[SchemaObject], schema: str) -> Iterator[str]:
    # Routines and operators first: their names hold those of their arguments' types, which are about to change. The
    # sequence of a serial or identity column goes with its table, and cannot go without it.
    named_by_types = {"routine", "operator"}
    movable = [item for item in found if not (item.is_dependent and item.is_sequence)]
    for item in sorted(movable, key=lambda item: item.kind not in named_by_types):
        yield f"alter {item.kind} {item.name} set schema {quote(schema)}"
