"""The objects of a schema, of whatever kind, and what outside of it depends on them.

Read from pg_depend, where the server itself records which schema an object belongs to: so no kind is forgotten. Objects
of extensions are not the application's and are never listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.db.sql import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

# The owner of an object is in pg_shdepend, except for objects of the bootstrap superuser.
_OBJECTS = """
select case when i.type in ('function', 'procedure', 'aggregate') then 'routine'
            when i.type = 'statistics object' then 'statistics' else i.type end,
       i.identity, pg_get_userbyid(o.owner), pg_has_role(o.owner, 'USAGE'),
       exists (select from pg_depend p where (p.classid, p.objid) = (d.classid, d.objid) and p.deptype in ('a', 'i')
               and (p.refclassid, p.refobjid) <> (d.classid, d.objid)),
       coalesce(c.relkind in ('r', 'p', 'v'), false), coalesce(c.relkind = 'S', false)
from pg_depend d
cross join lateral pg_identify_object(d.classid, d.objid, 0) i
cross join lateral (
    select coalesce(max(s.refobjid), 10::oid) as owner from pg_shdepend s
    where s.dbid = (select oid from pg_database where datname = current_database())
      and (s.classid, s.objid) = (d.classid, d.objid) and s.deptype = 'o') o
left join pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid
where d.refclassid = 'pg_namespace'::regclass and d.refobjid = (select oid from pg_namespace where nspname = %s)
  and d.deptype = 'n' and i.type <> 'extension'
  and not exists (select from pg_depend e where (e.classid, e.objid) = (d.classid, d.objid) and e.deptype = 'e')
order by case when i.type like '%%view' then 1 when i.type like '%%table' then 2 else 3 end, i.type, i.identity
"""

# Rules, triggers, policies, defaults and constraints are in their table's schema. Casts and members of operator
# families are in no schema: they go with what they belong to. Subqueries, not joins: nearly all dependents are
# inside, so each asks one catalog and no function of the server's; planning a dozen joins takes longer than all of it.
_DEPENDENTS = """
with ns as (select oid, nspname from pg_namespace where nspname = any(%s)),
ours(classid, objid) as (
    select 'pg_class'::regclass::oid, c.oid from pg_class c join ns on c.relnamespace = ns.oid
    union all
    select 'pg_type'::regclass::oid, t.oid from pg_type t join ns on t.typnamespace = ns.oid
    where not exists (select from pg_depend e where e.classid = 'pg_type'::regclass and e.objid = t.typelem
                      and e.deptype = 'e')
    union all
    select d.classid, d.objid from pg_depend d join ns on d.refobjid = ns.oid
    where d.refclassid = 'pg_namespace'::regclass and d.deptype = 'n'
)
select distinct pg_describe_object(case when r.is_view then 'pg_class'::regclass else d.classid end,
                                   case when r.is_view then r.oid else d.objid end,
                                   case when r.is_view then 0 else d.objsubid end)
from ours join pg_depend d on (d.refclassid, d.refobjid) = (ours.classid, ours.objid) and d.deptype in ('n', 'a')
cross join lateral (
    select d.classid = 'pg_rewrite'::regclass as is_view, case d.classid
        when 'pg_class'::regclass then d.objid
        when 'pg_rewrite'::regclass then (select ev_class from pg_rewrite where oid = d.objid)
        when 'pg_trigger'::regclass then (select tgrelid from pg_trigger where oid = d.objid)
        when 'pg_policy'::regclass then (select polrelid from pg_policy where oid = d.objid)
        when 'pg_attrdef'::regclass then (select adrelid from pg_attrdef where oid = d.objid)
        when 'pg_constraint'::regclass then (select nullif(conrelid, 0) from pg_constraint where oid = d.objid)
        end as oid) r
left join pg_class c on c.oid = r.oid
where (coalesce(c.relnamespace, (select n.oid from pg_identify_object(d.classid, d.objid, 0) i
                                 join pg_namespace n on quote_ident(n.nspname) = i.schema))
       not in (select oid from ns) or d.classid = 'pg_event_trigger'::regclass)
  and not exists (select from pg_depend e where (e.classid, e.objid) = (ours.classid, ours.objid) and e.deptype = 'e')
  and coalesce(c.relnamespace, 0) not in (select objoid from pg_description where classoid = 'pg_namespace'::regclass
                                          and objsubid = 0 and description = %s)
order by 1
"""
REPLACED_COMMENT = "dbtools: tables that a reset has replaced; the next reset drops them"
"""The comment of a schema of replaced tables, which may still use enums of the live schema."""


@dataclass(frozen=True)
class SchemaObject:
    """One object of a schema."""

    kind: str
    """As DROP and ALTER spell it."""
    name: str
    """In SQL form, qualified with the schema."""
    owner: str
    owned: bool
    """Whether this role may drop and move it."""
    is_dependent: bool
    """Whether it belongs to another object and goes with it when that is dropped: a partition, an owned sequence."""
    is_lockable: bool
    """Whether LOCK TABLE takes it: a table or a view."""
    is_sequence: bool


def schema_objects(connection: psycopg.Connection, schema: str) -> list[SchemaObject]:
    """Return the objects of `schema`: views first, then tables, then the rest."""
    return [SchemaObject(*row) for row in connection.execute(_OBJECTS, (schema,))]


def external_dependents(connection: psycopg.Connection, schemas: Sequence[str]) -> list[str]:
    """Return what outside of `schemas` depends on something in them, in the server's words: "view reports.sales"."""
    return [str(name) for (name,) in connection.execute(_DEPENDENTS, ([*schemas], REPLACED_COMMENT))]


def moves(*contents: tuple[Sequence[SchemaObject], str]) -> Iterator[str]:
    """Return the statements that move objects into a schema, for several such pairs."""
    # Routines and operators first, those of all schemas: their names hold those of their arguments' types, which are
    # about to change. The sequence of a serial or identity column goes with its table, and cannot go without it.
    named_by_types = {"routine", "operator"}
    movable = [
        (item, schema) for found, schema in contents for item in found if not (item.is_dependent and item.is_sequence)
    ]
    for item, schema in sorted(movable, key=lambda move: move[0].kind not in named_by_types):
        yield f"alter {item.kind} {item.name} set schema {quote(schema)}"


def summarize(names: list[str]) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
