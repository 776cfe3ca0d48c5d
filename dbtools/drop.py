"""Drop everything the application owns in its schema, and nothing else.

The schema itself stays, and with it its owner, grants, default privileges and comment. Extensions and what belongs to
them stay. Objects of another role, and objects of other schemas that depend on ours, are found before anything is
dropped, and refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.errors import ChainFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

# One row an object: what DROP calls its kind, its name in SQL form, and whether this role may drop it. Sequences of
# columns, row types of tables and array types go with what they belong to (pg_depend: 'a', 'i'), extension members
# ('e') stay.
_OBJECTS = """
with ns as (select oid from pg_namespace where nspname = %(schema)s),
objects(classid, objid, rank, kind, name, owner) as (
    select 'pg_class'::regclass, c.oid, case c.relkind when 'v' then 1 when 'm' then 1 when 'S' then 3 else 2 end,
           case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
                when 'f' then 'foreign table' else 'table' end,
           c.oid::regclass::text, c.relowner
    from pg_class c join ns on c.relnamespace = ns.oid
    where c.relkind in ('r', 'p', 'f', 'v', 'm', 'S') and not c.relispartition
    union all
    select 'pg_proc'::regclass, p.oid, 4, 'routine', p.oid::regprocedure::text, p.proowner
    from pg_proc p join ns on p.pronamespace = ns.oid
    union all
    select 'pg_type'::regclass, t.oid, 5, case t.typtype when 'd' then 'domain' else 'type' end,
           format_type(t.oid, null), t.typowner
    from pg_type t join ns on t.typnamespace = ns.oid
    where t.typtype in ('e', 'd', 'r') or (t.typtype = 'c' and exists (
        select from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))
)
select o.kind, o.name, pg_has_role(o.owner, 'USAGE'), pg_get_userbyid(o.owner)
from objects o
where not exists (
    select from pg_depend d where (d.classid, d.objid) = (o.classid, o.objid) and d.deptype in ('e', 'a', 'i')
    and d.refobjid <> d.objid)  -- a partitioned table depends on its own key columns
order by o.rank, o.name
"""

# Views, foreign keys, defaults and routines outside the schema that depend on something inside it.
_OUTSIDERS = """
with ns as (select oid from pg_namespace where nspname = %(schema)s),
ours(classid, objid) as (
    select 'pg_class'::regclass::oid, c.oid from pg_class c join ns on c.relnamespace = ns.oid
    union all select 'pg_proc'::regclass::oid, p.oid from pg_proc p join ns on p.pronamespace = ns.oid
    union all select 'pg_type'::regclass::oid, t.oid from pg_type t join ns on t.typnamespace = ns.oid
),
dependents as (
    select distinct d.classid, d.objid from pg_depend d
    join ours on (d.refclassid, d.refobjid) = (ours.classid, ours.objid) where d.deptype = 'n'
)
select distinct found.kind || ' ' || found.name from (
    select 'view' as kind, r.ev_class::regclass::text as name, c.relnamespace as nsp
    from dependents d join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    join pg_class c on c.oid = r.ev_class
    union all
    select 'constraint ' || k.conname || ' of', k.conrelid::regclass::text, k.connamespace
    from dependents d join pg_constraint k on d.classid = 'pg_constraint'::regclass and d.objid = k.oid
    where k.conrelid <> 0
    union all
    select 'default of', a.adrelid::regclass::text, c.relnamespace
    from dependents d join pg_attrdef a on d.classid = 'pg_attrdef'::regclass and d.objid = a.oid
    join pg_class c on c.oid = a.adrelid
    union all
    select 'table', c.oid::regclass::text, c.relnamespace
    from dependents d join pg_class c on d.classid = 'pg_class'::regclass and d.objid = c.oid
    union all
    select 'routine', p.oid::regprocedure::text, p.pronamespace
    from dependents d join pg_proc p on d.classid = 'pg_proc'::regclass and d.objid = p.oid
) found where found.nsp not in (select oid from ns) order by 1
"""

BATCH = 100


@dataclass(frozen=True)
class Owned:
    """One object to drop: its kind as DROP spells it and its name in SQL form."""

    kind: str
    name: str


def find_owned(connection: psycopg.Connection, schema: str) -> list[Owned]:
    """Return what there is to drop, in an order that can be dropped.

    Raises:
        ChainFailed: Something belongs to another role, or something outside the schema depends on it. Nothing was
            changed.
    """
    rows = connection.execute(_OBJECTS, {"schema": schema}).fetchall()
    others = [f"{kind} {name} (owner {owner})" for kind, name, ours, owner in rows if not ours]
    if others:
        raise ChainFailed(
            f"Cannot drop everything in schema {schema}: {_some(others)} belongs to another role.",
            "Nothing was changed.",
            "Connect as the owner, or give it to this role: reassign owned by OWNER to THIS_ROLE;",
        )
    outsiders = [str(name) for (name,) in connection.execute(_OUTSIDERS, {"schema": schema})]
    if outsiders:
        raise ChainFailed(
            f"Cannot drop everything in schema {schema}: {_some(outsiders)} in another schema depends on it.",
            "Dropping it too would go beyond the application's own schema. Nothing was changed.",
            "Drop that object first, or move it into the application's schema.",
        )
    return [Owned(str(kind), str(name)) for kind, name, _, _ in rows]


def drop_all(connection: psycopg.Connection, schema: str, *, batch: int | None = None) -> int:
    """Drop everything `find_owned` returns and return how many objects that were.

    Without `batch`, each kind goes in one statement; with it, so many objects a statement: under autocommit a schema
    of thousands of tables then needs few lock slots at a time.

    Raises:
        ChainFailed: As `find_owned`.
    """
    owned = find_owned(connection, schema)
    for kind, names in _by_kind(owned):
        size = batch or len(names)
        for start in range(0, len(names), size):
            # CASCADE stays within the schema: find_owned has just refused everything outside. IF EXISTS because an
            # earlier CASCADE may have taken it along.
            connection.execute(f"drop {kind} if exists {', '.join(names[start : start + size])} cascade")
    return len(owned)


def _by_kind(owned: list[Owned]) -> Iterator[tuple[str, list[str]]]:
    kinds = list(dict.fromkeys(one.kind for one in owned))
    for kind in kinds:
        yield kind, [one.name for one in owned if one.kind == kind]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
