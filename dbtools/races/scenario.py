"""A scenario: a start state, the programs that race from it, and what must hold afterwards."""

from __future__ import annotations

import subprocess
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from dbtools.errors import NOT_RUN, ConfigurationError
from dbtools.races import token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dbtools.application import Invariant

MAX_ACTORS = 26
"""A token has one letter for each."""
SCHEMA = "schema"
"""A snapshot of what the migrate steps make, and nothing of the seed."""


@dataclass(frozen=True)
class Actor:
    """A program and how to start it: a `command`, or a `call`, which gets the URL as its argument."""

    name: str
    command: tuple[str, ...] = ()
    call: Callable[[str], object] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    superuser: bool = False
    """It connects as the throwaway server's superuser."""
    cwd: Path | None = None
    """Its working directory; None: that of the scenario."""
    latch: bool = False
    """It works a latch. It is no program of the scenario, so serial orders leave it out."""

    def under_lock(self, key: int) -> Actor:
        """Return the same program, run while a connection of its own holds the advisory lock `key`."""
        return replace(self, command=(), call=UnderLock(self, key))


@dataclass(frozen=True)
class Limits:
    """When a run is given up, in seconds and steps."""

    patience: float = 1.0
    """How long a program may sleep with no request under way before the others go on without it."""
    hang: float = 5.0
    """How long no actor may make progress before that counts as a hang."""
    step: float = 30.0
    """How long a request may run, or a program compute, before the run is given up as stalled."""
    steps: int = 10_000
    """How many steps a run may have."""


EVERY_TABLE = "*"
"""The table of a latch that stops whatever changes rows first."""
_STOP_FIRST = """
create schema {name};
create function {name}.stop() returns trigger language plpgsql as
$$ begin if pg_try_advisory_xact_lock({taken}) then perform pg_advisory_xact_lock_shared({key}); end if; return null;
end $$;
do $$ declare one regclass; begin
  for one in select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  loop execute format('create trigger {name} before insert or update or delete on %s for each statement'
                      ' execute function {name}.stop()', one);
  end loop;
end $$
"""


@dataclass(frozen=True)
class Latch:
    """A lock of the lab's own that stops statements in the middle while it is held.

    A schedule orders statements, but cannot stop one in the middle. A latch on a `table` does it with a trigger, which
    waits before each row that is inserted. On `EVERY_TABLE` it stops the first statement that changes rows, wherever,
    after it has its snapshot, and before it changes one; also where a function sends it. Others pass, until the first
    one's transaction is over. A latch on a `catalogue`, such as pg_attribute, stops statements that create or drop
    something. An actor of the latch's own takes it and releases it, in two steps that are scheduled like any.
    """

    name: str
    table: str = ""
    catalogue: str = ""
    """One, or several: "pg_depend, pg_shdepend"."""

    @property
    def key(self) -> int:
        """The key of the advisory lock that a table's trigger waits for."""
        return zlib.crc32(f"latch {self.name}".encode())

    @property
    def trigger(self) -> str:
        """SQL that puts the latch on its table, or on all that there are; or ""."""
        if not self.table:
            return ""
        name = f"dbtools_latch_{self.key}"
        if self.table == EVERY_TABLE:
            return _STOP_FIRST.format(name=name, key=self.key, taken=self.key + 1)
        return (
            f"create function {name}() returns trigger language plpgsql as"
            f" $$ begin perform pg_advisory_xact_lock_shared({self.key}); return new; end $$;"
            f" create trigger {name} before insert on {self.table} for each row execute function {name}();"
        )

    @property
    def actor(self) -> Actor:
        """The actor that takes it and releases it."""
        if self.table:
            steps = [f"select pg_advisory_lock({self.key})", f"select pg_advisory_unlock({self.key})"]
        else:
            tables = ", ".join(f"pg_catalog.{name}" for name in self.catalogue.split(", "))
            steps = ["begin", f"lock table {tables} in share mode", "commit"]
        return Actor(f"latch {self.name}", call=Script(steps), superuser=True, latch=True)


@dataclass(frozen=True)
class Script:
    """A program of SQL alone: each statement is a request of its own, in autocommit. The first error ends it."""

    statements: Sequence[str]

    def __call__(self, url: str) -> None:
        """Run it."""
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in self.statements:
                connection.execute(statement, prepare=False)


@dataclass(frozen=True)
class UnderLock:
    """A program that runs another one while it holds an advisory lock, on a connection of its own."""

    actor: Actor
    key: int

    def __call__(self, url: str) -> None:
        """Run it, and exit as it does."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"select pg_advisory_lock({self.key})", prepare=False)
            if self.actor.call is not None:
                self.actor.call(url)
            elif code := subprocess.run(self.actor.command, check=False).returncode:
                raise SystemExit(code)


@dataclass(frozen=True)
class Scenario:
    """The programs of a race, the state they start from, and what must hold afterwards."""

    name: str
    actors: Sequence[Actor]
    start: Sequence[str | Callable[[str], object] | tuple[str, ...]] = ()
    """What makes the start state, in order: SQL, a callable that gets the URL as its argument, or a command."""
    invariants: Sequence[Invariant] = ()
    latches: Sequence[Latch] = ()
    serial: bool = True
    """Whether the content must be what some order of the actors, one after the other, leaves."""
    allow: Sequence[str] = ()
    """Failures that are refusals by design: "23505 jobs_pkey", "40001", "exit 1"."""
    ignore: Sequence[str] = ()
    """Tables and columns that are not compared: "audit", "jobs.updated_at"."""
    waits: str = ""
    """A wait that must have been seen somewhere, as reports show it: "advisory lock 1196576591"."""
    expect: str = ""
    """The failure that must be found, such as "23505 invoices_pkey"; "" if nothing may fail."""
    title: str = ""
    about: str = ""
    """What a reader of the drawn run should know about it."""
    limits: Limits = field(default_factory=Limits)
    definition: str = ""
    """A text that changes with the scenario, in the place of its fields: a scenario file has this."""
    folder: Path = field(default_factory=Path.cwd)
    """The working directory of its programs."""
    file: Path | None = None
    """The file it was read from, if any."""
    snapshot: bool | str = False
    """Whether the start state begins with what `invoke reset` would install in the project of `folder`; `SCHEMA`: with
    what its migrate steps make."""
    superuser: bool = False
    """Whether a superuser makes the rest of the start state, and owns what it makes."""
    extensions: Sequence[str] = ()
    """Extensions of every database, beside those of the project's table [tool.dbtools.server]."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of the server, which override those of that table."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.all_actors) <= MAX_ACTORS:
            raise ConfigurationError(
                f"The scenario {self.name} has {len(self.all_actors)} actors.",
                f"1 to {MAX_ACTORS} can race, including latches.",
                "Add an actor, or remove some.",
                NOT_RUN,
            )

    @property
    def all_actors(self) -> tuple[Actor, ...]:
        """The actors, then those of the latches. Tokens call them A, B, C, ..."""
        return (*self.actors, *(latch.actor for latch in self.latches))

    def fingerprint(self, major: int) -> str:
        """Return four hex digits that change with the scenario and with the server's major version."""
        more = [self.snapshot, self.superuser, *self.extensions, *sorted(self.settings.items())]
        text = self.definition or repr(
            [
                [(actor.name, actor.command, sorted(actor.environment.items())) for actor in self.actors],
                [step for step in self.start if not callable(step)],
                self.invariants,
                self.latches,
                *([more] if any(more) else []),
            ]
        )
        return token.shorten(f"{major} {text}")
