"""Drop everything the application owns in its schema, and nothing else.

The schema itself stays, and with it its owner, grants, default privileges and comment. Extensions and what belongs to
them stay. Objects of another role, and objects of other schemas that depend on ours, are found before anything is
dropped, and refused by name.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from dbtools.db.catalog import Item, items, outsiders, some
from dbtools.errors import ChainFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

BATCH = 100
_ONE_BY_ONE = ("operator class", "operator family", "conversion", "text search")
"""Kinds of which DROP takes one name, not a list."""


def find_owned(connection: psycopg.Connection, schema: str) -> list[Item]:
    """Return all that lives in `schema`, if all of it may go.

    Raises:
        ChainFailed: Something belongs to another role, or something outside the schema depends on it. Nothing was
            changed.
    """
    found = items(connection, schema)
    others = [f"{one.kind} {one.name} (owner {one.owner})" for one in found if not (one.ours or one.part)]
    if others:
        raise ChainFailed(
            f"Cannot drop everything in schema {schema}: {some(others)} belongs to another role.",
            "Nothing was changed.",
            "Connect as the owner, or give it to this role: reassign owned by OWNER to THIS_ROLE;",
        )
    dependents = outsiders(connection, schema)
    if dependents:
        raise ChainFailed(
            f"Cannot drop everything in schema {schema}: {some(dependents)} in another schema depends on it.",
            "Dropping it too would go beyond the application's own schema. Nothing was changed.",
            "Drop that object first, or move it into the application's schema.",
        )
    return found


def drop_all(connection: psycopg.Connection, schema: str, *, batch: int | None = None) -> int:
    """Drop everything `find_owned` returns and return how many objects that were.

    Without `batch`, each kind goes in one statement; with it, so many objects a statement: under autocommit a schema
    of thousands of tables then needs few lock slots at a time.

    Raises:
        ChainFailed: As `find_owned`.
    """
    owned = find_owned(connection, schema)
    for statement in statements(owned, batch):
        connection.execute(statement)
    return sum(not one.part for one in owned)


def statements(owned: Sequence[Item], batch: int | None = None) -> Iterator[str]:
    """Return the statements that drop what `items` has listed, `batch` objects each."""
    wanted = [one for one in owned if not one.part]
    for kind, group in groupby(wanted, lambda one: one.kind):
        names = [one.name for one in group]
        size = 1 if kind.startswith(_ONE_BY_ONE) else batch or len(names)
        for start in range(0, len(names), size):
            # CASCADE stays within the schema: find_owned has refused everything outside. IF EXISTS because an earlier
            # CASCADE may have taken it along.
            yield f"drop {kind} if exists {', '.join(names[start : start + size])} cascade"
