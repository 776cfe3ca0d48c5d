"""What dbtools needs from the application whose database it rebuilds.

pyproject.toml names the application (`[tool.dbtools] seed = { rows = "package.module:object" }`); dbtools imports that
object and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping, Sequence

    from dbtools.dataset import Dataset, TableText


@dataclass(frozen=True)
class Invariant:
    """A rule of the data, as SQL: `query` returns the rows that break it, so an empty result is a pass."""

    name: str
    query: str


class Application(Protocol):
    """An application whose rows dbtools can load. Two more protocols say what it may offer besides."""

    @property
    def profiles(self) -> Sequence[str]:
        """The names `--profile` accepts; the first one is the default."""

    def generate(self, profile: str, seed: int, as_of: datetime.date) -> Dataset:
        """Return the rows of a profile: a pure function of its three arguments.

        It reads no clock, no environment and no database. dbtools calls it with a profile from `profiles` only.
        """


@runtime_checkable
class HasInvariants(Protocol):
    """An application with rules that `invoke doctor` checks."""

    @property
    def invariants(self) -> Sequence[Invariant]:
        """The rules that a seeded database keeps."""


@runtime_checkable
class HasKnownUsers(Protocol):
    """An application with users that are inserted where they are missing, and never replaced."""

    def environment_users(self, environ: Mapping[str, str], as_of: datetime.date) -> Dataset:
        """Return the users that the environment asks for. dbtools inserts the missing ones after `generate`'s rows.

        Raises:
            ConfigurationError: The variables contradict each other.
        """

    def known_users(self, environ: Mapping[str, str], as_of: datetime.date) -> Dataset:
        """Return the known users (and those of the environment), for the mode that adds nothing else.

        dbtools inserts the missing rows. A row whose key or unique value exists already stays as it is.
        """


class Load(Protocol):
    """More rows than fit into memory, in blocks that do not depend on each other."""

    @property
    def base(self) -> Dataset:
        """The rows that all blocks refer to. dbtools inserts those that are missing before it adds a block."""

    @property
    def blocks(self) -> int:
        """How many blocks there are, 1 or more."""

    def block(self, number: int) -> Sequence[TableText]:
        """Return the rows of a block, the first one being 0: the same bytes whoever asks, in whichever order.

        They refer to `base` and to each other alone, parents first. dbtools asks from several threads, and moves no
        sequence past the keys.
        """


@runtime_checkable
class HasLoad(Protocol):
    """An application that fills a database to measure on: `invoke load`."""

    def load(self, scale: int, seed: int, as_of: datetime.date) -> Load:
        """Return the rows of a scale, 1 or more: a pure function of its three arguments, as `generate` is.

        Raises:
            ConfigurationError: There are no rows for it.
        """
