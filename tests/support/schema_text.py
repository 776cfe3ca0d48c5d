"""A live schema as text, in the form of tests/data/groombook-schema.txt: what is compared is names and types, whole."""

from __future__ import annotations

import psycopg

_ENUMS = """
select t.typname, string_agg(e.enumlabel, ', ' order by e.enumsortorder)
from pg_type t join pg_enum e on e.enumtypid = t.oid where t.typnamespace = %s::regnamespace group by 1 order by 1
"""
_TABLES = """
select c.oid, c.relname from pg_class c
where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'p') and c.relname <> 'alembic_version'
order by c.relname collate "C"
"""
_COLUMNS = """
select a.attname || '  ' || format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then ' not null' else '' end
       || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
from pg_attribute a left join pg_attrdef d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped order by a.attnum
"""
_CONSTRAINTS = """
select 'constraint ' || conname || ': ' || pg_get_constraintdef(oid) from pg_constraint
where conrelid = %s and contype <> 'n' order by contype desc, conname collate "C"
"""
_INDEXES = """
select 'index ' || c.relname || ': ' || substring(pg_get_indexdef(i.indexrelid) from ' USING (.*)')
       || case when i.indisunique then ' unique' else '' end
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = %s and not exists (select from pg_constraint k where k.conindid = i.indexrelid)
order by i.indexrelid
"""


def describe(connection: psycopg.Connection, schema: str = "public") -> str:
    """Return every enum, table, column, constraint and index of `schema`, which must be first on the search_path."""
    lines = ["# enums"]
    lines += [f"{name}: {labels}" for name, labels in connection.execute(_ENUMS, (schema,))]
    for oid, name in connection.execute(_TABLES, (schema,)).fetchall():
        lines += ["", f"## {name}"]
        for query in (_COLUMNS, _CONSTRAINTS, _INDEXES):
            lines += [str(line) for (line,) in connection.execute(query, (oid,))]
    return "\n".join(lines) + "\n"
