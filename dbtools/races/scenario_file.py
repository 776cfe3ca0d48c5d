"""A scenario in a TOML file.

title = "Two workers take the same job"
expect = "invariant one owner"            # left out: nothing may fail
waits = "row of jobs"                     # a wait that must have been seen, or `held` proves nothing
serial = true                             # the content must end as some order of the programs leaves it

[start]                                   # in the order of the file, on an empty database
sql = "create table jobs (id int primary key, owner text)"
file = "jobs.sql"                         # beside this file
call = "shop.setup:load"                  # is given the URL
command = ["npm", "run", "migrate"]       # is given DATABASE_URL, PGHOST, ...

[actors.first]                            # one of command, call and sql
command = ["node", "worker.js"]
env = { WORKER = "1" }
[actors.second]
sql = ["update jobs set owner = 'b' where owner is null"]

[invariants]                              # queries that return no row
"one owner" = "select 1 from jobs group by id having count(owner) > 1"

[latches.insert]                          # stops statements in their middle; see `latch`
table = "jobs"                            # or: catalogue = "pg_attribute"

[limits]                                  # in seconds, and steps; see `Limits`
patience = 1.0
hang = 5.0
step = 30.0
steps = 10000

[variants.unlocked]                       # all of the above with other values
env = { LOCK = "off" }                    # for every actor
"""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from dbtools.application import Invariant
from dbtools.errors import NOT_RUN, ConfigurationError
from dbtools.races.scenario import Actor, Latch, Limits, Scenario, Script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = {
    "title": str,
    "about": str,
    "expect": str,
    "waits": str,
    "serial": bool,
    "env": dict,
    "start": dict,
    "actors": dict,
    "invariants": dict,
    "latches": dict,
    "limits": dict,
    "variants": dict,
}
TYPES = {str: "string", bool: "boolean", dict: "table"}
WORDS = ("title", "about", "expect", "waits")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?", re.ASCII)


def read(path: Path, variant: str, folder: Path) -> Scenario:
    """Return the scenario of a TOML file, or its variant; its commands run in `folder`.

    Raises:
        ConfigurationError: The file, or something in it, is not as it should be.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(
            f"The scenario {path} cannot be read.",
            f"{error}.",
            "To see what there is: invoke race.list",
            NOT_RUN,
        ) from None
    # What is no table stays, for the reader to say so.
    variants = table.pop("variants", {}) if isinstance(table.get("variants"), dict) else {}
    if variant and variant not in variants:
        known = ", ".join(variants) or "none"
        raise ConfigurationError(
            f"The scenario {path.stem} has no variant {variant!r}.", f"It has: {known}.", "Name one.", NOT_RUN
        )
    return _Reader(path, f"{path.stem}.{variant}" if variant else path.stem, folder).scenario(
        _merge(table, variants[variant]) if variant else table
    )


def variants(path: Path) -> list[str]:
    """Return the names of a file's variants."""
    return [*tomllib.loads(path.read_text("utf-8")).get("variants", {})]


class _Reader:
    def __init__(self, path: Path, name: str, folder: Path) -> None:
        self._path = path
        self._name = name
        self._folder = folder
        self._files: list[str] = []

    def scenario(self, table: dict[str, Any]) -> Scenario:
        for name in (self._path.stem, *filter(None, [self._name[len(self._path.stem) + 1 :]])):
            if not _NAME.fullmatch(name):
                raise self._wrong(
                    name, "a name is of letters, digits, - and _, and begins and ends with one of the first two"
                )
        for key, value in table.items():
            if key not in KEYS:
                raise self._wrong(key, f"there is no such key; there are {', '.join(KEYS)}")
            if not isinstance(value, KEYS[key]):
                raise self._wrong(key, f"it is to be a {TYPES[KEYS[key]]}, not {value!r}")
        environment = self._words("env", table.get("env", {}))
        return Scenario(
            self._name,
            actors=[self._actor(name, one, environment) for name, one in table.get("actors", {}).items()],
            start=[self._begin(key, value) for key, value in table.get("start", {}).items()],
            invariants=[Invariant(*one) for one in self._words("invariants", table.get("invariants", {})).items()],
            latches=[self._latch(name, one) for name, one in table.get("latches", {}).items()],
            serial=table.get("serial", True),
            waits=table.get("waits", ""),
            expect=table.get("expect", ""),
            title=table.get("title", self._name),
            about=table.get("about", ""),
            limits=self._limits(table.get("limits", {})),
            # Not what only people read: a token outlives a better title.
            definition=json.dumps([{k: v for k, v in table.items() if k not in WORDS}, self._files], sort_keys=True),
            folder=self._folder,
            file=self._path.resolve(),
        )

    def _actor(self, name: str, table: dict[str, Any], environment: dict[str, str]) -> Actor:
        where = f"actors.{name}"
        self._check(where, table, {"command": list, "call": str, "sql": list, "env": dict, "superuser": bool})
        if len({"command", "call", "sql"} & table.keys()) != 1:
            raise self._wrong(where, "an actor has one of command, call and sql")
        for key in ("command", "sql"):
            if not all(isinstance(one, str) for one in table.get(key, ["x"])) or not table.get(key, ["x"]):
                raise self._wrong(f"{where}.{key}", "it is to be a list of strings, with one at least")
        call: Callable[[str], object] | None = Script(table["sql"]) if "sql" in table else None
        if "call" in table:
            call = self._load(f"{where}.call", table["call"])
        return Actor(
            name,
            command=tuple(table.get("command", ())),
            call=call,
            environment=environment | self._words(f"{where}.env", table.get("env", {})),
            superuser=table.get("superuser", False),
        )

    def _begin(self, key: str, value: Any) -> str | Callable[[str], object] | tuple[str, ...]:
        where = f"start.{key}"
        self._check("start", {key: value}, {"sql": str, "file": str, "call": str, "command": list})
        if key == "call":
            return self._load(where, value)
        if key == "command":
            return tuple(value)
        if key == "file":
            try:
                value = (self._path.parent / value).read_text("utf-8")
            except OSError as error:
                raise self._wrong(where, f"{error}") from None
            self._files.append(value)
        return str(value)

    def _latch(self, name: str, table: dict[str, Any]) -> Latch:
        self._check(f"latches.{name}", table, {"table": str, "catalogue": str})
        if len(table) != 1 or not re.fullmatch(r"pg_\w+", table.get("catalogue", "pg_x")):
            raise self._wrong(f"latches.{name}", "a latch has a table, or a catalogue such as pg_attribute")
        return Latch(name, **table)

    def _limits(self, table: dict[str, Any]) -> Limits:
        self._check(
            "limits", table, {"patience": (int, float), "hang": (int, float), "step": (int, float), "steps": int}
        )
        return Limits(**table)

    def _load(self, where: str, path: str) -> Callable[[str], object]:
        module, _, name = path.partition(":")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise self._wrong(where, f"{path!r} cannot be imported: {error}") from None
        if not callable(found):
            raise self._wrong(where, f"{path!r} is not callable")
        return found  # type: ignore[no-any-return]

    def _words(self, where: str, table: dict[str, Any]) -> dict[str, str]:
        for key, value in table.items():
            if not isinstance(value, str):
                raise self._wrong(f"{where}.{key}", f"it is to be a string, not {value!r}")
        return table

    def _check(self, where: str, table: Any, known: dict[str, Any]) -> None:
        if not isinstance(table, dict):
            raise self._wrong(where, f"it is to be a table, not {table!r}")
        for key, value in table.items():
            if key not in known or not isinstance(value, known[key]):
                raise self._wrong(f"{where}.{key}", f"{value!r} is not understood; there are {', '.join(known)}")

    def _wrong(self, where: str, why: str) -> ConfigurationError:
        return ConfigurationError(
            f"The scenario {self._path} is wrong at {where}.",
            f"{why[:1].upper()}{why[1:]}.",
            "Correct the file; the README shows one whole.",
            NOT_RUN,
        )


def _merge(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in more.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged
