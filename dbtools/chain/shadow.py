"""The shadow schemas of a swap: what may be swapped at all, their default privileges, and rows that went astray."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dbtools.chain.drop import check_dependents, check_owners
from dbtools.chain.schema import check_rights
from dbtools.db.catalog import schema_objects, summarize
from dbtools.db.sql import quote
from dbtools.errors import UNCHANGED, ChainFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import psycopg

    from dbtools.build.manifest import Manifest
    from dbtools.db.catalog import SchemaObject

IN_PLACE = 'Run: invoke reset --in-place; or, for good, set strategy = "in-place" in [tool.dbtools].'

_PUBLICATIONS = "select distinct pubname from pg_publication_tables where schemaname = %s order by 1"
_PUBLICATIONS_OF_SCHEMA = """
select p.pubname from pg_publication p join pg_publication_namespace n on n.pnpubid = p.oid
where n.pnnspid = to_regnamespace(%s) order by 1
"""
"""Those that publish whatever is in the schema, tables to come too. There are none before PostgreSQL 15."""

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
where relnamespace <> all (%s::regnamespace[] || array['pg_catalog', 'pg_toast', 'information_schema']::regnamespace[])
"""

# The locks that a transaction keeps to its end tell what it used: any on a relation of a live schema, and those that
# allow to write or alter a relation of another.
_CROSSINGS = """
select coalesce(pg_describe_object('pg_class'::regclass, c.oid, 0), 'a table that is gone now')
from pg_locks l left join pg_class c on c.oid = l.relation
where l.pid = pg_backend_pid() and l.locktype = 'relation' and l.relation = any(%(before)s::oid[])
  and (c.oid is null or c.relnamespace = any (%(schema)s::regnamespace[])
       or l.mode not in ('AccessShareLock', 'RowShareLock'))
order by 1
"""


def shadow_name(key: int, number: int) -> str:
    """Return the name of shadow schema `number` of the lock `key`."""
    return f"dbtools_new_{key % 2**64:x}" + (f"_{number}" if number else "")


def create_shadow(work: psycopg.Connection, live: str, name: str) -> None:
    """Make the schema `name` in the open transaction, with the default privileges that `live` has."""
    work.execute(f"create schema {quote(name)}")
    names = {"schema_sql": quote(live), "shadow": quote(name)}
    for (statement,) in work.execute(_DEFAULTS, names).fetchall():
        work.execute(statement)


def relations(work: psycopg.Connection, shadows: Sequence[str]) -> list[int]:
    """Return the relations outside of `shadows`, for `check_crossings`."""
    return [oid for (oid,) in work.execute(_RELATIONS, ([*map(quote, shadows)],))]


def check_crossings(work: psycopg.Connection, live: Sequence[str], before: Sequence[int]) -> None:
    """Find out whether loading the rows touched anything outside of the new schemas, as a trigger may.

    `before` are the relations that were there before.

    Raises:
        ChainFailed: It did; names what.
    """
    arguments = {"schema": [*map(quote, live)], "before": [*before]}
    if found := [str(name) for (name,) in work.execute(_CROSSINGS, arguments)]:
        raise ChainFailed(
            "A trigger reaches outside of the schema that is being built while the rows are loaded.",
            f"It used {summarize(found)}.",
            f"Take the schema's name out of its function, and any search_path set for that. {IN_PLACE}",
        )


def check_swappable(work: psycopg.Connection, schemas: Sequence[str]) -> None:
    """Refuse schemas that a swap could not replace; one that is missing will be made. Asks only.

    Raises:
        ChainFailed: Says why, and the way out. Nothing was changed.
    """
    for _, check in swap_checks(work, schemas):
        check()


def swap_checks(work: psycopg.Connection, schemas: Sequence[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the questions of `check_swappable`, each with its name; it raises ChainFailed where the answer is no."""
    yield "database", partial(_check_database, work)
    for name in schemas:
        yield "schema", partial(check_rights, work, name)
        yield "publications", partial(_check_publications, work, name)
        yield "movable", lambda name=name: check_movable(schema_objects(work, name))  # type: ignore[misc]
    yield "owners", partial(check_owners, work, schemas)
    yield "dependents", partial(check_dependents, work, schemas)


def check_snapshot_movable(manifest: Manifest) -> None:
    """Refuse a snapshot whose content has to be made under its own names.

    Raises:
        ChainFailed: Names what cannot be moved.
    """
    if manifest.fixed:
        raise _not_movable(manifest.fixed)


def _check_database(work: psycopg.Connection) -> None:
    ((allowed, role),) = work.execute("select has_database_privilege(current_database(), 'CREATE'), current_user")
    if not allowed:
        name = work.info.dbname
        raise ChainFailed(
            f"Role {role} may not create a schema in database {name}.",
            "A reset builds the new tables in a schema of their own before it puts them in place.",
            f"As its owner: grant create on database {quote(name)} to {quote(role)}. {IN_PLACE}",
            UNCHANGED,
        )


def _check_publications(work: psycopg.Connection, schema: str) -> None:
    names = {str(name) for (name,) in work.execute(_PUBLICATIONS, (schema,))}
    if work.info.server_version >= 150000:
        names |= {str(name) for (name,) in work.execute(_PUBLICATIONS_OF_SCHEMA, (quote(schema),))}
    if names:
        raise ChainFailed(
            f"Schema {schema} is published for logical replication: {summarize(sorted(names))}.",
            "Subscribers would not get the rows of tables that are built aside.",
            f"Drop the publication and make it again afterwards. {IN_PLACE}",
            UNCHANGED,
        )


def check_movable(content: Sequence[SchemaObject]) -> None:
    """Refuse objects that this role can drop but not move to another schema.

    Raises:
        ChainFailed: Names them. The constructors of a range type belong to the superuser, whoever made the type.
    """
    fixed = [found.name for found in content if found.is_dependent and not found.owned]
    if fixed:
        raise _not_movable(summarize(fixed))


def _not_movable(what: str) -> ChainFailed:
    # The server's own words quote what they name; a list of names does not.
    if '"' in what:
        return ChainFailed("The content cannot be moved to another schema.", f"{what}.", IN_PLACE, UNCHANGED)
    return ChainFailed(
        f"Cannot move {what} to another schema.",
        "The functions of a range type belong to the server's superuser.",
        f"Connect as a superuser. {IN_PLACE}",
        UNCHANGED,
    )
