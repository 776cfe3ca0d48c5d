"""The mark of an install: which snapshot a schema holds, since when and by whom.

It is a row in a table of its own schema, `dbtools`, so that no tool that compares the application's schema with its
models sees it. It is written in the transaction of the install.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.db.sql import scalar

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from dbtools.build.manifest import Manifest

MARK_KEY = 0x4D41524B << 32  # "MARK"; two installs must not make the table simultaneously
_MAKE = f"""
select pg_advisory_xact_lock({MARK_KEY});
create schema if not exists dbtools;
create table if not exists dbtools.installed (
    schema name primary key, project text not null, key text not null, installed_at timestamptz not null,
    installed_by text not null);
comment on table dbtools.installed is 'dbtools: the snapshot that each schema holds since the last reset'
"""
_MAY_MAKE = "select has_database_privilege(current_database(), 'CREATE') and to_regnamespace('dbtools') is null"
# Not by to_regclass: it fails for a role that may not use the schema.
_MAY = """
select exists (
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where (n.nspname, c.relname) = ('dbtools', 'installed') and has_schema_privilege(n.oid, 'USAGE')
      and (select bool_and(has_table_privilege(c.oid, wanted)) from unnest(%s::text[]) wanted))
"""
_READING, _WRITING = ["select"], ["select", "insert", "update"]
_SCHEMAS = """
select i.schema from dbtools.installed i join pg_namespace n on n.nspname = i.schema where i.project = %s
order by i.schema collate "C"
"""
_WRITE = """
insert into dbtools.installed values (%s, %s, %s, now(), session_user)
on conflict (schema) do update set project = excluded.project, key = excluded.key,
    installed_at = excluded.installed_at, installed_by = excluded.installed_by
"""


@dataclass(frozen=True)
class Mark:
    """What the last install into a schema left."""

    project: str
    key: str
    installed_at: str
    installed_by: str

    def __str__(self) -> str:
        return f"snapshot {self.key[:16]} of {self.project}, installed {self.installed_at} by {self.installed_by}"


def write_mark(work: psycopg.Connection, schemas: Sequence[str], manifest: Manifest) -> None:
    """Mark the schemas in the open transaction; a role that may not write the table leaves no mark."""
    if scalar(work, _MAY_MAKE):
        work.execute(_MAKE)
    if scalar(work, _MAY, (_WRITING,)):
        for schema in schemas:
            work.execute(_WRITE, (schema, manifest.project, manifest.key))


def read_mark(connection: psycopg.Connection, schema: str) -> Mark | None:
    """Return the mark of a schema, None where there is none that this role can read."""
    if not scalar(connection, _MAY, (_READING,)):
        return None
    row = connection.execute(
        "select project, key, to_char(installed_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"'), installed_by"
        " from dbtools.installed where schema = %s",
        (schema,),
    ).fetchone()
    return Mark(*map(str, row)) if row else None


def marked_schemas(connection: psycopg.Connection, project: str) -> list[str]:
    """Return the schemas that resets of the project filled, as far as this role can read the marks."""
    if not scalar(connection, _MAY, (_READING,)):
        return []
    return [str(schema) for (schema,) in connection.execute(_SCHEMAS, (project,))]
