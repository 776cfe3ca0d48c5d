"""What a run leaves in the cluster, beside its database: no later run may find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg

_KNOWN = "select array(select datname from pg_database) || array(select rolname from pg_roles)"
# The copies of the start state are the lab's own. Slots of a database go with it.
_STRANGERS = """
select format('drop database %%I with (force)', datname) from pg_database
where datname <> all(%s) and datname !~ '^race_[0-9]+$'
union all select format('drop role %%I', rolname) from pg_roles where rolname <> all(%s)
union all select format('select pg_drop_replication_slot(%%L)', slot_name) from pg_replication_slots
where database is null
"""


class Leftovers:
    """The databases, roles and replication slots of runs. What is there when this is made is none of them."""

    def __init__(self, admin: psycopg.Connection) -> None:
        self._admin = admin
        ((self._known,),) = admin.execute(_KNOWN).fetchall()

    def drop(self, database: str) -> None:
        """Drop the database of a run, and what the run has made in the cluster."""
        self._admin.execute(f"drop database {database} with (force)")
        for (drop,) in self._admin.execute(_STRANGERS, (self._known,) * 2).fetchall():
            self._admin.execute(drop)
