"""The keys of a scenario's TOML file, and the type of each one's value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtools.errors import NOT_RUN, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEYS = {
    "title": str,
    "about": str,
    "expect": str,
    "waits": str,
    "serial": bool,
    "allow": list,
    "ignore": list,
    "lock": int,
    "env": dict,
    "start": dict,
    "actors": dict,
    "invariants": dict,
    "latches": dict,
    "server": dict,
    "limits": dict,
    "variants": dict,
}
START_KEYS = {"snapshot": object, "superuser": bool, "sql": str, "file": str, "call": str, "command": list}
ACTOR_KEYS = {"command": list, "call": str, "sql": list, "env": dict, "superuser": bool, "cwd": str}
LATCH_KEYS = {"table": str, "catalogue": str}
SERVER_KEYS = {"extensions": list, "settings": dict}
LIMIT_KEYS = {"patience": float, "hang": float, "step": float, "steps": int}
TYPES = {
    str: "a string",
    bool: "a boolean",
    int: "a whole number",
    float: "a number",
    list: "a list of strings, with at least one",
    dict: "a table",
}
"""What a key's type is called, and by that what it means here."""
NOT_DEFINING = ("title", "about", "expect", "waits", "allow", "ignore")
"""Keys that do not change what runs, so that a token outlives a better title."""


@dataclass(frozen=True)
class Keys:
    """Checks the keys of one file."""

    path: Path

    def check(self, where: str, table: Any, known: Mapping[str, type]) -> dict[str, Any]:
        """Return the table if all its keys are known and all its values are of their types.

        `where` is the place of the table in the file, such as "actors.first", and "" for the file itself.

        Raises:
            ConfigurationError: It is no table, or something in it is wrong.
        """
        if not isinstance(table, dict):
            raise self.wrong(where, f"it must be a table, not {table!r}")
        for key, value in table.items():
            place = f"{where}.{key}" if where else key
            if key not in known:
                raise self.wrong(place, f"there is no such key; there are {', '.join(known)}")
            if not _is_of(value, known[key]):
                raise self.wrong(place, f"it must be {TYPES[known[key]]}, not {value!r}")
        return table

    def strings(self, where: str, table: Any) -> dict[str, str]:
        """Return the table if each of its keys, whatever their names, has a string."""
        return self.check(where, table, dict.fromkeys(table, str))

    def wrong(self, where: str, why: str) -> ConfigurationError:
        """Return the error that says what is wrong at a place."""
        return ConfigurationError(
            f"The scenario {self.path} is wrong at {where}.",
            f"{why[:1].upper()}{why[1:]}.",
            "Correct the file; docs/race-lab.md shows a complete one.",
            NOT_RUN,
        )


def _is_of(value: Any, kind: type) -> bool:
    if kind is object:  # checked where it is read
        return True
    if kind is list:
        return isinstance(value, list) and value != [] and all(isinstance(item, str) for item in value)
    return type(value) is kind or (kind is float and type(value) is int)
