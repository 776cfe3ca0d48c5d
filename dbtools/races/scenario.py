"""A scenario: a start state, the programs that race from it, and what must hold afterwards."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from dbtools.errors import NOT_RUN, ConfigurationError
from dbtools.races import token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dbtools.application import Invariant

MOST_ACTORS = 26
"""The letters that a token has for them."""


@dataclass(frozen=True)
class Actor:
    """A program and how to start it: a `command`, or else a `call` that is given the URL."""

    name: str
    command: tuple[str, ...] = ()
    call: Callable[[str], object] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    superuser: bool = False
    """Its URL is that of the throwaway server's superuser."""
    latch: bool = False
    """It is not one of the programs, but a means of the lab: it may be left out of a serial order."""


@dataclass(frozen=True)
class Limits:
    """When a run is given up, in seconds and steps."""

    patience: float = 1.0
    """How long a program may sleep with nothing under way before the others go on without it."""
    hang: float = 5.0
    """How long nobody may be able to go on before that counts as for ever."""
    step: float = 30.0
    """How long a request may run, and a program compute."""
    steps: int = 10_000


@dataclass(frozen=True)
class Latch:
    """A lock of the lab's own, which stops statements in their middle while it is taken.

    Schedules order statements; what happens inside one they cannot reach. A latch on a `table` has a trigger wait
    before each row that is inserted; one on a `catalogue`, such as pg_attribute, has what creates or drops something
    wait in the middle. Taking it and giving it back are two steps of an actor of its own, which is scheduled like any.
    """

    name: str
    table: str = ""
    catalogue: str = ""

    @property
    def key(self) -> int:
        """The advisory lock that a table's trigger waits for."""
        return zlib.crc32(f"latch {self.name}".encode())

    @property
    def trigger(self) -> str:
        """SQL that puts the latch on its table, or ""."""
        if not self.table:
            return ""
        name = f"dbtools_latch_{self.key}"
        return (
            f"create function {name}() returns trigger language plpgsql as"
            f" $$ begin perform pg_advisory_xact_lock_shared({self.key}); return new; end $$;"
            f" create trigger {name} before insert on {self.table} for each row execute function {name}();"
        )

    @property
    def actor(self) -> Actor:
        """Who takes it and gives it back."""
        if self.table:
            steps = [f"select pg_advisory_lock({self.key})", f"select pg_advisory_unlock({self.key})"]
        else:
            steps = ["begin", f"lock table pg_catalog.{self.catalogue} in share mode", "commit"]
        return Actor(f"latch {self.name}", call=Script(steps), superuser=True, latch=True)


@dataclass(frozen=True)
class Script:
    """A program of SQL alone: each statement is one request, in autocommit, the first error ends it."""

    statements: Sequence[str]

    def __call__(self, url: str) -> None:
        """Run it."""
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in self.statements:
                connection.execute(statement, prepare=False)


@dataclass(frozen=True)
class Scenario:
    """What is raced, from where, and what must hold."""

    name: str
    actors: Sequence[Actor]
    start: Sequence[str | Callable[[str], object] | tuple[str, ...]] = ()
    """What makes the start state, in order: SQL, a callable that is given the URL, or a command."""
    invariants: Sequence[Invariant] = ()
    latches: Sequence[Latch] = ()
    serial: bool = True
    """The content must end as some order of the actors, one after the other, leaves it."""
    waits: str = ""
    """A wait that must have been seen somewhere, as reports show it: "advisory lock 1196576591"."""
    expect: str = ""
    """The failure that is to be found, such as "23505 invoices_pkey"; "" where none may be."""
    title: str = ""
    about: str = ""
    limits: Limits = field(default_factory=Limits)
    definition: str = ""
    """What tells one version of it from another, where that is not its fields."""
    folder: Path = field(default_factory=Path.cwd)
    """Where commands run."""
    file: Path | None = None
    """Where it was read from."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.all_actors) <= MOST_ACTORS:
            raise ConfigurationError(
                f"The scenario {self.name} has {len(self.all_actors)} actors.",
                f"1 to {MOST_ACTORS} can race, latches among them.",
                "Add an actor, or leave some out.",
                NOT_RUN,
            )

    @property
    def all_actors(self) -> tuple[Actor, ...]:
        """The actors and the latches': a token calls them A, B, C, ..."""
        return (*self.actors, *(one.actor for one in self.latches))

    def fingerprint(self, major: int) -> str:
        """Return four hex digits that change with the scenario and with the server's major version."""
        text = self.definition or repr(
            [
                [(one.name, one.command, sorted(one.environment.items())) for one in self.actors],
                [one for one in self.start if not callable(one)],
                self.invariants,
                self.latches,
            ]
        )
        return token.shorten(f"{major} {text}")
