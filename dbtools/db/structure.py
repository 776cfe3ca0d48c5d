"""The structure of a schema as lines of text: what a dump of it without its rows would say, independent of its name.

Not in it: owners, grants, comments, statistics objects, storage parameters, publications, and objects of extensions.
Definitions are in the server's own words, so they are comparable within one major version.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from dbtools.db.sql import quote

if TYPE_CHECKING:
    import psycopg

# Each part yields the catalog and the oid of the object that it belongs to, then kind, name and definition. The pretty
# forms of the server's functions leave out the schema's name where the search_path has it.
_RELATIONS = """
select 'pg_class'::regclass, c.oid, 'relation', c.relname,
       json_build_array(c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, am.amname,
                 c.relispartition, pg_get_expr(c.relpartbound, c.oid, true), pg_get_partkeydef(c.oid),
                 case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid, true) end,
                 (select string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno)
                  from pg_inherits i where i.inhrelid = c.oid))::text
from pg_class c left join pg_am am on am.oid = c.relam
where c.relnamespace = %(schema)s::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
"""
# A column that was dropped has no type.
_COLUMNS = """
select 'pg_class'::regclass, c.oid, 'column', format('%%I.%%I', c.relname, a.attname),
       json_build_array(row_number() over (partition by c.oid order by a.attnum), format_type(a.atttypid, a.atttypmod),
                 case when a.attcollation <> t.typcollation then a.attcollation::regcollation::text end,
                 case when a.attnotnull then 'not null' end, nullif(a.attidentity, ''), nullif(a.attgenerated, ''),
                 pg_get_expr(d.adbin, d.adrelid, true))::text
from pg_class c join pg_attribute a on a.attrelid = c.oid join pg_type t on t.oid = a.atttypid
left join pg_attrdef d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
where c.relnamespace = %(schema)s::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c')
  and a.attnum > 0
"""
_CONSTRAINTS = """
select case when k.conrelid = 0 then 'pg_type' else 'pg_class' end::regclass,
       coalesce(nullif(k.conrelid, 0), k.contypid), 'constraint',
       json_build_array(c.relname, t.typname, k.conname)::text, pg_get_constraintdef(k.oid, true)
from pg_constraint k left join pg_class c on c.oid = k.conrelid left join pg_type t on t.oid = k.contypid
where k.connamespace = %(schema)s::regnamespace
"""
_INDEXES = """
select 'pg_class'::regclass, x.indrelid, 'index', i.relname,
       json_build_array(pg_get_indexdef(x.indexrelid, 0, true), x.indisvalid)::text
from pg_index x join pg_class i on i.oid = x.indexrelid where i.relnamespace = %(schema)s::regnamespace
"""
_TRIGGERS = """
select 'pg_class'::regclass, c.oid, 'trigger', format('%%I.%%I', c.relname, t.tgname),
       json_build_array(pg_get_triggerdef(t.oid, true), t.tgenabled)::text
from pg_trigger t join pg_class c on c.oid = t.tgrelid
where c.relnamespace = %(schema)s::regnamespace and not t.tgisinternal
"""
_RULES = """
select 'pg_class'::regclass, c.oid, 'rule', format('%%I.%%I', c.relname, r.rulename),
       json_build_array(pg_get_ruledef(r.oid, true), r.ev_enabled)::text
from pg_rewrite r join pg_class c on c.oid = r.ev_class
where c.relnamespace = %(schema)s::regnamespace and r.rulename <> '_RETURN'
"""
_POLICIES = """
select 'pg_class'::regclass, c.oid, 'policy', format('%%I.%%I', c.relname, p.polname),
       json_build_array(p.polcmd, p.polpermissive,
                 (select string_agg(case role when 0 then 'public' else pg_get_userbyid(role) end, ', ' order by role)
                  from unnest(p.polroles) as granted(role)),
                 pg_get_expr(p.polqual, p.polrelid, true), pg_get_expr(p.polwithcheck, p.polrelid, true))::text
from pg_policy p join pg_class c on c.oid = p.polrelid where c.relnamespace = %(schema)s::regnamespace
"""
_SEQUENCES = """
select 'pg_class'::regclass, c.oid, 'sequence', c.relname,
       json_build_array(s.seqtypid::regtype, s.seqstart, s.seqmin, s.seqmax, s.seqincrement, s.seqcycle, s.seqcache,
                 'at', case when %(positions)s then pg_sequence_last_value(c.oid) end)::text
from pg_sequence s join pg_class c on c.oid = s.seqrelid where c.relnamespace = %(schema)s::regnamespace
"""
_TYPES = """
select 'pg_type'::regclass, t.oid, 'type', t.typname,
       json_build_array(t.typtype,
                 (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
                  from pg_enum e where e.enumtypid = t.oid),
                 case when t.typtype = 'd' then format_type(t.typbasetype, t.typtypmod) end,
                 case when t.typnotnull then 'not null' end, t.typdefault,
                 (select format_type(r.rngsubtype, null) from pg_range r where r.rngtypid = t.oid))::text
from pg_type t left join pg_class c on c.oid = t.typrelid
where t.typnamespace = %(schema)s::regnamespace and t.typtype in ('b', 'd', 'e', 'r', 'c') and t.typcategory <> 'A'
  and (t.typrelid = 0 or c.relkind = 'c')
"""
_ROUTINES = """
select 'pg_proc'::regclass, p.oid, 'routine', p.oid::regprocedure::text,
       json_build_array(p.prokind, l.lanname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
                 p.provolatile, p.proisstrict, p.prosecdef, p.proleakproof, p.proparallel, p.proconfig::text,
                 p.prosrc, pg_get_function_sqlbody(p.oid),
                 (select json_build_array(a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.agginitval)
                  from pg_aggregate a where a.aggfnoid = p.oid))::text
from pg_proc p join pg_language l on l.oid = p.prolang where p.pronamespace = %(schema)s::regnamespace
"""
_PARTS = (
    *(_RELATIONS, _COLUMNS, _CONSTRAINTS, _INDEXES, _TRIGGERS, _RULES, _POLICIES),
    *(_SEQUENCES, _TYPES, _ROUTINES),
)
_STRUCTURE = f"""
select kind, name, definition
from ({" union all ".join(_PARTS)}) found(class, oid, kind, name, definition)
where not exists (select from pg_depend e where (e.classid, e.objid, e.deptype) = (found.class, found.oid, 'e'))
order by kind, name collate "C", definition collate "C"
"""


def structure(connection: psycopg.Connection, schema: str, *, positions: bool = True) -> list[tuple[str, str, str]]:
    """Return kind, name and definition of everything in `schema`, in an order of its own.

    With `positions`, sequences show theirs. Call it with `schema` as the only schema of the search_path after
    pg_catalog: then equal structures give equal text, whatever the schemas are called.
    """
    return connection.execute(_STRUCTURE, {"schema": quote(schema), "positions": positions}).fetchall()


def fingerprint(connection: psycopg.Connection, schema: str) -> str:
    """Return the SHA-256 of the structure of `schema`, positions of sequences left out.

    The caller's transaction keeps no lock of it, so none looks like one that the content's triggers took.
    """
    # Rolling back gives the locks back, but not those of sequences: a session keeps them for its whole transaction.
    with connection.transaction(force_rollback=True):
        connection.execute(f"set local search_path to pg_catalog, {quote(schema)}")
        found = structure(connection, schema, positions=False)
    lines = [f"{kind} {name} {definition}\n" for kind, name, definition in found]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
