"""Put a snapshot's content into schemas of a database, part by part, in the caller's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.build.placeholders import enum_placeholder, translator
from dbtools.build.snapshot import CHUNK_BYTES
from dbtools.db.sql import literal, quote, quote_ident, search_path
from dbtools.errors import ChainFailed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import psycopg

    from dbtools.build.manifest import EnumType, Manifest, TableData
    from dbtools.build.snapshot import Snapshot

# The enums of a schema, as `EnumType` has them, that this role may use in the place of its own.
_ENUMS = """
select quote_ident(t.typname), array_agg(e.enumlabel::text order by e.enumsortorder),
       obj_description(t.oid, 'pg_type'), t.typacl::text
from pg_type t join pg_enum e on e.enumtypid = t.oid
where t.typnamespace = %s::regnamespace and t.typowner = quote_ident(current_user)::regrole group by t.oid
"""

_EXTENSIONS = "select e.extname, n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace"


class Replay:
    """A snapshot on its way into the schemas `names`, one for each of the snapshot's, in the same order.

    Call `create`, `load`, `finish`, `constrain` and `refresh` in this order. All of it happens on `work`; nothing is
    committed here. With `frozen`, rows are visible at once to every snapshot, which takes tables that the open
    transaction has made.
    """

    def __init__(
        self, work: psycopg.Connection, snapshot: Snapshot, names: Sequence[str], *, frozen: bool = True
    ) -> None:
        self._work = work
        self._snapshot = snapshot
        self._names = [*names]
        self._frozen = frozen
        self._taken: dict[tuple[int, str], str] = {}
        self._translate = translator(tuple(map(quote, names)), self._taken)

    @property
    def taken(self) -> Collection[str]:
        """The enums that serve from another schema, in SQL form."""
        return self._taken.values()

    def take_enums(self, number: int, live: str) -> None:
        """Use the enums of schema `live` that equal those of the snapshot's schema `number`, instead of new ones.

        A new enum of the same name and labels is still another type: a prepared statement that returns it would fail
        ("cached plan must not change result type"), and a driver that has cached its OID would no longer know it.
        """
        there = {name: rest for name, *rest in self._work.execute(_ENUMS, (quote(live),))}
        place = quote_ident(self._work, live)
        for enum in self._snapshot.manifest.enums:
            if enum.schema == number and there.get(enum.name) == [[*enum.labels], enum.comment, enum.acl]:
                self._taken[number, enum.name] = f"{place}.{enum.name}"

    def create(self) -> None:
        """Create types, functions, tables and views."""
        if not self._work.autocommit:
            self._work.execute("set local check_function_bodies = off")
        # An earlier install left them; the steps gave them to what they made afterwards only.
        for number, revoke in self._snapshot.manifest.defaults:
            where = "" if number is None else f" in schema {quote(self._names[number])}"
            self._run(f"alter default privileges{where} {revoke}")
        new = [enum for enum in self._snapshot.manifest.enums if (enum.schema, enum.name) not in self._taken]
        self._run("; ".join(self._create_enum(enum) for enum in new))
        self._run(self._snapshot.sql("before.sql", self._translate))

    def load(self) -> int:
        """Copy the rows in and set the sequences; return the number of rows.

        Raises:
            ChainFailed: The server took another number of rows than the snapshot holds.
        """
        count = 0
        for table in self._snapshot.manifest.tables:
            taken = self._copy(table) if table.rows else 0
            if taken != table.rows:
                raise ChainFailed(
                    f"Table {table.name} took {taken} of the snapshot's {table.rows} rows.", "", "Please report it."
                )
            count += taken
        positions = [
            f"select setval({literal(self._sql_name(place.schema, place.name))}, {place.value}, {place.called})"
            for place in self._snapshot.manifest.sequences
        ]
        self._run("; ".join(positions))
        return count

    def finish(self) -> None:
        """Create what is made quickest once the rows are there: keys, indexes, triggers."""
        self._run(self._snapshot.sql("after.sql", self._translate))

    def constrain(self) -> None:
        """Create the foreign keys and policies."""
        # A table with a deferred check still to be done cannot be altered.
        self._run("set constraints all immediate; " + self._snapshot.sql("keys.sql", self._translate))

    def refresh(self) -> None:
        """Compute the materialized views that held rows."""
        views = self._snapshot.manifest.views
        self._run("; ".join(f"refresh materialized view {self._sql_name(number, name)}" for number, name in views))

    def _run(self, sql: str) -> None:
        if sql.strip():
            self._work.execute(sql)

    def _sql_name(self, number: int, name: str) -> str:
        return f"{quote(self._names[number])}.{quote(name)}"

    def _create_enum(self, enum: EnumType) -> str:
        labels = ", ".join(literal(label) for label in enum.labels)
        return self._translate(f"create type {enum_placeholder(enum.schema)}.{enum.name} as enum ({labels})")

    def _copy(self, table: TableData) -> int:
        columns = f" ({', '.join(map(quote, table.columns))})" if table.columns else ""
        option = " (FREEZE)" if self._frozen else ""
        statement = f"COPY {self._sql_name(table.schema, table.name)}{columns} FROM STDIN{option}"
        with (
            self._work.cursor() as cursor,
            self._snapshot.open(table.file) as file,
        ):
            with cursor.copy(statement) as copy:
                while block := file.read(CHUNK_BYTES):
                    copy.write(block)
            return cursor.rowcount


def restore(work: psycopg.Connection, snapshot: Snapshot) -> None:
    """Put a snapshot into an empty database under its own names. `work` is in autocommit."""
    manifest = snapshot.manifest
    with work.transaction():
        create_surroundings(work, manifest, manifest.schemas)
        work.execute(f"set local search_path to {search_path(manifest.schemas)}")
        replay = Replay(work, snapshot, manifest.schemas)
        replay.create()
        replay.load()
        replay.finish()
        replay.constrain()
        replay.refresh()


def create_surroundings(work: psycopg.Connection, manifest: Manifest, schemas: Sequence[str]) -> None:
    """Create the schemas and extensions that a snapshot needs, where they are missing.

    Raises:
        ChainFailed: An extension is not available, or is in another schema than the content expects.
    """
    import psycopg

    for schema in schemas:
        if _create_schema(work, schema) and (grants := manifest.grants.get(schema)):
            work.execute(grants)
    there: dict[str, str] = dict(work.execute(_EXTENSIONS).fetchall())
    for extension in manifest.extensions:
        place = there.get(extension.name)
        if place is None:
            try:
                _create_schema(work, extension.schema)
                work.execute(f"create extension {quote(extension.name)} with schema {quote(extension.schema)}")
            except psycopg.Error as error:
                raise ChainFailed(
                    f"The extension {extension.name} could not be created here.",
                    f"{' '.join(str(error).split()).rstrip('.')}.",
                    f"As a superuser of this database: create extension {quote(extension.name)};",
                ) from error
        elif place != extension.schema:
            raise ChainFailed(
                f"The extension {extension.name} is in schema {place}, but the steps made it in {extension.schema}.",
                "The content refers to it there.",
                f"Have the steps create it in {place}, or: alter extension {quote(extension.name)} set schema"
                f" {quote(extension.schema)};",
            )


def _create_schema(work: psycopg.Connection, name: str) -> bool:
    """Create a schema where it is missing; return whether it was."""
    # IF NOT EXISTS asks for the right to create one also where there is one.
    if work.execute("select from pg_namespace where nspname = %s", (name,)).fetchone() is None:
        work.execute(f"create schema {quote(name)}")
        return True
    return False
