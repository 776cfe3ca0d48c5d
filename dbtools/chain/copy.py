"""Load rows with COPY, and find the tables that have to be emptied before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from dbtools.db.sql import literal, quote
from dbtools.errors import UNCHANGED, ChainFailed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import psycopg

    from dbtools.dataset import Dataset, TableRows, Value

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

# The given tables and all that refer to them, directly or not: TRUNCATE takes them only together.
_REFERRERS = """
with recursive emptied(oid) as (
    select unnest(%(tables)s::text[])::regclass::oid
    union
    select c.conrelid from pg_constraint c join emptied e on c.confrelid = e.oid where c.contype = 'f'
)
select case t.relkind when 'r' then 'only ' else '' end || e.oid::regclass::text, e.oid::regclass::text, n.nspname
from emptied e join pg_class t on t.oid = e.oid join pg_namespace n on n.oid = t.relnamespace order by 1
"""

# The sequences behind the columns of the given tables (identity, serial, or a default that calls nextval), each with
# all columns that it feeds.
_SEQUENCES = """
with feeds(sequence, relation, number) as (
    select objid, refobjid, refobjsubid from pg_depend
    where classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass and refobjsubid > 0
      and deptype in ('a', 'i')
    union
    select d.refobjid, a.adrelid, a.adnum from pg_depend d join pg_attrdef a on a.oid = d.objid
    where d.classid = 'pg_attrdef'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjsubid = 0
)
select s.seqrelid::regclass::text, s.seqincrement > 0, s.seqstart, s.seqmin, s.seqmax,
       array_agg(format('select %%I from %%s', a.attname, f.relation::regclass))
from feeds f join pg_sequence s on s.seqrelid = f.sequence
join pg_attribute a on (a.attrelid, a.attnum) = (f.relation, f.number)
where s.seqrelid in (select sequence from feeds where relation = any(%(tables)s::text[]::regclass[]))
group by s.seqrelid order by s.seqrelid
"""

# Ordinary tables that COPY FREEZE accepts.
_FREEZABLE = """
select '"' || replace(c.relname, '"', '""') || '"' from pg_class c
where c.relnamespace = any (%s::regnamespace[]) and c.relkind = 'r' and not c.relispartition and not c.relrowsecurity
  and not exists (select from pg_trigger t where t.tgrelid = c.oid)
order by c.oid
"""

# By age: a view cannot read one that was made later.
_VIEWS = """
select c.oid::regclass::text, quote_ident(pg_get_userbyid(c.relowner)) from pg_class c
where c.relnamespace = %(schema)s::regnamespace and c.relkind = 'm' and c.relispopulated
  and pg_has_role(c.relowner, 'USAGE') order by c.oid
"""


@dataclass(frozen=True)
class EncodedTable:
    """One table's rows as the text COPY reads; the names are in SQL form."""

    name: str
    columns: str
    count: int
    data: bytes


class CopyData(NamedTuple):
    """The rows to copy in."""

    tables: tuple[EncodedTable, ...] = ()
    summary: tuple[str, ...] = ()
    """What a person is told once they are in, a line each."""


def encode(dataset: Dataset) -> tuple[EncodedTable, ...]:
    """Return the dataset as COPY text. Needs no connection."""
    return tuple(_encode(table) for table in dataset.tables)


def copy_rows(connection: psycopg.Connection, tables: Iterable[EncodedTable], frozen: Collection[str] = ()) -> int:
    """Copy the rows in and move the sequences past them; return the number of rows.

    COPY does not advance sequences, so they would hand out keys that are taken: each is set past the last key of all
    columns that it feeds, or to its start. The rows of tables in `frozen` (names in SQL form), which the open
    transaction has made, are frozen. Runs in the caller's transaction; under autocommit every table commits by itself.
    """
    total, names = 0, []
    for table in tables:
        with connection.cursor() as cursor:
            option = " (FREEZE)" if table.name in frozen else ""
            with cursor.copy(f"COPY {table.name} ({table.columns}) FROM STDIN{option}") as copy:
                copy.write(table.data)
        total += table.count
        names.append(table.name)
    for sequence, ascending, start, low, high, columns in connection.execute(_SEQUENCES, {"tables": names}).fetchall():
        last = f"select {'max' if ascending else 'min'}(key) as key from ({' union all '.join(columns)}) keys(key)"
        # A key before the sequence's range cannot collide with the first one of the range.
        reached = f"key >= {low}" if ascending else f"key <= {high}"
        within = f"least(key, {high})" if ascending else f"greatest(key, {low})"
        value = f"case when {reached} then {within} else {start} end, {reached} is true"
        connection.execute(f"select setval({literal(sequence)}, {value}) from ({last}) found")
    return total


def freezable_tables(connection: psycopg.Connection, schemas: Sequence[str]) -> list[str]:
    """Return the tables of `schemas` (quoted names) whose rows can be frozen while they are loaded.

    A frozen row is visible to every snapshot, even to one older than the table. Partitioned tables, and tables with
    triggers or row security, are left out.
    """
    names = connection.execute(_FREEZABLE, ([*map(quote, schemas)],)).fetchall()
    return [str(name) for (name,) in names]


def analyze(connection: psycopg.Connection, schema: str) -> None:
    """Gather planner statistics on every table of `schema`."""
    names = connection.execute(
        "select c.oid::regclass::text from pg_class c"
        " where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'p', 'm') and not c.relispartition",
        (quote(schema),),
    ).fetchall()
    if names:
        connection.execute(f"analyze {', '.join(str(name) for (name,) in names)}")


def insert_missing(connection: psycopg.Connection, dataset: Dataset) -> int:
    """Insert the rows that are missing and return their number.

    A row whose primary key or another unique value is taken is left as it is.
    """
    inserted = 0
    for table in dataset.tables:
        marks = ", ".join(["%s"] * len(table.columns))
        names = ", ".join(_escaped(quote(name)) for name in table.columns)
        statement = f"insert into {_escaped(quote(table.table))} ({names}) values ({marks}) on conflict do nothing"
        for row in table.rows:
            inserted += connection.execute(statement, row).rowcount
    return inserted


def with_referencing_tables(
    connection: psycopg.Connection, tables: Sequence[str], schema: str
) -> tuple[list[str], list[str]]:
    """Return the tables and those that refer to them: TRUNCATE takes them only together.

    Once as names in SQL form; once with the "only" that has TRUNCATE spare the tables that inherit from them.

    Raises:
        ChainFailed: A table of another schema refers to one of them, and would lose its rows too.
    """
    rows = connection.execute(_REFERRERS, {"tables": list(tables)}).fetchall()
    foreign = [str(name) for _, name, where in rows if where != schema]
    if foreign:
        raise ChainFailed(
            f"Cannot empty the seeded tables: {', '.join(foreign)} in another schema refers to them.",
            "Emptying them would leave that table without its rows.",
            "Drop that foreign key, or move the table into the application's schema.",
            UNCHANGED,
        )
    return [str(name) for _, name, _ in rows], [str(only) for only, _, _ in rows]


def own_views(connection: psycopg.Connection, schema: str) -> dict[str, str]:
    """Return the materialized views of `schema` that hold rows and are ours to refresh, each with its owner.

    Names are in SQL form. A view comes after those that it reads.
    """
    return dict(connection.execute(_VIEWS, {"schema": quote(schema)}).fetchall())


def refresh(connection: psycopg.Connection, views: Iterable[str]) -> None:
    """Compute the materialized views anew."""
    for view in views:
        connection.execute(f"refresh materialized view {view}")


def _escaped(name: str) -> str:
    """Return a name in SQL form for a statement with parameters, in which % begins a placeholder."""
    return name.replace("%", "%%")


def _encode(table: TableRows) -> EncodedTable:
    # By column, not by row: one scan for characters to escape serves a thousand values.
    columns = [_texts(column) for column in zip(*table.rows, strict=True)]
    lines = ["\t".join(values) for values in zip(*columns, strict=True)]
    data = "".join(f"{line}\n" for line in lines).encode()
    names = ", ".join(quote(name) for name in table.columns)
    return EncodedTable(quote(table.table), names, len(table.rows), data)


def _texts(values: Sequence[Value]) -> list[str]:
    texts = [
        value if type(value) is str else "\\N" if value is None else "t" if value is True else "f" if value is False
        else str(value)
        for value in values
    ]  # fmt: skip
    joined = "".join(value for value in values if type(value) is str)
    if any(character in joined for character in "\\\t\n\r"):
        return [
            text.translate(_ESCAPES) if type(value) is str else text for text, value in zip(texts, values, strict=True)
        ]
    return texts
