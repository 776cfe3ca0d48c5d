"""The committed versions of all rows of a database, read again and again: which rows changed, and by whom."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

MAX_ROWS = 2_000
"""Of a larger table only that it has changed is seen, not which rows."""
OTHERS = "n.nspname !~ '^pg_' and n.nspname <> 'information_schema'"
NAME = "case n.nspname when 'public' then '' else n.nspname || '.' end || c.relname"
_TABLES = f"""
select {NAME}, c.oid::int8, case c.relkind when 'r' then 'only ' else '' end || c.oid::regclass::text, c.xmin::text,
  (select string_agg(a.attname || ' ' || a.atttypid, ', ' order by a.attnum) from pg_catalog.pg_attribute a
   where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
  coalesce((select array_agg(a.attname::text order by a.attnum) from pg_catalog.pg_attribute a
   where a.attrelid = c.oid and a.attnum = any(
     (select i.indkey::int2[] from pg_catalog.pg_index i
      where i.indrelid = c.oid and i.indisunique and i.indpred is null and i.indexprs is null and not exists (
        select from pg_catalog.pg_attribute k
        where k.attrelid = c.oid and k.attnum = any(i.indkey::int2[]) and not k.attnotnull)
      order by i.indisprimary desc, i.indexrelid limit 1)::int2[])), '{{}}')
from pg_catalog.pg_class t join pg_catalog.pg_class c on c.oid = coalesce(pg_partition_root(t.oid), t.oid)
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where t.relkind = 'r' and {OTHERS}
group by c.oid, n.nspname, c.relname, c.xmin order by 1
"""


@dataclass(frozen=True)
class Version:
    """One row as it is committed."""

    place: str
    writer: str
    """The transaction that wrote it."""
    ender: str
    """The transaction that is about to end it, or has locked it; "0" if none."""
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table as it is committed."""

    oid: int
    shape: tuple[str, ...]
    """Its columns, and those of its primary key."""
    writer: str
    rows: Mapping[str, Version]
    large: bool = False
    """It has too many rows to tell them apart: `rows` are the new ones, by their places."""


class TableReader:
    """Reads the tables of one run. The connection is a superuser's, in autocommit mode."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._keys: dict[str, dict[str, str]] = {}
        """Per table without a primary key: the first place of a row by its present one."""
        row = connection.execute("select pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
        self._first = int(row[0]) if row else 0
        """The first transaction that can be one of this run."""
        self.updates = False
        """A statement has updated rows."""

    def read(self, before: Mapping[str, Table]) -> dict[str, Table]:
        """Return all tables; one that a transaction has locked as it was, for nobody else can have changed it."""
        found = {}
        for name, oid, source, writer, columns, key in self._connection.execute(_TABLES).fetchall():
            try:
                with asking(self._connection):
                    versions = self._versions(source)
                    if large := len(versions) > MAX_ROWS:
                        versions = self._versions(source, f"where xmin::text::int8 >= {self._first}")
            except psycopg.Error:
                if name in before:
                    found[name] = before[name]
                continue
            rows = self._by_key(name, () if large else key, versions, before.get(name))
            found[name] = Table(oid, (columns, *key), writer, rows, large)
        return found

    def _versions(self, source: str, where: str = "") -> list[Version]:
        query = f"select ctid::text, xmin::text, xmax::text, to_jsonb(t) from {source} t {where} limit {MAX_ROWS + 1}"
        return [Version(*row) for row in self._connection.execute(query.encode()).fetchall()]

    def _by_key(
        self, name: str, key: Collection[str], versions: list[Version], before: Table | None
    ) -> dict[str, Version]:
        if key:
            return {", ".join(str(version.values[column]) for column in key): version for version in versions}
        firsts = self._keys.setdefault(name, {})
        was = {version.place: first for first, version in before.rows.items()} if before else {}
        now = {version.place for version in versions}
        new, gone = now - was.keys(), was.keys() - now
        if len(new) == len(gone) == 1 and self.updates:  # the new version is the same row
            firsts[new.pop()] = was[gone.pop()]
        return {firsts.get(version.place, version.place): version for version in versions}


@contextmanager
def asking(connection: psycopg.Connection) -> Iterator[None]:
    """A transaction that leaves nothing behind and waits for no lock of the programs."""
    connection.execute("begin read only")
    try:
        connection.execute("set local lock_timeout = '5ms'")
        yield
    finally:
        connection.execute("rollback")
