"""Preserve the enum types that a reset does not change.

A new enum of the same name and labels is still another type: a prepared statement that returns it would fail ("cached
plan must not change result type"), and a driver that has cached its OID would no longer know it. So the new tables are
switched to the live type, before they hold any rows, and the copy that the migrations made is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

_EQUAL = """
with enums as (
    select t.oid, t.typarray, t.typname, n.nspname, format_type(t.oid, null) as name, t.typowner,
           t.typacl::text as acl, obj_description(t.oid, 'pg_type'),
           array_agg(e.enumlabel order by e.enumsortorder) as labels
    from pg_type t join pg_namespace n on n.oid = t.typnamespace join pg_enum e on e.enumtypid = t.oid
    where n.nspname in (%(new)s, %(live)s) group by t.oid, n.nspname
)
select array[new.oid, new.typarray], new.name, live.name from enums new join enums live using (typname)
where (new.nspname, live.nspname) = (%(new)s, %(live)s)
  and (new.typowner, new.acl, new.obj_description, new.labels)
      is not distinct from (live.typowner, live.acl, live.obj_description, live.labels)
order by typname
"""

# Dropped before a column changes its type, and created again afterwards: checks that mention the type, and all indexes
# of the table, so that they keep the order in which the migrations made them.
_INDEXES = """
select 'drop index ' || i.indexrelid::regclass, pg_get_indexdef(i.indexrelid) from pg_index i
where i.indrelid in (select attrelid from pg_attribute where atttypid = any(%(types)s))
  and not exists (select from pg_constraint k where k.conindid = i.indexrelid)
  and not exists (select from pg_inherits h where h.inhrelid = i.indexrelid)
  and obj_description(i.indexrelid, 'pg_class') is null
order by i.indexrelid
"""
_CHECKS = """
select format('alter table %%s drop constraint %%I', k.conrelid::regclass, k.conname),
       format('alter table %%s add constraint %%I %%s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
from pg_constraint k
where k.contype = 'c' and k.conrelid <> 0 and k.coninhcount = 0 and obj_description(k.oid, 'pg_constraint') is null
  and exists (select from pg_depend d where d.classid = 'pg_constraint'::regclass and d.objid = k.oid
              and d.refclassid = 'pg_type'::regclass and d.refobjid = any(%(types)s))
"""
_COLUMNS = """
select c.oid::regclass::text, quote_ident(a.attname), format_type(a.atttypid, null), pg_get_expr(d.adbin, d.adrelid)
from pg_attribute a join pg_class c on c.oid = a.attrelid
left join pg_attrdef d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
where a.atttypid = any(%(types)s) and c.relkind in ('r', 'p') and a.attinhcount = 0 and not a.attisdropped
order by c.oid, a.attnum
"""


def preserve_enums(work: psycopg.Connection, new: str, live: str) -> set[str]:
    """Switch the tables of schema `new` to the enums of `live` that equal their own; return those enums.

    The names are in SQL form, qualified. An enum that a routine or a view uses too is left alone.
    """
    import psycopg

    kept = set()
    row = work.execute("show search_path").fetchone()
    assert row is not None
    work.execute("set local search_path to pg_catalog")  # so that the server qualifies every name it prints
    for types, ours, theirs in work.execute(_EQUAL, {"new": new, "live": live}).fetchall():
        try:
            with work.transaction():
                work.execute("; ".join(_statements(work, types, ours, theirs)))
            kept.add(theirs)
        except psycopg.Error:  # something else depends on it; the savepoint has undone the attempt
            continue
    work.execute(f"set local search_path to {row[0]}")
    return kept


def _statements(work: psycopg.Connection, types: list[int], ours: str, theirs: str) -> Iterator[str]:
    again: list[str] = []
    for query in (_INDEXES, _CHECKS):
        for drop, create in work.execute(query, {"types": types}).fetchall():
            yield drop
            again.append(create.replace(ours, theirs))
    for table, column, name, default in work.execute(_COLUMNS, {"types": types}).fetchall():
        wanted = name.replace(ours, theirs)
        text = "text[]" if name.endswith("[]") else "text"
        steps = [f"alter {column} type {wanted} using {column}::{text}::{wanted}"]
        if default is not None:
            steps = [
                f"alter {column} drop default",
                *steps,
                f"alter {column} set default {default.replace(ours, theirs)}",
            ]
        yield f"alter table {table} {', '.join(steps)}"
    yield from again
    yield f"drop type {ours}"
