"""The state in which a run leaves its database: made quiet before its content is read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

_CHANGES_MEANING = re.compile(rb"isolation|search_path|\brole\b|row_security|replication_role")
_SETTINGS = "isolation|search_path|^role|row_security|replication_role"


def end_sessions(control: psycopg.Connection) -> None:
    """End the sessions that killed programs have left, and wait until their work is rolled back."""
    others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    while control.execute(f"select pg_terminate_backend(pid, 1000) {others}").fetchall():
        pass


def roll_back_prepared(control: psycopg.Connection) -> list[str]:
    """Roll back what is prepared in this database; return its names. Nothing else would let the database go."""
    query = "select gid from pg_prepared_xacts where database = current_database() order by gid"
    gids = [str(gid) for (gid,) in control.execute(query).fetchall()]
    for gid in gids:
        control.execute("rollback prepared '{}'".format(gid.replace("'", "''")))
    return gids


def is_plain(control: psycopg.Connection, openings: Iterable[bytes]) -> bool:
    """Return whether statements meant what they say; `openings` are the first packets of the run's connections.

    The level is READ COMMITTED, and no setting of the database, a role or a connection changes that, what a name
    refers to, or which rows are seen.
    """
    return not (has_settings(control, _SETTINGS) or any(_CHANGES_MEANING.search(packet) for packet in openings))


def has_settings(control: psycopg.Connection, pattern: str) -> bool:
    """Return whether a role or a database has settings that match, or the default isolation level is another one."""
    found = control.execute(
        "select from pg_db_role_setting, unnest(setconfig) as setting where setting ~ %s"
        " union all select where current_setting('default_transaction_isolation') <> 'read committed'",
        (pattern,),
    )
    return bool(found.fetchall())
