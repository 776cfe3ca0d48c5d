"""Drop everything the application owns in its schema, and nothing else.

The schema itself stays, and with it its owner, grants, default privileges and comment. Extensions and what belongs to
them stay. Objects of another role, and objects of other schemas that depend on ours, are found before anything is
dropped, and refused by name.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from dbtools.db.catalog import SchemaObject, external_dependents, schema_objects, summarize
from dbtools.db.sql import quote, scalar
from dbtools.errors import UNCHANGED, ChainFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

BATCH = 100
"""Objects dropped by one statement, where statements commit one by one."""
_ONE_BY_ONE = ("operator class", "operator family", "conversion", "text search")
"""Kinds of which DROP takes one name, not a list."""


def find_owned(connection: psycopg.Connection, schemas: Sequence[str]) -> list[SchemaObject]:
    """Return everything in `schemas`, if this role may drop all of it.

    Raises:
        ChainFailed: Something belongs to another role, or something outside of them depends on it. Nothing was
            changed.
    """
    found = check_owners(connection, schemas)
    check_dependents(connection, schemas)
    return found


def check_owners(connection: psycopg.Connection, schemas: Sequence[str]) -> list[SchemaObject]:
    """Return everything in `schemas`, if none of it belongs to another role.

    Raises:
        ChainFailed: Names what does.
    """
    found = [item for schema in schemas for item in schema_objects(connection, schema)]
    foreign = [item for item in found if not (item.owned or item.is_dependent)]
    others = [f"{item.kind} {item.name} (owner {item.owner})" for item in foreign]
    if others:
        raise ChainFailed(
            f"Cannot drop everything in {_shown(schemas)}: {summarize(others)} belongs to another role.",
            "",
            f"Connect as the owner, or have it given to this role: {_give(connection, foreign[0])};",
            UNCHANGED,
        )
    return found


def check_dependents(connection: psycopg.Connection, schemas: Sequence[str]) -> None:
    """Refuse schemas on which something outside of them depends.

    Raises:
        ChainFailed: Names it.
    """
    dependents = external_dependents(connection, schemas)
    if dependents:
        raise ChainFailed(
            f"Cannot drop everything in {_shown(schemas)}: {summarize(dependents)} in another schema depends on it.",
            "Dropping it too would go beyond the application's own schema.",
            "Drop that object first, or move it into the application's schema.",
            UNCHANGED,
        )


def _shown(schemas: Sequence[str]) -> str:
    return f"schema{'s' * (len(schemas) > 1)} {', '.join(schemas)}"


def _give(connection: psycopg.Connection, item: SchemaObject) -> str:
    return f"alter {item.kind} {item.name} owner to {quote(str(scalar(connection, 'select current_user')))}"


def drop_all(connection: psycopg.Connection, schemas: Sequence[str], *, batch: int | None = None) -> int:
    """Drop everything `find_owned` returns and return how many objects that were.

    Without `batch`, each kind goes in one statement; with it, at most that many objects in each: under autocommit a
    schema of thousands of tables then needs few lock slots at a time.

    Raises:
        ChainFailed: As `find_owned`.
    """
    owned = find_owned(connection, schemas)
    for statement in drop_statements(owned, batch):
        connection.execute(statement)
    return sum(not item.is_dependent for item in owned)


def drop_statements(owned: Sequence[SchemaObject], batch: int | None = None) -> Iterator[str]:
    """Return the statements that drop these objects, `batch` in each."""
    wanted = [item for item in owned if not item.is_dependent]
    for kind, group in groupby(wanted, lambda item: item.kind):
        names = [item.name for item in group]
        size = 1 if kind.startswith(_ONE_BY_ONE) else batch or len(names)
        for start in range(0, len(names), size):
            # CASCADE stays within the schema: find_owned has refused everything outside. IF EXISTS because an earlier
            # CASCADE may have taken it along.
            yield f"drop {kind} if exists {', '.join(names[start : start + size])} cascade"
