"""Write the content of a scratch database as a snapshot's files.

The objects move to schemas whose names are placeholders, so that every reference in pg_dump's text comes out under
them, while the bodies of functions keep theirs. Extensions, and what belongs to them, stay where they are.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dbtools.build.archive import read_structure
from dbtools.build.manifest import EnumType, Extension, SequencePosition, TableData
from dbtools.build.placeholders import enum_placeholder, placeholder
from dbtools.build.snapshot import PARTS
from dbtools.db.catalog import moves, schema_objects, summarize
from dbtools.db.lock_room import count_locks
from dbtools.db.settings import fix_text_settings
from dbtools.db.sql import quote, quote_ident, scalar
from dbtools.db.structure import fingerprint
from dbtools.errors import UNCHANGED, ChainFailed
from dbtools.words import number_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    import psycopg

    from dbtools.db.dsn import Dsn

_SCHEMAS = """
select n.nspname from pg_namespace n
where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'dbtools') and not exists (
    select from pg_depend e where (e.classid, e.objid, e.deptype) = ('pg_namespace'::regclass, n.oid, 'e'))
order by n.nspname <> %s, n.nspname
"""
_ENUMS = """
select t.typname, quote_ident(t.typname), array_agg(e.enumlabel::text order by e.enumsortorder),
       obj_description(t.oid, 'pg_type'), t.typacl::text
from pg_type t join pg_enum e on e.enumtypid = t.oid
where t.typnamespace = %s::regnamespace and t.typowner = quote_ident(current_user)::regrole
  and not exists (select from pg_depend d where (d.classid, d.objid, d.deptype) = ('pg_type'::regclass, t.oid, 'e'))
group by t.oid order by t.typname
"""
_EXTENSIONS = """
select e.extname, e.extversion, n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace
where e.extname <> 'plpgsql' order by 1
"""
_TABLES = """
select c.relname, c.relforcerowsecurity,
       coalesce((select array_agg(a.attname::text order by a.attnum) from pg_attribute a
                 where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''), '{}')
from pg_class c
where c.relnamespace = %s::regnamespace and c.relkind = 'r'
  and not exists (select from pg_depend d where (d.classid, d.objid, d.deptype) = ('pg_class'::regclass, c.oid, 'e'))
order by c.relname
"""
# The default privileges that the steps gave to this role's new objects, each as what takes it away again.
_DEFAULTS = """
select n.nspname, format('revoke %%s on %%s from %%s', a.privilege_type,
              case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'routines'
                   else 'types' end,
              case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end)
from pg_default_acl d cross join lateral aclexplode(d.defaclacl) a left join pg_namespace n on n.oid = d.defaclnamespace
where d.defaclrole = quote_ident(current_user)::regrole and d.defaclobjtype in ('r', 'S', 'f', 'T')
  and (n.nspname = any (%s) or n.oid is null and a.grantee <> d.defaclrole)
order by 1, 2
"""
_RELATIONS = "select relname from pg_class where relnamespace = %s::regnamespace and relkind = %s"
_VIEWS = f"{_RELATIONS} and relispopulated order by oid"


def write_content(
    connection: psycopg.Connection, database: Dsn, schema: str, folder: Path, wanted: Collection[str] | None = None
) -> dict[str, Any]:
    """Write the schemas of `database` into `folder`; return the fields of the manifest that describe them.

    `connection` is to that database, in autocommit, as the role that owns everything in it. `schema` comes first among
    the schemas. Those that are not `wanted` are left out; by default all are wanted.

    Raises:
        ChainFailed: There is something that a snapshot cannot hold; names it.
    """
    fix_text_settings(connection, local=False)
    large = scalar(connection, "select count(*) from pg_largeobject_metadata")
    if large:
        raise ChainFailed(
            f"The steps made {number_of(int(large), 'large object')}.",
            "Large objects belong to the database as a whole, and a snapshot does not hold them.",
            "Keep such data in a bytea column, or load it after a reset.",
            UNCHANGED,
        )
    if schema_objects(connection, "dbtools"):
        raise ChainFailed(
            "The steps made something in the schema dbtools.",
            "That is where an install leaves its mark, and a snapshot does not hold it.",
            "Give that schema another name.",
            UNCHANGED,
        )
    found = [name for (name,) in connection.execute(_SCHEMAS, (schema,)) if schema_objects(connection, name)]
    schemas = [name for name in found if wanted is None or name in wanted]
    structures = [fingerprint(connection, name) for name in schemas]
    version = str(scalar(connection, "show server_version")).split()[0]
    with _moved(connection, schemas) as (enums, fixed):
        names = schemas if fixed else [placeholder(number) for number in range(len(schemas))]
        left_out = [name for name in found if name not in schemas]
        archive = read_structure(database, int(version.partition(".")[0]), folder, schemas, left_out)
        owners = "".join(_owners(connection, names))
        role = quote_ident(connection, str(scalar(connection, "select current_user")))
        keys = archive.keys.replace(f"ALTER DEFAULT PRIVILEGES FOR ROLE {role} ", "ALTER DEFAULT PRIVILEGES ") + owners
        parts = dict(zip(PARTS, (archive.before, archive.after, keys), strict=True))
        for name, text in parts.items():
            (folder / name).write_text(text, "utf-8")
        tables: list[TableData] = []
        for number, name in enumerate(names):
            for row in connection.execute(_TABLES, (quote(name),)).fetchall():
                file = folder / f"{len(tables):03}{re.sub(r'[^a-z0-9_]', '-', f'-{row[0]}'.lower())[:60]}.copy"
                tables.append(_write_rows(connection, number, name, row, file))
        return {
            "server": version,
            "schemas": tuple(schemas),
            "structures": tuple(structures),
            "grants": archive.schemas,
            "fixed": fixed,
            "triggers": archive.triggers,
            "defaults": tuple(
                (schemas.index(name) if name else None, revoke)
                for name, revoke in connection.execute(_DEFAULTS, (schemas,)).fetchall()
            ),
            "extensions": tuple(Extension(*row) for row in connection.execute(_EXTENSIONS)),
            "enums": tuple(enums),
            "tables": tuple(tables),
            "sequences": tuple(_sequences(connection, names)),
            "views": tuple(
                (number, name)
                for number, place in enumerate(names)
                for (name,) in connection.execute(_VIEWS, (quote(place), "m"))
            ),
            "parts": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in parts.items()},
            "locks": count_locks(connection, names).made,
        }


@contextmanager
def _moved(connection: psycopg.Connection, schemas: Sequence[str]) -> Iterator[tuple[list[EnumType], str]]:
    """Have the content of `schemas` under placeholders in the block; yields the enums, which have schemas of their own.

    Also yields why it could not be moved, "" where it was. Afterwards everything is back: the next steps may follow.
    """
    import psycopg

    enums: list[EnumType] = []
    found = [item for name in schemas for item in schema_objects(connection, name)]
    fixed = summarize([item.name for item in found if not item.owned])
    try:
        if not fixed:
            with connection.transaction():
                for number, schema in enumerate(schemas):
                    enums += _move_away(connection, number, schema)
    except psycopg.OperationalError:  # the server is out of something, or gone: it says nothing of the content
        raise
    except psycopg.Error as error:  # a kind of object that no schema can be set of
        enums, fixed = [], error.diag.message_primary or str(error)
    yield enums, fixed
    if not fixed:
        with connection.transaction():
            for number, schema in enumerate(schemas):
                _move(connection, enum_placeholder(number), schema)
                _move(connection, placeholder(number), schema)
                connection.execute(f"drop schema {placeholder(number)}; drop schema {enum_placeholder(number)}")


def _move_away(connection: psycopg.Connection, number: int, schema: str) -> Iterator[EnumType]:
    connection.execute(f"create schema {placeholder(number)}; create schema {enum_placeholder(number)}")
    for name, sql_name, labels, comment, acl in connection.execute(_ENUMS, (quote(schema),)).fetchall():
        connection.execute(f"alter type {quote(schema)}.{quote(name)} set schema {enum_placeholder(number)}")
        yield EnumType(number, sql_name, tuple(labels), comment, acl)
    _move(connection, schema, placeholder(number))


def _move(connection: psycopg.Connection, source: str, target: str) -> None:
    if statements := [*moves((schema_objects(connection, source), target))]:
        connection.execute("; ".join(statements))


def _owners(connection: psycopg.Connection, schemas: Sequence[str]) -> Iterator[str]:
    """Return statements that give what the steps gave to another role; the archive has no owners."""
    role = str(scalar(connection, "select current_user"))
    for schema in schemas:
        for item in schema_objects(connection, schema):
            if item.owner != role and not item.is_dependent:
                yield f"\nalter {item.kind} {item.name} owner to {quote(item.owner)};"


def _write_rows(connection: psycopg.Connection, number: int, schema: str, row: Any, file: Path) -> TableData:
    """Write the rows of one table; none is left out because of a policy."""
    name, forced, columns = row
    table = f"{quote(schema)}.{quote(name)}"
    if forced:
        connection.execute(f"alter table {table} no force row level security")
    sha256 = hashlib.sha256()
    wanted = f" ({', '.join(map(quote, columns))})" if columns else ""
    with connection.cursor() as cursor, file.open("wb") as output:
        with cursor.copy(f"copy {table}{wanted} to stdout") as copy:
            for block in copy:
                sha256.update(block)
                output.write(block)
        count = cursor.rowcount
    if forced:
        connection.execute(f"alter table {table} force row level security")
    return TableData(number, name, tuple(columns), count, file.name, sha256.hexdigest())


def _sequences(connection: psycopg.Connection, schemas: Sequence[str]) -> Iterator[SequencePosition]:
    for number, schema in enumerate(schemas):
        for (name,) in connection.execute(_RELATIONS, (quote(schema), "S")).fetchall():
            value, called = connection.execute(
                f"select last_value, is_called from {quote(schema)}.{quote(name)}"
            ).fetchone() or (1, False)
            yield SequencePosition(number, name, value, called)
