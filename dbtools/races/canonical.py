"""Contents in a form in which they can be compared, whatever the server has called their rows.

A value that the server hands out (of a sequence, a UUID) is only a name: two contents are equal if one becomes the
other by renaming. A name that the start state has is a value like any. So the rows and the new names are a graph, and
its nodes are coloured: a row by its values and the colours of its names, a name by the colours of the rows that have
it, again and again until no more colours appear. Equal graphs get equal colours. Where a part of the graph is a tree or
has no two nodes of one colour, the converse holds as well; elsewhere the form says so (`Form.ambiguous`).

This is colour refinement: Weisfeiler and Leman, "The reduction of a graph to canonical form", 1968.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from dbtools.races.content import Row, Value

Name = tuple[str, str]
"""A new name: its domain, and the value."""


class Place(NamedTuple):
    """A column of a table."""

    table: str
    column: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"


@dataclass(frozen=True)
class Node:
    """A row of a table: what it says by itself, and the new names in it, by their columns."""

    table: str
    row: Row
    cells: tuple[Value, ...]
    names: tuple[tuple[str, Name], ...]


@dataclass
class Form:
    """The coloured rows of a content."""

    nodes: Sequence[Node]
    rounds: list[list[int]] = field(default_factory=list)
    """The colours of the rows, after each round; the first knows no names."""
    ambiguous: frozenset[str] = frozenset()
    """Tables of which equal colours do not prove that rows fit together in the same way."""

    def colors(self, number: int) -> Counter[int]:
        """Return how many rows have each colour after a round; of a round that there was not, after the last."""
        return Counter(self.rounds[min(number, len(self.rounds) - 1)])

    @property
    def certificate(self) -> tuple[int, Counter[int]]:
        """Equal for equal contents."""
        return len(self.rounds), self.colors(len(self.rounds))


class Colors:
    """Gives equal things equal colours, in all forms that are to be compared."""

    def __init__(self) -> None:
        self._known: dict[Hashable, int] = {}

    def of(self, thing: Hashable) -> int:
        """Return the colour of a thing."""
        return self._known.setdefault(thing, len(self._known))

    def form(self, nodes: Sequence[Node]) -> Form:
        """Return the form of a content."""
        plain = [self.of((node.table, node.cells, tuple(label for label, _ in node.names))) for node in nodes]
        form = Form(nodes, [plain])
        holders: dict[Name, list[tuple[str, int]]] = defaultdict(list)
        for number, node in enumerate(nodes):
            for label, name in node.names:
                holders[name].append((f"{node.table}.{label}", number))
        names = {name: self.of(("new", name[0])) for name in holders}
        while names:
            before, rows = len(set(names.values())), form.rounds[-1]
            names = {
                name: self.of((names[name], tuple(sorted((label, rows[number]) for label, number in places))))
                for name, places in holders.items()
            }
            form.rounds.append(
                [
                    self.of((color, tuple(names[name] for _, name in node.names))) if node.names else color
                    for node, color in zip(nodes, plain, strict=True)
                ]
            )
            if len(set(names.values())) == before:
                break
        form.ambiguous = _ambiguous(nodes, holders, form.rounds[-1], names)
        return form


def _ambiguous(
    nodes: Sequence[Node],
    holders: Mapping[Name, Sequence[tuple[str, int]]],
    rows: Sequence[int],
    names: Mapping[Name, int],
) -> frozenset[str]:
    """Return the tables of those parts of the graph that have a circle, and two nodes of one colour."""
    found: set[str] = set()
    left = dict.fromkeys(holders)
    while left:
        part_names, part_rows = _part(next(iter(left)), nodes, holders)
        for name in part_names:
            del left[name]
        edges = sum(len(nodes[number].names) for number in part_rows)
        colors = [*(names[name] for name in part_names), *(rows[number] for number in part_rows)]
        if edges >= len(colors) and len(set(colors)) < len(colors):
            found |= {nodes[number].table for number in part_rows}
    return frozenset(found)


def _part(
    first: Name, nodes: Sequence[Node], holders: Mapping[Name, Sequence[tuple[str, int]]]
) -> tuple[AbstractSet[Name], AbstractSet[int]]:
    """Return the names and the rows that hang together with a name."""
    names, rows, open_names = {first}, set[int](), [first]
    while open_names:
        for _, number in holders[open_names.pop()]:
            if number not in rows:
                rows.add(number)
                more = {name for _, name in nodes[number].names} - names
                names |= more
                open_names += more
    return names, rows
