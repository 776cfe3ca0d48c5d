"""Names in the middle of other values: "order 17 was placed", {"order_id": 17}; or 17 without a foreign key.

A column may mention a domain if each of its values that the start state does not have holds a name of it. That can be
by chance: a counter has small numbers, as keys have. So `Comparison` takes mentions for references only where the
serial orders speak for it.
"""

from __future__ import annotations

import re
from itertools import islice, product
from typing import TYPE_CHECKING, TypeAlias

from dbtools.races.canonical import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dbtools.races.content import Content
    from dbtools.races.domains import Domains

MAX_READINGS = 16
"""How many ways of reading the mentions are tried."""
Reading: TypeAlias = tuple[tuple[Place, Place], ...]
"""Columns, each with the domain that it mentions."""
_NAME = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<!\d)\d+(?!\d)", re.IGNORECASE)


class Mentions:
    """The domains that columns may mention, by what was seen in all contents so far."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        self._found: dict[Place, set[Place]] = {}

    def learn(self, content: Content) -> None:
        """Note which domains the columns of a content may mention; those that it does not mention are out."""
        names = new_names(self._domains, content)
        for table in content.tables.values():
            for position, column in enumerate(table.columns):
                place = Place(table.name, column.name)
                values = {row[position] for row in table.rows or ()} - {None}
                new = [value for value in values if value and not self._domains.in_start(place, value)]
                if self._domains.of(place) or column.derived or not new:
                    continue
                fits = {root for root, known in names.items() if all(known & {*_NAME.findall(value)} for value in new)}
                self._found[place] = self._found.get(place, fits) & fits

    def readings(self) -> Iterator[Reading]:
        """Yield the ways to read all mentions."""
        places = [(place, sorted(roots)) for place, roots in sorted(self._found.items()) if roots]
        if places:
            for roots in islice(product(*(roots for _, roots in places)), MAX_READINGS):
                yield tuple((place, root) for (place, _), root in zip(places, roots, strict=True))


def new_names(domains: Domains, content: Content) -> Mapping[Place, set[str]]:
    """Return the names of each domain that a content has and the start state has not."""
    found: dict[Place, set[str]] = {}
    for table in content.tables.values():
        roots = [(domains.of(Place(table.name, column.name)), column) for column in table.columns]
        for row in table.rows or ():
            for (root, column), value in zip(roots, row, strict=True):
                if root and value is not None and not domains.in_start(Place(table.name, column.name), value):
                    found.setdefault(root, set()).add(value)
    return found


def without_names(value: str, names: set[str]) -> tuple[str, Sequence[str]]:
    """Return a value with "#" in the place of the names in it, and those names in their order."""
    found = [match for match in _NAME.findall(value) if match in names]
    return _NAME.sub(lambda match: "#" if match[0] in names else match[0], value), found
