"""A scenario in a TOML file.

title = "Two workers take the same job"
expect = "invariant one owner"            # left out: nothing may fail
waits = "row of jobs"                     # a wait that must have been seen, or else `held` would prove nothing
serial = true                             # the content must be what some serial order of the programs leaves
allow = ["exit 1", "23505 jobs_pkey"]     # failures that are no race: the program refuses by design
ignore = ["jobs.updated_at", "audit"]     # columns and tables that are not compared
lock = 1196576591                         # each program runs while a connection of its own holds this advisory lock

[start]                                   # what makes the start state, in this order, in an empty database
snapshot = true                           # it begins with what `invoke reset` would install; "schema": without the seed
superuser = true                          # a superuser runs the rest, and owns what it makes; the actors' role is app
sql = "create table jobs (id int primary key, owner text)"
file = "jobs.sql"                         # beside this file
call = "shop.setup:load"                  # is given the URL
command = ["npm", "run", "migrate"]       # is given DATABASE_URL, PGHOST, ...

[actors.first]                            # exactly one of command, call and sql
command = ["node", "worker.js"]
env = { WORKER = "1" }
cwd = "services/worker"                   # default: the project's folder
[actors.second]
sql = ["update jobs set owner = 'b' where owner is null"]

[invariants]                              # queries that return no row
"one owner" = "select 1 from jobs group by id having count(owner) > 1"

[latches.insert]                          # stops statements in the middle; see `Latch`
table = "jobs"                            # or: catalogue = "pg_attribute"

[server]                                  # beside what the project's table [tool.dbtools.server] asks for
extensions = ["citext"]                   # made in the database before all else
settings = { wal_level = "logical" }

[limits]                                  # in seconds and steps; see `Limits`
patience = 1.0
hang = 5.0
step = 30.0
steps = 10000

[variants.unlocked]                       # the same scenario with other values of any key above
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
from dbtools.races.scenario import SCHEMA, Actor, Latch, Limits, Scenario, Script
from dbtools.races.scenario_keys import (
    ACTOR_KEYS,
    KEYS,
    LATCH_KEYS,
    LIMIT_KEYS,
    NOT_DEFINING,
    SERVER_KEYS,
    START_KEYS,
    Keys,
)
from dbtools.server.requirements import UnfitSetting, read_setting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?", re.ASCII)


def read(path: Path, variant: str, folder: Path) -> Scenario:
    """Return the scenario in a TOML file, or a variant of it; its commands run in `folder`.

    Raises:
        ConfigurationError: The file cannot be read, has no such variant, or something in it is wrong.
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
    # Anything but a table stays in place, so that the check of the keys finds it.
    variants = table.pop("variants", {}) if isinstance(table.get("variants"), dict) else {}
    if variant and variant not in variants:
        known = ", ".join(variants) or "none"
        raise ConfigurationError(
            f"The scenario {path.stem} has no variant {variant!r}.", f"It has: {known}.", "Name one of these.", NOT_RUN
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
        self._keys = Keys(path)
        self._name = name
        self._folder = folder
        self._files: list[str] = []

    def scenario(self, table: dict[str, Any]) -> Scenario:
        for name in (self._path.stem, *filter(None, [self._name[len(self._path.stem) + 1 :]])):
            if not NAME.fullmatch(name):
                raise self._keys.wrong(
                    name, "a name consists of letters, digits, - and _, and begins and ends with a letter or a digit"
                )
        self._keys.check("", table, KEYS)
        environment = self._keys.strings("env", table.get("env", {}))
        if not -(2**63) <= table.get("lock", 0) < 2**63:
            raise self._keys.wrong("lock", "the key of an advisory lock has 64 bits")
        actors = [self._actor(name, actor, environment) for name, actor in table.get("actors", {}).items()]
        invariants = self._keys.strings("invariants", table.get("invariants", {}))
        definition = {key: value for key, value in table.items() if key not in NOT_DEFINING}
        start = self._keys.check("start", table.get("start", {}), START_KEYS)
        server = self._keys.check("server", table.get("server", {}), SERVER_KEYS)
        return Scenario(
            self._name,
            actors=[actor.under_lock(table["lock"]) for actor in actors] if "lock" in table else actors,
            start=[self._start(key, value) for key, value in start.items() if key not in ("snapshot", "superuser")],
            snapshot=self._snapshot(start.get("snapshot", False)),
            superuser=start.get("superuser", False),
            extensions=server.get("extensions", ()),
            settings=self._settings(server.get("settings", {})),
            invariants=[Invariant(name, query) for name, query in invariants.items()],
            latches=[self._latch(name, latch) for name, latch in table.get("latches", {}).items()],
            serial=table.get("serial", True),
            waits=table.get("waits", ""),
            allow=table.get("allow", ()),
            ignore=table.get("ignore", ()),
            expect=table.get("expect", ""),
            title=table.get("title", self._name),
            about=table.get("about", ""),
            limits=Limits(**self._keys.check("limits", table.get("limits", {}), LIMIT_KEYS)),
            definition=json.dumps([definition, self._files], sort_keys=True),
            folder=self._folder,
            file=self._path.resolve(),
        )

    def _actor(self, name: str, table: Any, environment: dict[str, str]) -> Actor:
        where = f"actors.{name}"
        self._keys.check(where, table, ACTOR_KEYS)
        if len({"command", "call", "sql"} & table.keys()) != 1:
            raise self._keys.wrong(where, "an actor has exactly one of command, call and sql")
        call: Callable[[str], object] | None = Script(table["sql"]) if "sql" in table else None
        if "call" in table:
            call = self._load(f"{where}.call", table["call"])
        return Actor(
            name,
            command=tuple(table.get("command", ())),
            call=call,
            environment=environment | self._keys.strings(f"{where}.env", table.get("env", {})),
            superuser=table.get("superuser", False),
            cwd=self._folder / table["cwd"] if "cwd" in table else None,
        )

    def _start(self, key: str, value: Any) -> str | Callable[[str], object] | tuple[str, ...]:
        where = f"start.{key}"
        if key == "call":
            return self._load(where, value)
        if key == "command":
            return tuple(value)
        if key == "file":
            try:
                value = (self._path.parent / value).read_text("utf-8")
            except OSError as error:
                raise self._keys.wrong(where, f"{error}") from None
            self._files.append(value)
        return str(value)

    def _snapshot(self, value: Any) -> bool | str:
        if not (isinstance(value, bool) or value == SCHEMA):
            raise self._keys.wrong("start.snapshot", f'it must be true, false or "{SCHEMA}", not {value!r}')
        return value  # type: ignore[no-any-return]

    def _settings(self, table: dict[str, Any]) -> dict[str, str]:
        settings = {}
        for name, value in table.items():
            try:
                settings[name] = read_setting(name, value)
            except UnfitSetting as error:
                raise self._keys.wrong(f"server.settings.{name}", str(error)) from None
        return settings

    def _latch(self, name: str, table: Any) -> Latch:
        self._keys.check(f"latches.{name}", table, LATCH_KEYS)
        if len(table) != 1 or not re.fullmatch(r"pg_\w+", table.get("catalogue", "pg_x")):
            raise self._keys.wrong(f"latches.{name}", "a latch has a table, or a catalogue such as pg_attribute")
        return Latch(name, **table)

    def _load(self, where: str, path: str) -> Callable[[str], object]:
        module, _, name = path.partition(":")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise self._keys.wrong(where, f"{path!r} cannot be imported: {error}") from None
        if not callable(found):
            raise self._keys.wrong(where, f"{path!r} is not callable")
        return found  # type: ignore[no-any-return]


def _merge(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in more.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged
