"""What the server says of a statement in the start state: which tables it reads, and which rows it may write or lock.

The server parses the statement for us, and the locks of its parser name the tables. What else an execution touches is
in the catalog: foreign keys, the sequences of defaults, and partitions, which go by the number of their root.
Functions, policies, rules and the like of the start state's own may do anything: where there is one, nothing is known.
Nor is it of statements with a word that may look beyond tables, such as the name of a volatile function.
"""

from __future__ import annotations

import re
from typing import Any

import psycopg

from dbtools.races.execution.row_versions import asking
from dbtools.races.execution.wire import MAX_HEAD_BYTES
from dbtools.races.reach import Reach

FIRST_OWN_OID = 16384
"""Lower numbers are the server's own."""
_READS, _LOCKS_ROWS, _WRITES = "AccessShareLock", "RowShareLock", "RowExclusiveLock"

# Code of its own, or what could run some; defaults whose sequence is not known; and tables that inherit.
_OWN_CODE = f"""
select exists (select from pg_proc where oid >= {FIRST_OWN_OID})
  or exists (select from pg_rewrite where oid >= {FIRST_OWN_OID} and rulename <> '_RETURN')
  or exists (select from pg_policy) or exists (select from pg_event_trigger) or exists (select from pg_foreign_table)
  or exists (select from pg_type where typdefault ~* 'nextval')
  or exists (select from pg_inherits join pg_class on oid = inhrelid where not relispartition and relkind = 'r')
  or exists (select from pg_attrdef d where pg_get_expr(adbin, adrelid) ~* 'nextval' and not exists (
    select from pg_depend join pg_class s on s.oid = refobjid and s.relkind = 'S'
    where (classid, objid, refclassid) = ('pg_attrdef'::regclass, d.oid, 'pg_class'::regclass)))
"""
_EXPRESSIONS = f"""
select pg_get_expr(adbin, adrelid) from pg_attrdef
where pg_get_expr(adbin, adrelid) !~ '^nextval\\(''[^'']*''::regclass\\)$'
union all select pg_get_constraintdef(oid) from pg_constraint where contype = 'c'
union all select typdefault from pg_type where typtype = 'd' and typdefault is not null and oid >= {FIRST_OWN_OID}
"""
_VOLATILE = """
select distinct proname::text from pg_proc where provolatile = 'v' and pronamespace = 'pg_catalog'::regnamespace
"""
_ROOT = "coalesce(pg_partition_root({0}), {0})::int8"
_KEYS = f"""
select distinct {_ROOT.format("conrelid")}, {_ROOT.format("confrelid")} from pg_constraint where contype = 'f'
"""
_SEQUENCES = f"""
select {_ROOT.format("d.adrelid")}, refobjid::int8 from pg_attrdef d
join pg_depend on (classid, objid, refclassid) = ('pg_attrdef'::regclass, d.oid, 'pg_class'::regclass)
join pg_class s on s.oid = refobjid and s.relkind = 'S'
union select {_ROOT.format("refobjid")}, objid::int8 from pg_depend join pg_class s on s.oid = objid and s.relkind = 'S'
where classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass and deptype in ('a', 'i')
"""
_LOCKED = f"""
select c.oid::int8, {_ROOT.format("c.oid")}, c.relkind in ('r', 'p') and c.relpersistence <> 't', mode
from pg_locks join pg_class c on c.oid = relation
where pid = pg_backend_pid() and locktype = 'relation' and c.oid not in ('pg_locks'::regclass, 'pg_class'::regclass)
  and c.relname not in ('pg_class_oid_index', 'pg_class_relname_nsp_index', 'pg_class_tblspc_relfilenode_index')
"""
_FUNCTIONS = f"""
select proname::text from pg_proc p
where oid >= {FIRST_OWN_OID} and provolatile = 'v' and prorettype <> 'trigger'::regtype
  and not exists (select from pg_depend d where (d.classid, d.objid, d.deptype) = ('pg_proc'::regclass, p.oid, 'e'))
"""
_STATEMENT = re.compile(r"(select|insert|update|delete|merge|with|values)\b", re.IGNORECASE)
_INTO = re.compile(r"(select|with|values)\b.*\binto\b", re.IGNORECASE | re.DOTALL)
_HARMLESS = frozenset({"random", "gen_random_uuid"})
# Functions that are not volatile and look beyond tables, columns that tell of transactions, and texts with escapes.
_UNSURE = re.compile(
    r"\b(pg_|txid|lo_|has_|to_reg|inet_|currtid)|xid\b|_to_xml"
    r"|\b(xmin|xmax|cmin|cmax|ctid|tableoid|statement_timestamp|current_setting|row_security_active|ts_stat)\b|u&[\"']",
    re.IGNORECASE,
)
_TIMED = re.compile(
    r"\b(now|transaction_timestamp|current_(date|time|timestamp)|localtime(stamp)?|age|today|tomorrow|yesterday)\b",
    re.IGNORECASE,
)


def own_functions(connection: psycopg.Connection) -> frozenset[str]:
    """Return the names of a database's own functions that may change something."""
    return frozenset(str(name) for (name,) in connection.execute(_FUNCTIONS.encode()).fetchall())


class Catalogue:
    """What is known of statements in the start state. The connection is as the programs have it, to a copy of it."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._known: dict[str, Reach | None] = {}
        ((self._own_code,),) = self._rows(_OWN_CODE)
        self._volatile = {str(name) for (name,) in self._rows(_VOLATILE)} - _HARMLESS
        expressions = "\n".join(str(text) for (text,) in self._rows(_EXPRESSIONS))
        self._unsure = self._is_unsure(expressions)
        self._timed = _TIMED.search(expressions) is not None
        self._keys: list[tuple[int, int]] = self._rows(_KEYS)
        self._sequences: list[tuple[int, int]] = self._rows(_SEQUENCES)

    def reach(self, sql: str) -> Reach | None:
        """Return what a statement reaches, if it is a single one that reads or writes rows and all of it is known."""
        if sql not in self._known:
            self._known[sql] = self._look(sql.strip().rstrip(";").strip())
        return self._known[sql]

    def _look(self, sql: str) -> Reach | None:
        cut = len(sql) >= MAX_HEAD_BYTES // 4
        if self._own_code or cut or not _STATEMENT.match(sql) or _INTO.match(sql) or ";" in sql or self._is_unsure(sql):
            return None
        reads, writes = set[int](), set[int]()
        inserts = sql[:6].lower() == "insert" and not re.search(r"\b(update|delete|merge)\b", sql, re.IGNORECASE)
        for oid, root, usable, mode in self._locks(sql):
            if not usable or oid < FIRST_OWN_OID or mode not in (_READS, _LOCKS_ROWS, _WRITES):
                return None
            reads.add(root)
            writes |= {_LOCKS_ROWS: {root}, _WRITES: self._written(root, inserts=inserts)}.get(mode, set())
        if writes and self._unsure:
            return None
        timed = _TIMED.search(sql) is not None or (bool(writes) and self._timed)
        return Reach(frozenset(reads), frozenset(writes), timed)

    def _is_unsure(self, text: str) -> bool:
        words = set(re.findall(r"\w+", text.lower()))
        return _UNSURE.search(text) is not None or not words.isdisjoint(self._volatile)

    def _locks(self, sql: str) -> list[tuple[int, int, bool, str]]:
        """Return the tables that the parser locks: number, number of the root, whether it is a plain one, and mode."""
        with asking(self._connection):
            parsed = self._connection.pgconn.prepare(b"", sql.encode())
            if parsed.status != psycopg.pq.ExecStatus.COMMAND_OK:
                return [(0, 0, False, "")]
            return self._rows(_LOCKED)

    def _written(self, table: int, *, inserts: bool) -> set[int]:
        """Return what is written or locked where rows of a table are: what its keys lead to, and its sequences."""
        found, left = {table}, [] if inserts else [table]
        while left:
            parent = left.pop()
            more = {child for child, other in self._keys if other == parent} - found
            found |= more
            left += more
        found |= {parent for child, parent in self._keys if child in found}
        return found | {sequence for owner, sequence in self._sequences if owner in found}

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query.encode(), prepare=False).fetchall()
