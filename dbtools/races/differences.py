"""The rows in which a content differs from those of the serial orders, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.races.masks import HIDDEN
from dbtools.races.trace import TableDifference

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from dbtools.races.canonical import Form, Name, Node
    from dbtools.races.comparison import Comparison
    from dbtools.races.content import Content

HERE = "here"
MAX_ROWS = 8
"""How many rows of a table are shown of each content."""


def differences(
    comparison: Comparison, content: Content, orders: Sequence[tuple[str, Content]]
) -> tuple[TableDifference, ...]:
    """Return the rows that not all contents have alike, beside those of the serial orders, which have names.

    Where all rows are the same by themselves, and only fit together in another way, these are the rows that refer to
    others.
    """
    forms = comparison.forms([content, *(other for _, other in orders)])
    labelled = [(HERE, forms[0]), *_merged(orders, forms[1:])]
    rounds = max(len(form.rounds) for form in forms)
    for number in range(rounds):
        colors = [form.colors(number) for _, form in labelled]
        if all(colors[0] != other for other in colors[1:]):
            return tuple(_tables(comparison, labelled, number, _unequal(colors)))
    return ()


def _merged(orders: Sequence[tuple[str, Content]], forms: Sequence[Form]) -> Iterator[tuple[str, Form]]:
    """Yield the forms that differ, each with the orders that leave it."""
    left = [(label, form) for (label, _), form in zip(orders, forms, strict=True)]
    while left:
        form = left[0][1]
        same = dict.fromkeys(label for label, other in left if other.certificate == form.certificate)
        yield f"after {' or '.join(same)}", form
        left = [(label, other) for label, other in left if other.certificate != form.certificate]


def _unequal(colors: Sequence[Counter[int]]) -> set[int]:
    """Return the colours that not all forms have equally often."""
    return {color for counts in colors for color in counts if len({other[color] for other in colors}) > 1}


def _tables(
    comparison: Comparison, labelled: Sequence[tuple[str, Form]], number: int, unequal: set[int]
) -> Iterator[TableDifference]:
    found = [
        (label, node)
        for label, form in labelled
        for node, color in zip(form.nodes, form.rounds[min(number, len(form.rounds) - 1)], strict=True)
        if color in unequal
    ]
    if number:  # the rows that refer to others tell more than those that are referred to
        found = [(label, node) for label, node in found if _refers(comparison, node)] or found
    for table in dict.fromkeys(node.table for _, node in found):
        columns = tuple(column.name for column in comparison.columns(table))
        rows: list[tuple[str, tuple[str, ...]]] = []
        for label, form in labelled:
            shown = [_shown(comparison, node, form) for other, node in found if (other, node.table) == (label, table)]
            rows += [(label, cells) for cells in sorted(shown)[:MAX_ROWS]] or [(label, ())]
            if len(shown) > MAX_ROWS:
                rows.append((label, (f"and {len(shown) - MAX_ROWS} more",)))
        yield TableDifference(table, columns, tuple(rows))


def _refers(comparison: Comparison, node: Node) -> bool:
    """Return whether a row has names that another row has as its key."""
    keys = {column.name for column in comparison.columns(node.table) if column.surrogate}
    return any(label not in keys for label, _ in node.names)


def _shown(comparison: Comparison, node: Node, form: Form) -> tuple[str, ...]:
    """Return the values of a row; a reference has with it what it refers to."""
    if not node.row:
        return (f"the table has {node.cells[0] or 'these columns'}",)
    names = dict(node.names)
    cells = []
    for column, value in zip(comparison.columns(node.table), node.row, strict=True):
        cell = value if column.name in names else comparison.cell(node.table, column, value)
        target = None if column.surrogate else _key(comparison, form, names.get(column.name))
        about = " ".join(cell for cell in target.cells if cell and cell != HIDDEN) if target else ""
        cells.append(f"{'NULL' if cell is None else cell}{f' ({about})' if about else ''}")
    return tuple(cells)


def _key(comparison: Comparison, form: Form, name: Name | None) -> Node | None:
    """Return the row that has a name as its key."""
    for node in form.nodes if name else ():
        keys = {column.name for column in comparison.columns(node.table) if column.surrogate}
        if any(label in keys and other == name for label, other in node.names):
            return node
    return None
