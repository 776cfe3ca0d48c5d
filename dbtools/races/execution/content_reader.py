"""Reads what a run left behind, in every schema that is not the server's own.

Every table is hashed in the server. Only the rows of tables that differ from the start state are read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dbtools.db.settings import fix_text_settings
from dbtools.db.sql import quote
from dbtools.races.content import Column, Content, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from dbtools.races.content import Row

MAX_ROWS = 20_000
"""A table that differs from the start state and has more rows is compared by its digest alone."""
PREPARED = "(prepared transactions)"
LARGE_OBJECTS = "(large objects)"

# A partition's rows are read through its root. A plain table is read without those that inherit from it.
_TABLES = """
select n.nspname, c.relname, case c.relkind when 'r' then 'only ' else '' end,
  (select coalesce(json_agg(json_build_array(
     a.attname, format_type(a.atttypid, null), a.attidentity <> '', a.attgenerated <> '',
     coalesce(pg_get_expr(d.adbin, d.adrelid), ''),
     exists (select from pg_index x where x.indrelid = c.oid and x.indisunique and x.indnkeyatts = 1
             and x.indkey[0] = a.attnum and x.indpred is null),
     exists (select from pg_index x where x.indrelid = c.oid and x.indisprimary and x.indnkeyatts = 1
             and x.indkey[0] = a.attnum),
     (select json_build_array(rn.nspname, rc.relname, ra.attname)
      from pg_constraint k, unnest(k.conkey, k.confkey) as pair(mine, theirs), pg_class rc, pg_namespace rn,
           pg_attribute ra
      where k.conrelid = c.oid and k.contype = 'f' and pair.mine = a.attnum and rc.oid = k.confrelid
        and rn.oid = rc.relnamespace and (ra.attrelid, ra.attnum) = (rc.oid, pair.theirs)
      order by k.conname limit 1)
   ) order by a.attnum), '[]')
   from pg_attribute a left join pg_attrdef d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
   where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and not c.relispartition
  and (c.relkind in ('r', 'p', 'f') or c.relkind = 'm' and c.relispopulated)
order by n.nspname collate "C", c.relname collate "C"
"""
# Of a sequence that no column owns and no default uses, programs take keys by themselves.
_FREE_SEQUENCE = """
select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'S' and n.nspname !~ '^pg_' and not exists (
    select from pg_depend d where d.objid = c.oid and d.deptype in ('a', 'i') and d.refobjsubid > 0
    union all select from pg_depend d where d.refobjid = c.oid and d.classid = 'pg_attrdef'::regclass))
"""
_HASH = (
    "select {name}, count(*), md5(coalesce(string_agg(h, '' order by h collate \"C\"), ''))"
    " from (select md5(record_out((r.*))::text) as h from {table} r) hashed"
)
_LARGE = "select md5(string_agg(data, ''::bytea order by pageno)) from pg_largeobject group by loid"
_UUID = re.compile(r"uuid", re.IGNORECASE)
_INTEGERS = ("integer", "bigint", "smallint", "numeric")


def read_content(connection: psycopg.Connection, start: Content | None = None, gids: Sequence[str] = ()) -> Content:
    """Return what is in the database, and the prepared transactions `gids` that were in it.

    The rows of tables that are as in `start` are left out. The connection is a superuser's, in autocommit mode.
    """
    fix_text_settings(connection, local=False)
    connection.execute("set row_security = off")
    found = connection.execute(_TABLES, prepare=False).fetchall()
    keys = _Keys(connection)
    tables = {}
    sources = {}
    for schema, name, only, columns in found:
        shown = name if schema == "public" else f"{schema}.{name}"
        sources[shown] = f"{only}{quote(schema)}.{quote(name)}", [keys.column(shown, column) for column in columns]
    hashes = _hashes(connection, {name: source for name, (source, _) in sources.items()})
    for name, (source, columns) in sources.items():
        count, digest = hashes[name]
        digest = f"{', '.join(column.name for column in columns)} {count} {digest}"
        before = start.tables.get(name) if start else None
        rows = None
        if count <= MAX_ROWS and (before is None or before.digest != digest):
            rows = _rows(connection, source, columns)
        tables[name] = Table(name, tuple(columns), count, digest, rows)
    for name, column, values in (
        (PREPARED, "gid", gids),
        (LARGE_OBJECTS, "md5", [md5 for (md5,) in connection.execute(_LARGE).fetchall()]),
    ):
        rows = tuple((value,) for value in sorted(values))
        if rows or (start and name in start.tables):
            tables[name] = Table(name, (Column(column),), len(rows), str(rows), rows)
    return Content(tables)


class _Keys:
    """Tells which columns are keys that nobody chose."""

    def __init__(self, connection: psycopg.Connection) -> None:
        row = connection.execute(_FREE_SEQUENCE, prepare=False).fetchone()
        self._free_sequence = bool(row and row[0])

    def column(self, table: str, described: Sequence[Any]) -> Column:
        """Return a column, from what the catalog says about it."""
        name, kind, identity, generated, default, unique, primary, refers = described
        taken = primary and not default and kind in _INTEGERS and self._free_sequence and refers is None
        target = None
        if refers is not None:
            schema, other, column = refers
            target = (other if schema == "public" else f"{schema}.{other}", column)
        return Column(
            name,
            surrogate=not generated and (identity or "nextval(" in default or bool(_UUID.search(default)) or taken),
            key=unique or primary,
            uuid=kind == "uuid",
            derived=generated,
            refers=None if target == (table, name) else target,
        )


def _hashes(connection: psycopg.Connection, sources: dict[str, str]) -> dict[str, tuple[int, str]]:
    if not sources:
        return {}
    literals = {name: "'{}'".format(name.replace("'", "''")) for name in sources}
    query = " union all ".join(_HASH.format(name=literals[name], table=table) for name, table in sources.items())
    return {name: (count, md5) for name, count, md5 in connection.execute(query.encode(), prepare=False).fetchall()}


def _rows(connection: psycopg.Connection, source: str, columns: Sequence[Column]) -> tuple[Row, ...]:
    if not columns:
        return ()
    names = ", ".join(quote(column.name) for column in columns)
    with connection.cursor() as cursor, cursor.copy(f"copy (select {names} from {source}) to stdout".encode()) as copy:
        return tuple(tuple(row) for row in copy.rows())
