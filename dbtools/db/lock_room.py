"""How many locks a server has room for, and how many the content of schemas takes in one transaction.

The server keeps the locks of all sessions in one table in shared memory, whose size it computes at its start. A
transaction gives back none before it ends, so what it makes, moves or drops counts in full: a lock for each relation
that it makes (a table, each of its indexes, its TOAST table and the index of that), for each relation that it moves,
and for each object that it drops (types, constraints, defaults and triggers too).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

SETTING = "max_locks_per_transaction"
"""What decides the size of the table. The server names it in its hint when that is full, in every language."""

_ROOM = f"""
select current_setting('{SETTING}')::int,
       current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int
"""
# What DROP … CASCADE follows: all that depends on the schemas' objects, but for what belongs to extensions.
_CONTENT = """
with recursive found(classid, objid) as (
    select d.classid, d.objid from pg_depend d
    where d.refclassid = 'pg_namespace'::regclass and d.deptype = 'n'
      and d.refobjid in (select oid from pg_namespace where nspname = any(%s))
      and not exists (select from pg_depend e where (e.classid, e.objid, e.deptype) = (d.classid, d.objid, 'e'))
    union
    select d.classid, d.objid from pg_depend d join found on (d.refclassid, d.refobjid) = (found.classid, found.objid)
)
select count(*) filter (where classid = 'pg_class'::regclass),
       count(*) filter (where c.relkind in ('r', 'p', 'f', 'v', 'm', 'S')), count(*)
from found left join pg_class c on classid = 'pg_class'::regclass and c.oid = objid
"""


class Locks(NamedTuple):
    """How many locks the content of schemas takes in a transaction that makes, moves or drops all of it."""

    made: int
    moved: int
    dropped: int


def count_locks(connection: psycopg.Connection, schemas: Sequence[str]) -> Locks:
    """Return how many locks the content of these schemas takes; one that is not there has none."""
    row = connection.execute(_CONTENT, ([*schemas],)).fetchone()
    assert row is not None
    return Locks(*row)


@dataclass(frozen=True)
class LockRoom:
    """The locks that a server promises room for. It has some more, which depends on its version and its settings."""

    per_session: int
    """The setting max_locks_per_transaction: an average, which one session may exceed at the cost of others."""
    sessions: int
    """max_connections and max_prepared_transactions together."""

    @classmethod
    def read(cls, connection: psycopg.Connection) -> Self:
        """Return the room of this server."""
        row = connection.execute(_ROOM).fetchone()
        assert row is not None
        return cls(*row)

    @property
    def locks(self) -> int:
        """Of all sessions together."""
        return self.per_session * self.sessions

    def __str__(self) -> str:
        return f"{SETTING} = {self.per_session} promises room for {self.locks}, those of other sessions among them"

    def setting_for(self, locks: int) -> int:
        """Return the value of the setting that has room for so many locks, beside all that is promised now."""
        return self.per_session + math.ceil(locks / self.sessions)


def is_full(error: BaseException | None) -> bool:
    """Return whether this is the server's answer that it has no room for another lock."""
    return getattr(error, "sqlstate", None) == "53200" and SETTING in str(error)
