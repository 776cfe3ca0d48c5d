"""The shadow schema of a swap: permission checks, inherited default privileges, and detection of migrations that touch
anything outside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.chain.drop import find_owned
from dbtools.chain.enums import preserve_enums
from dbtools.chain.schema import check_rights
from dbtools.db.catalog import external_dependents, schema_objects, summarize
from dbtools.db.sql import quote
from dbtools.errors import UNCHANGED, ChainFailed, TransactionEnded

if TYPE_CHECKING:
    import psycopg

    from dbtools.chain.migrations import AlembicMigrations, RenderedMigrations

IN_PLACE = 'Run: invoke reset --in-place; or, for good, set strategy = "in-place" in [tool.dbtools].'

_PUBLICATIONS = """
select pubname from pg_publication_tables where schemaname = %(schema)s
union
select p.pubname from pg_publication p join pg_publication_namespace n on n.pnpubid = p.oid
where n.pnnspid = %(schema_sql)s::regnamespace order by 1
"""

# The default privileges that this role has set in the schema. Those of other roles do not apply to our tables.
_DEFAULTS = """
select format('alter default privileges in schema %%s grant %%s on %%s to %%s%%s', %(shadow)s::text, a.privilege_type,
              case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'routines'
                   else 'types' end,
              case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end,
              case when a.is_grantable then ' with grant option' else '' end)
from pg_default_acl d, aclexplode(d.defaclacl) a
where d.defaclnamespace = %(schema_sql)s::regnamespace and d.defaclrole = quote_ident(current_user)::regrole
"""

_RELATIONS = """
select oid from pg_class
where relnamespace <> all (array[%(shadow)s, 'pg_catalog', 'pg_toast', 'information_schema']::regnamespace[])
"""

# Two traces that a transaction leaves outside the shadow. The locks it keeps to its end: any on a relation of the live
# schema, and those that allow to write or alter a relation of another. And the catalog rows it wrote: those it sees
# although their transaction is in progress. (The 32 bits of xmin are read relative to its own number.)
_CROSSINGS = """
with mine as (select pg_current_xact_id() as id, age(pg_current_xact_id()::xid) as age),
written(class, oid, schema, xid) as (
    select 'pg_namespace'::regclass, oid, oid, xmin from pg_namespace
    union all select 'pg_class'::regclass, oid, relnamespace, xmin from pg_class
    union all select 'pg_proc'::regclass, oid, pronamespace, xmin from pg_proc
    union all select 'pg_type'::regclass, oid, typnamespace, xmin from pg_type
    union all select 'pg_operator'::regclass, oid, oprnamespace, xmin from pg_operator
    union all select 'pg_type'::regclass, e.enumtypid, t.typnamespace, e.xmin
              from pg_enum e join pg_type t on t.oid = e.enumtypid
    union all select 'pg_extension'::regclass, oid, extnamespace, xmin from pg_extension
)
select pg_describe_object(w.class, w.oid, 0) from written w, mine m
where age(w.xid) <= m.age
  and pg_xact_status(((m.id::text::int8 + m.age - age(w.xid))::text)::xid8) = 'in progress'
  and w.schema <> %(shadow)s::regnamespace and w.schema::regnamespace::text !~ '^pg_(toast|temp)'
union
select coalesce(pg_describe_object('pg_class'::regclass, c.oid, 0), 'a table that is gone now')
from pg_locks l left join pg_class c on c.oid = l.relation
where l.pid = pg_backend_pid() and l.locktype = 'relation' and l.relation = any(%(before)s::oid[])
  and (c.oid is null or c.relnamespace = %(schema)s::regnamespace
       or l.mode not in ('AccessShareLock', 'RowShareLock'))
order by 1
"""


class Shadow:
    """The schema that is built beside the live one, in the open transaction of `work`."""

    def __init__(self, work: psycopg.Connection, live: str, key: int) -> None:
        """Refuse what cannot be swapped; then make the schema and put it first in the search_path.

        Raises:
            ChainFailed: Says what cannot be swapped, and the way out. Nothing was changed.
        """
        self.name = f"dbtools_new_{key % 2**64:x}"
        self.kept: set[str] = set()
        """The enums of the live schema that the new tables use."""
        self._work = work
        self._live = live
        self._names = {"schema": live, "schema_sql": quote(live), "shadow": quote(self.name)}
        check_swappable(work, live)
        self._objects = len(schema_objects(work, live))
        work.execute(f"create schema {quote(self.name)}")
        for (statement,) in work.execute(_DEFAULTS, self._names).fetchall():
            work.execute(statement)
        # Types and functions of extensions in the live schema have to be found. `_check` makes sure that nothing else
        # there is used.
        row = work.execute(
            "select exists (select from pg_extension where extnamespace = %s::regnamespace)", (quote(live),)
        )
        extended = bool((row.fetchone() or (False,))[0])
        path = [quote(self.name), *([quote(live)] if extended else []), *(["public"] if live != "public" else [])]
        work.execute(f"set local search_path to {', '.join(path)}")
        self._transaction = self._id()
        rows = work.execute(_RELATIONS, self._names)
        self._before = [oid for (oid,) in rows]

    def migrate(self, migrator: RenderedMigrations | AlembicMigrations) -> None:
        """Run the migrations in the new schema.

        Raises:
            ChainFailed: One failed, or used something outside of the schema; names it.
            TransactionEnded: One ended the transaction.
        """
        self._work.execute("savepoint unmigrated")
        migrator.run(self._work, self._check_transaction)
        if self._crossings():
            # Again from the start, with a check after every revision, to name it. (Checking each takes longer.)
            self._work.execute("rollback to unmigrated")
            migrator.run(self._work, self._check)
        self._work.execute("release unmigrated")
        check_movable(self._work, self.name)
        self.kept = preserve_enums(self._work, self.name, self._live)

    def check_rows(self) -> None:
        """Find out whether loading the rows touched anything outside of the new schema, as a trigger may.

        Raises:
            ChainFailed: It did; names what.
        """
        if found := self._touched():
            raise ChainFailed(
                "A trigger reaches outside of the schema that is being built while the rows are loaded.",
                f"It created, changed or used {summarize(found)}.",
                f"Take the schema's name out of its function, and any search_path set for that. {IN_PLACE}",
            )

    def _check_transaction(self, revision: str) -> None:
        if self._id() != self._transaction:
            self._work.rollback()
            self._work.execute(f"drop schema if exists {quote(self.name)} cascade")
            self._work.commit()
            raise TransactionEnded(
                f"Migration {revision} ended the transaction that the new schema was built in.",
                "The lock went with it, and what the migration did after that happened in the live schema.",
                f"Remove COMMIT and ROLLBACK from it. {IN_PLACE}",
            )

    def _check(self, revision: str) -> None:
        self._check_transaction(revision)
        if found := self._crossings():
            raise ChainFailed(
                f"Migration {revision} reaches outside of the schema that is being built.",
                f"It created, changed or used {summarize(found)}.",
                f"Take the schema's name out of that revision. {IN_PLACE}",
            )

    def _touched(self) -> list[str]:
        arguments = {"shadow": quote(self.name), "schema": quote(self._live), "before": self._before}
        return [str(name) for (name,) in self._work.execute(_CROSSINGS, arguments)]

    def _crossings(self) -> list[str]:
        found = self._touched()
        if not found and len(schema_objects(self._work, self._live)) < self._objects:
            return [f"an object of schema {self._live} that is gone now"]
        return found or external_dependents(self._work, self._live)

    def _id(self) -> object:
        return (self._work.execute("select pg_current_xact_id_if_assigned()::text").fetchone() or ("",))[0]


def check_swappable(work: psycopg.Connection, schema: str) -> None:
    """Refuse a schema that a swap could not replace. Asks only.

    Raises:
        ChainFailed: Says why, and the way out. Nothing was changed.
    """
    check_rights(work, schema)
    _check_database(work)
    _check_publications(work, schema)
    check_movable(work, schema)
    find_owned(work, schema)


def _check_database(work: psycopg.Connection) -> None:
    row = work.execute("select has_database_privilege(current_database(), 'CREATE'), current_user").fetchone()
    if row and not row[0]:
        name, role = work.info.dbname, str(row[1])
        raise ChainFailed(
            f"Role {role} may not create a schema in database {name}.",
            "A reset builds the new tables in a schema of their own before it puts them in place.",
            f"As its owner: grant create on database {quote(name)} to {quote(role)}. {IN_PLACE}",
            UNCHANGED,
        )


def _check_publications(work: psycopg.Connection, schema: str) -> None:
    rows = work.execute(_PUBLICATIONS, {"schema": schema, "schema_sql": quote(schema)})
    names = [str(name) for (name,) in rows]
    if names:
        raise ChainFailed(
            f"Schema {schema} is published for logical replication: {summarize(names)}.",
            "Subscribers would not get the rows of tables that are built aside.",
            f"Drop the publication and make it again afterwards. {IN_PLACE}",
            UNCHANGED,
        )


def check_movable(work: psycopg.Connection, schema: str) -> None:
    """Refuse objects that this role can drop but not move to another schema.

    Raises:
        ChainFailed: Names them. The constructors of a range type belong to the superuser, whoever made the type.
    """
    fixed = [found.name for found in schema_objects(work, schema) if found.is_dependent and not found.owned]
    if fixed:
        raise ChainFailed(
            f"Cannot move {summarize(fixed)} to another schema.",
            "The functions of a range type belong to the server's superuser.",
            f"Connect as a superuser. {IN_PLACE}",
            UNCHANGED,
        )
