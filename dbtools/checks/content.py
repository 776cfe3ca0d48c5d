"""What schemas hold, object by object, and how that differs from what they should hold."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbtools.db.connect import open_session
from dbtools.db.digest import Digest, TableDigest, digest
from dbtools.db.sql import quote, scalar
from dbtools.db.structure import structure
from dbtools.words import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dbtools.db.dsn import Dsn

_QUOTED = re.compile(r'"([^"]+)"?')
MAX_SHOWN = 6
"""How many differences are listed; the rest is counted."""


@dataclass(frozen=True)
class Content:
    """The tables and the structure of several schemas. Positions of sequences are left out: a failed insert moves one.

    Names are as people write them: "items", or "shop.items" where there are several schemas.
    """

    tables: Mapping[str, TableDigest]
    objects: Mapping[tuple[str, str], str]
    """The definition of each object, by its kind and name."""

    @property
    def sha256(self) -> str:
        """The sum that `invoke digest` prints for the content."""
        return Digest(tuple(self.tables.values()), "").sha256


@dataclass(frozen=True)
class Unsteady:
    """What is not compared, because it differs anyway."""

    rows: frozenset[str] = frozenset()
    """Tables of which not even the number of rows is steady."""
    values: frozenset[str] = frozenset()
    """Tables of which only the number of rows is compared."""
    objects: frozenset[tuple[str, str]] = field(default=frozenset())

    @classmethod
    def between(cls, first: Content, *others: Content) -> Unsteady:
        """Return what differs from `first` in any of the others."""
        rows: set[str] = set()
        values: set[str] = set()
        objects: set[tuple[str, str]] = set()
        for other in others:
            for name, table in first.tables.items():
                there = other.tables.get(name)
                rows |= {name} if there is None or there.rows != table.rows else set()
                values |= {name} if there is None or there.md5 != table.md5 else set()
            rows |= other.tables.keys() - first.tables.keys()
            keys = first.objects.keys() | other.objects.keys()
            objects |= {key for key in keys if first.objects.get(key) != other.objects.get(key)}
        return cls(frozenset(rows), frozenset(values), frozenset(objects))

    def __or__(self, other: Unsteady) -> Unsteady:
        return Unsteady(self.rows | other.rows, self.values | other.values, self.objects | other.objects)


def read_content(dsn: Dsn, schemas: Sequence[str]) -> Content:
    """Return what the schemas of a database hold; one that is missing has nothing in it.

    Raises:
        DatabaseUnreachable, LockTimeout, VerificationFailed: As `digest`.
    """
    tables: dict[str, TableDigest] = {}
    objects: dict[tuple[str, str], str] = {}
    with open_session(dsn, "verify-concurrency") as session:
        for schema in schemas:
            prefix = f"{schema}." if len(schemas) > 1 else ""
            if not scalar(session, "select to_regnamespace(%s) is not null", (quote(schema),)):
                continue
            objects["schema", schema] = ""
            for table in digest(session, schema).tables:
                name = prefix + table.name
                tables[name] = TableDigest(name, table.rows, table.md5)
            with session.transaction(force_rollback=True):
                session.execute(f"set local search_path to pg_catalog, {quote(schema)}")
                for kind, name, definition in structure(session, schema, positions=False):
                    key = (kind, prefix + _plain(kind, name))
                    objects[key] = objects.get(key, "") + definition  # domains and tables may share a constraint's name
    return Content(tables, objects)


def _plain(kind: str, name: str) -> str:
    """Return the name of an object for people: a constraint's is a JSON list of table, type and name, cut off."""
    return ".".join(_QUOTED.findall(name)) if kind == "constraint" else name


def differences(found: Content, expected: Content, unsteady: Unsteady) -> list[str]:
    """Return in words how `found` differs: "items: 8 rows instead of 4", "no table orders"; [] where it does not."""
    listed = [*_of_structure(found, expected, unsteady), *_of_tables(found, expected, unsteady)]
    more = len(listed) - MAX_SHOWN
    return [*listed[:MAX_SHOWN], f"and {more} more"] if more > 0 else listed


def _of_structure(found: Content, expected: Content, unsteady: Unsteady) -> Iterator[str]:
    keys = (found.objects.keys() | expected.objects.keys()) - unsteady.objects
    different = sorted(key for key in keys if found.objects.get(key) != expected.objects.get(key))
    # With a table, its columns, keys and indexes go or come: the table says it all.
    whole = [key for key in different if key[0] in ("schema", "relation") and _is_one_sided(key, found, expected)]
    for kind, name in whole or different:
        what = "table" if name in (found.tables.keys() | expected.tables.keys()) else kind
        if (kind, name) not in found.objects:
            yield f"no {what} {name}"
        elif (kind, name) not in expected.objects:
            yield f"{what} {name}, which should not be there"
        else:
            yield f"another {what} {name}"


def _is_one_sided(key: tuple[str, str], found: Content, expected: Content) -> bool:
    return (key in found.objects) != (key in expected.objects)


def _of_tables(found: Content, expected: Content, unsteady: Unsteady) -> Iterator[str]:
    for name, wanted in expected.tables.items():
        table = found.tables.get(name)
        if table is None:
            continue  # its absence is a difference of the structure
        if table.rows != wanted.rows:
            if name not in unsteady.rows:
                yield f"{name}: {number_of(table.rows, 'row')} instead of {wanted.rows}"
        elif table.md5 != wanted.md5 and name not in unsteady.values | unsteady.rows:
            yield f"{name}: other values"
