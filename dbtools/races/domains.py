"""Which columns hold the same names: a key that the server hands out, and all columns that refer to it.

Foreign keys say so. Where a program declares none, a column `order_id` refers to the key of `orders` if all its values
are keys of it. So does a column of any name, if they are so long that it cannot be by chance.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbtools.races.canonical import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dbtools.races.content import Content, Table

MIN_UNIQUE_CHARACTERS = 16
"""From this length on, equal values are the same name."""
_REFERENCE = re.compile(r"(.+?)_?(id|uuid|key)", re.IGNORECASE)


class Domains:
    """Sets of columns, each with the values that the start state has in one of them."""

    def __init__(self, start: Content) -> None:
        self._start = start
        self._parents: dict[Place, Place] = {}
        self._open: set[Place] = set()
        """Columns that hold names."""
        self._values: dict[Place, frozenset[str]] = {}
        """The start state's values of a column."""
        for table in start.tables.values():
            for position, column in enumerate(table.columns):
                values = (row[position] for row in table.rows or ())
                self._values[Place(table.name, column.name)] = frozenset(value for value in values if value is not None)
        self._unread = {table.name for table in start.tables.values() if table.rows is None}
        self._members: dict[Place, list[Place]] = {}
        self.add(start)

    def add(self, *contents: Content) -> None:
        """Learn of the tables of these contents."""
        for table in (table for content in contents for table in content.tables.values()):
            for column in table.columns:
                place = Place(table.name, column.name)
                if column.surrogate:
                    self._open.add(place)
                if column.refers:
                    self._join(place, Place(*column.refers))
        for content in contents:
            for place, target in _undeclared(content):
                if all(_within(other, place, target) for other in (self._start, *contents)):
                    self._join(place, target)
        self._gather()

    def open(self, place: Place) -> None:
        """Take a column's values for names from now on, and those of the columns that go with it."""
        self._open.add(place)
        self._gather()

    def of(self, place: Place) -> Place | None:
        """Return what stands for the domain of a column, if it holds names, else None."""
        root = self._root(place)
        return root if root in self._members else None

    def refers(self, place: Place) -> bool:
        """Return whether a column refers to another one, or is referred to."""
        return place in self._parents

    def in_start(self, place: Place, value: str) -> bool:
        """Return whether the start state has a value: in this column, or where it holds names, in one of its domain."""
        places = self._members.get(self._root(place), [place])
        return any(value in self._values.get(member, ()) for member in places)

    def _gather(self) -> None:
        every: dict[Place, list[Place]] = {}
        for place in {*self._parents, *self._open, *self._values}:
            every.setdefault(self._root(place), []).append(place)
        self._members = {
            root: places
            for root, places in every.items()
            if self._open.intersection(places) and self._unread.isdisjoint(place.table for place in places)
        }

    def _join(self, one: Place, other: Place) -> None:
        first, second = sorted((self._root(one), self._root(other)))
        self._parents.setdefault(first, first)
        self._parents[second] = first

    def _root(self, place: Place) -> Place:
        while (parent := self._parents.get(place, place)) != place:
            place = parent
        return place


def _undeclared(content: Content) -> Iterator[tuple[Place, Place]]:
    """Yield columns that are called as if they referred to a key, or whose values are long, with that key."""
    every = [(table.name, column) for table in content.tables.values() for column in table.columns]
    keys = [(name, column.name) for name, column in every if column.key]
    for table in content.tables.values():
        for column in table.columns:
            named = _REFERENCE.fullmatch(column.name)
            if column.refers or column.surrogate or column.derived:
                continue
            long = min(map(len, _values(table, column.name) or ()), default=0) >= MIN_UNIQUE_CHARACTERS
            for target, key in keys:
                stems = _singular(target.rpartition(".")[2])
                called = named and (named[1].lower().endswith(stems) or (column.name == key and key.lower() != "id"))
                if (target, key) != (table.name, column.name) and (called or long):
                    yield Place(table.name, column.name), Place(target, key)


def _singular(name: str) -> tuple[str, ...]:
    name = name.lower()
    return tuple({name, name.removesuffix("s"), name.removesuffix("es"), re.sub("ies$", "y", name)} - {""})


def _within(content: Content, place: Place, target: Place) -> bool:
    """Return whether all values of a column are keys of the other one, as far as their rows are known."""
    values, keys = (_values(content.tables.get(table), column) for table, column in (place, target))
    return values is None or keys is None or values <= keys


def _values(table: Table | None, column: str) -> set[str] | None:
    names: Sequence[str] = [column.name for column in table.columns] if table else ()
    if table is None or table.rows is None or column not in names:
        return None
    position = names.index(column)
    return {value for row in table.rows if (value := row[position]) is not None}
