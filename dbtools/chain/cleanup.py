"""Drop what resets have replaced, and what that leaves in the catalogs, without standing in the way of others."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from dbtools.chain.drop import BATCH, drop_statements
from dbtools.db.catalog import REPLACED_COMMENT, schema_objects

if TYPE_CHECKING:
    import psycopg

REPLACED_PREFIX = "dbtools_old_"
SWEEP_KEY = 0x53574550 << 32  # "SWEP"; sweepers take turns, because two drops of one schema disturb each other

_REPLACED = """
select nspname from pg_namespace
where nspname like %s and obj_description(oid, 'pg_namespace') = %s and pg_has_role(nspowner, 'USAGE') order by 1
"""
# What a reset makes and drops leaves dead rows in a score of catalogs. Autovacuum looks once a minute at best.
_BLOATED = """
with catalogs(name, live, dead) as (
    select c.oid::regclass::text, pg_stat_get_live_tuples(c.oid), pg_stat_get_dead_tuples(c.oid)
    from pg_class c join pg_database d on d.datname = current_database()
    where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind = 'r' and not c.relisshared
      and pg_has_role(d.datdba, 'USAGE')
)
select name from catalogs
where dead > live / 2 and dead > 500 and exists (select from catalogs where dead > greatest(%s, 2 * live))
"""
MANY_DEAD_ROWS = 5000
"""In one catalog. Fewer are not worth the time that vacuuming takes."""


def vacuum_catalogs(connection: psycopg.Connection) -> list[str]:
    """Vacuum the catalogs with many dead rows once one is full of them, so that resets do not let them grow.

    Returns their names. Only the database's owner may; for others, autovacuum has to do. A catalog that somebody else
    vacuums now is left out, and none is made shorter, which would lock it. `connection` must be in autocommit.
    """
    names = [str(name) for (name,) in connection.execute(_BLOATED, (MANY_DEAD_ROWS,))]
    if names:
        connection.execute(f"vacuum (skip_locked, truncate false) {', '.join(names)}")
    return names


def sweep(connection: psycopg.Connection, patience: float) -> str:
    """Drop the schemas of replaced tables, in small transactions; return the name of one that is left, or "".

    A table that is still in use is tried again for `patience` seconds, each time waiting for 100 ms at most, and then
    left to the next sweep. `connection` must be in autocommit.
    """
    from psycopg.errors import LockNotAvailable, UndefinedTable

    deadline = time.monotonic() + patience
    while name := _find_replaced(connection):
        try:
            statements = drop_statements(schema_objects(connection, name), BATCH)
            for statement in [*statements, f"drop schema if exists {name} cascade"]:
                with connection.transaction():
                    connection.execute(
                        "set local lock_timeout = 100; set local statement_timeout = 0;"
                        f" select pg_advisory_xact_lock({SWEEP_KEY})"
                    )
                    connection.execute(statement)
        except (LockNotAvailable, UndefinedTable):
            if time.monotonic() > deadline:
                return name
            time.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - jitter
    return ""


def _find_replaced(connection: psycopg.Connection) -> str:
    pattern = REPLACED_PREFIX.replace("_", r"\_") + "%"
    row = connection.execute(_REPLACED, (pattern, REPLACED_COMMENT)).fetchone()
    return str(row[0]) if row else ""
