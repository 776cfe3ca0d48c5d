"""Placeholders in a snapshot's SQL: they stand where the name of a schema belongs.

"dbtools_snap_0" stands for the first schema, and "dbtools_enum_0" for that of its enums. So one snapshot serves every
schema that it is put into, under whatever name, and an enum can be taken from there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# pg_restore's own comments stay: a name with a line break would end them.
_PLACEHOLDER = re.compile(
    r'^-- Name: .*$|\bdbtools_snap_(\d+)\b|\bdbtools_enum_(\d+)\.("(?:[^"]|"")+"|\w+)', re.MULTILINE
)


def placeholder(number: int) -> str:
    """Return the name that stands for schema `number`."""
    return f"dbtools_snap_{number}"


def enum_placeholder(number: int) -> str:
    """Return the name that stands for the schema of the enums of schema `number`."""
    return f"dbtools_enum_{number}"


def translator(names: tuple[str, ...], taken: dict[tuple[int, str], str]) -> Callable[[str], str]:
    """Return a function that replaces placeholders in SQL.

    `names` are the schemas, in SQL form. `taken` gives, by schema and name, the enums of other schemas that serve in
    the place of the snapshot's own; all in SQL form.
    """

    def replace(found: re.Match[str]) -> str:
        if found[1] is not None:
            return _within(found, names[int(found[1])])
        if found[2] is None:
            return found[0]
        number = int(found[2])
        return _within(found, taken.get((number, found[3]), f"{names[number]}.{found[3]}"))

    return lambda text: _PLACEHOLDER.sub(replace, text)


def _within(found: re.Match[str], name: str) -> str:
    """Return `name` as it is written where a placeholder was found: by itself, or in a string such as nextval's."""
    before = found.string[max(0, found.start() - 2) : found.start()]
    if before == "E'":
        name = name.replace("\\", "\\\\")
    return name.replace("'", "''") if before.endswith("'") else name
