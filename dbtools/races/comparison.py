"""Which contents count as equal: what is compared of them, and what cannot be.

Two runs of one serial order show what varies by itself: time stamps, random values, process ids. Of such a column times
and the like are left out, but not the text around them. If that is not enough, only those values are compared that the
start state has; all others count as equal. Where not even that is the same in both, the column is left out; in the end
all columns of a table, but not the number of its rows. A column that the server fills with keys, and one that varies
and is a key or a UUID, is compared up to renaming, with all columns that refer to it (see `canonical`).
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING

from dbtools.races.canonical import Colors, Form, Node, Place
from dbtools.races.domains import Domains
from dbtools.races.masks import HIDDEN, TIMES, VARYING, Mask
from dbtools.races.mentions import Mentions, new_names, without_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from dbtools.races.content import Column, Content, Row, Table, Value
    from dbtools.races.mentions import Reading

MAX_ORDERS = 12
"""How many contents of serial orders are asked what a mention means."""
MAX_FORMS = 100
"""How many forms are kept."""


class Comparison:
    """Compares contents of runs that began with one start state."""

    def __init__(self, start: Content, ignore: Collection[str] = ()) -> None:
        self._start = start
        self._ignore = frozenset(ignore)
        self._colors = Colors()
        self._domains = Domains(start)
        self._masks: dict[Place, Mask] = {}
        self._partly: set[Place] = set()
        """Columns of which only times and the like are left out, and not all of a value."""
        self._uncounted: set[str] = set()
        """Tables of which not even the number of rows is always the same."""
        self._loose: set[str] = set()
        """Tables whose rows may fit together in several ways."""
        self._mentions = Mentions(self._domains)
        self._orders: list[Content] = []
        """What the serial orders have left."""
        self._admitted: list[Reading] | None = None
        self._forms: dict[tuple[Content, frozenset[str], Reading], Form] = {}
        self._columns: dict[str, tuple[Column, ...]] = {}

    @property
    def not_compared(self) -> list[str]:
        """What was not compared, in words."""
        partly = {place for place in self._partly if self._masks[place] is Mask.TIMES}
        columns = {
            f"{'times and the like in ' if place in partly else ''}{place}"
            for place, mask in self._masks.items()
            if mask and place.table not in self._uncounted
        }
        tables = {f"{table} (not even the number of rows)" for table in self._uncounted}
        loose = {f"how equal rows of {table} fit together" for table in self._loose}
        return [*sorted(columns | self._ignore), *sorted(tables), *sorted(loose)]

    def unknown(self, contents: Sequence[Content]) -> list[str]:
        """Return what is to be ignored, but is in none of these contents, nor in the start state."""
        tables = [table for content in (self._start, *contents) for table in content.tables.values()]
        known = {table.name for table in tables}
        known |= {str(Place(table.name, column.name)) for table in tables for column in table.columns}
        return sorted(self._ignore - known)

    def same(self, one: Content, other: Content) -> bool:
        """Return whether two contents are equal in all that is compared."""
        if one.digests == other.digests:
            return True
        return self._equal(one, other, ()) or any(self._equal(one, other, reading) for reading in self._readings())

    def _equal(self, one: Content, other: Content, reading: Reading) -> bool:
        first, second = self.forms([one, other], reading)
        if first.certificate != second.certificate:
            return False
        self._loose |= first.ambiguous
        return True

    def _readings(self) -> Sequence[Reading]:
        """Return the ways to read mentions for which the serial orders speak.

        By such a reading some of them become equal that are not without it, and none ceases to be.
        """
        if self._admitted is None:
            pairs = list(combinations(self._orders, 2))
            plain = [self._equal(one, other, ()) for one, other in pairs]
            self._admitted = []
            for reading in self._mentions.readings():
                read = [self._equal(one, other, reading) for one, other in pairs]
                both = list(zip(plain, read, strict=True))
                if (False, True) in both and (True, False) not in both:
                    self._admitted.append(reading)
        return self._admitted

    def forms(self, contents: Sequence[Content], reading: Reading = ()) -> list[Form]:
        """Return the forms of contents, such that their colours can be compared."""
        names = {name for content in (self._start, *contents) for name in content.tables}
        start, digests = self._start.digests, [content.digests for content in contents]
        changed = frozenset(name for name in names if any(found.get(name) != start.get(name) for found in digests))
        return [self._form(content, changed, reading) for content in contents]

    def learn(self, one: Content, other: Content) -> None:
        """Leave out what differs between two contents that ought to be equal."""
        self._domains.add(one, other)
        self._forms.clear()
        self._admitted = []
        while not self.same(one, other):
            if not self._leave_out_columns(one, other):
                self._leave_out_tables(one, other)
            self._forms.clear()
        for content in (one, other):
            self._mentions.learn(content)
        self._orders = [*self._orders, one][-MAX_ORDERS:]
        self._admitted = None

    def cell(self, table: str, column: Column, value: Value) -> Value:
        """Return a value, or `HIDDEN` if it is not compared."""
        place = Place(table, column.name)
        mask = self._mask(place, column)
        if mask is Mask.TIMES and value is not None and not self._domains.in_start(place, value):
            shown = VARYING.sub(HIDDEN, value)
            if shown not in (HIDDEN, value):
                self._partly.add(place)
            return shown
        hidden = mask is Mask.ALL or (mask and value is not None and not self._domains.in_start(place, value))
        return HIDDEN if hidden else value

    def columns(self, table: str) -> Sequence[Column]:
        """Return a table's columns, as they were seen last."""
        return self._columns.get(table, ())

    def _mask(self, place: Place, column: Column) -> Mask:
        left_out = column.derived or str(place) in self._ignore
        return Mask.ALL if left_out else self._masks.get(place, Mask.NONE)

    def _leave_out_columns(self, one: Content, other: Content) -> bool:
        """Compare less of the columns whose values differ; return whether there is one."""
        found = False
        for name in (one.tables.keys() & other.tables.keys()) - self._ignore:
            tables = (one.tables[name], other.tables[name])
            rows = [self._rows(table) for table in tables]
            if tables[0].columns != tables[1].columns or tables[0].digest == tables[1].digest:
                continue
            first, second = rows
            if first is None or second is None or len(first) != len(second):
                continue
            for position, column in enumerate(tables[0].columns):
                place = Place(name, column.name)
                if self._domains.of(place) or self._mask(place, column) is Mask.ALL:
                    continue
                before = Counter(self.cell(name, column, row[position]) for row in first)
                now = Counter(self.cell(name, column, row[position]) for row in second)
                if before != now:
                    found = True
                    if column.key or column.uuid or self._domains.refers(place):
                        self._domains.open(place)
                    else:
                        self._masks[place] = Mask(self._masks.get(place, Mask.NONE) + 1)
        return found

    def _leave_out_tables(self, one: Content, other: Content) -> None:
        """Leave out tables that differ although none of their columns does by itself, or in the number of rows."""
        forms = self.forms([one, other])
        before, now = (form.colors(len(form.rounds)) for form in forms)
        unequal = (before - now) + (now - before)
        names = {
            node.table
            for form in forms
            for node, color in zip(form.nodes, form.rounds[-1], strict=True)
            if color in unequal
        }
        for name in names or {node.table for form in forms for node in form.nodes}:
            tables = [content.tables[name] for content in (one, other) if name in content.tables]
            columns = {Place(name, column.name): self._mask(Place(name, column.name), column)
                       for table in tables for column in table.columns}  # fmt: skip
            if len({table.count for table in tables}) > 1 or all(mask is Mask.ALL for mask in columns.values()):
                self._uncounted.add(name)
            for place in columns:
                self._masks[place] = Mask.ALL

    def _form(self, content: Content, names: frozenset[str], reading: Reading) -> Form:
        key = (content, names, reading)
        if key not in self._forms:
            if len(self._forms) >= MAX_FORMS:
                self._forms.clear()
            compared = names - self._uncounted - self._ignore
            tables = [table for name, table in content.tables.items() if name in compared]
            known = new_names(self._domains, content) if reading else {}
            mentions = {place: (root, known.get(root, set())) for place, root in reading}
            self._forms[key] = self._colors.form([node for table in tables for node in self._nodes(table, mentions)])
        return self._forms[key]

    def _nodes(self, table: Table, mentions: Mapping[Place, tuple[Place, set[str]]]) -> Iterator[Node]:
        rows = self._rows(table)
        self._columns[table.name] = table.columns
        columns = [(column, Place(table.name, column.name)) for column in table.columns]
        digest = table.digest if not any(self._mask(place, column) for column, place in columns) else str(table.count)
        # One node for the table itself: an empty one is not the same as none.
        yield Node(table.name, (), (digest if rows is None else None, *(column.name for column, _ in columns)), ())
        domains = [
            None if self._mask(place, column) is Mask.ALL else self._domains.of(place) for column, place in columns
        ]
        for row in rows or ():
            cells: list[Value] = []
            names: list[tuple[str, tuple[str, str]]] = []
            for (column, place), domain, value in zip(columns, domains, row, strict=True):
                if domain and value is not None and not self._domains.in_start(place, value):
                    names.append((column.name, (str(domain), value)))
                elif value is not None and place in mentions and not self._domains.in_start(place, value):
                    root, known = mentions[place]
                    times = self._mask(place, column) is Mask.TIMES  # digits of which may look like names
                    text, found = without_names(TIMES.sub(HIDDEN, value) if times else value, known)
                    cells.append(self.cell(table.name, column, text))
                    names += [(f"{column.name} {at}", (str(root), name)) for at, name in enumerate(found)]
                else:
                    cells.append(self.cell(table.name, column, value))
            yield Node(table.name, row, tuple(cells), tuple(names))

    def _rows(self, table: Table) -> Sequence[Row] | None:
        """Return the rows of a table, or None if there are too many."""
        before = self._start.tables.get(table.name)
        unchanged = table.rows is None and before is not None and before.digest == table.digest
        return before.rows if unchanged and before is not None else table.rows
