"""Put what new schemas hold in the place of what live ones hold, at one moment, without failing a reader.

Readers go on until the tables are locked (`table_locks`), wait for the few milliseconds of the exchange, and then find
the new tables under the old names. The locks are what keeps old and new apart: without them a statement, or a
transaction, could read one table before the exchange and another one after it.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from dbtools.chain.cleanup import REPLACED_PREFIX
from dbtools.chain.shadow import check_movable
from dbtools.db.catalog import REPLACED_COMMENT, moves, schema_objects
from dbtools.db.sql import quote
from dbtools.db.table_locks import lock_tables

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import psycopg

    from dbtools.chain.report import Waiting


def exchange(
    work: psycopg.Connection,
    pairs: Sequence[tuple[str, str]],
    kept: Collection[str],
    timeout: float,
    waiting: Waiting,
) -> None:
    """For each pair of a live and a new schema: move what the live one holds aside, and the new content into it.

    What `kept` names stays in its live schema, and so does what belongs to extensions. The new schemas are dropped, and
    what was moved aside is left to `cleanup.sweep`. All in the open transaction of `work`: no other session sees any of
    it before the commit. `waiting` is told whose transaction uses the old tables (see `lock_tables`).

    Raises:
        LockTimeout: The old tables were in use for `timeout` seconds. The caller has to roll back.
        ChainFailed: This role may not move the new content. The caller has to roll back.
    """
    token = secrets.token_hex(4)
    going, coming = [], []
    for number, (live, new) in enumerate(pairs):
        replaced = f"{REPLACED_PREFIX}{token}_{number}"
        work.execute(f"create schema {replaced}; comment on schema {replaced} is '{REPLACED_COMMENT}'")
        going.append(([found for found in schema_objects(work, live) if found.name not in kept], replaced))
        coming.append((schema_objects(work, new), live))
        check_movable(coming[-1][0])
    tables = [found.name for content, _ in going for found in content if found.is_lockable]
    what = "The new tables are ready, but the old ones are in use and could not be replaced."
    lock_tables(work, tables, timeout, waiting, what, then="; ".join(moves(*going)))
    # Without CASCADE: the server refuses, if anything was forgotten.
    work.execute("; ".join([*moves(*coming), *(f"drop schema {quote(new)}" for _, new in pairs)]))
