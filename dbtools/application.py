"""What dbtools needs to know of the application whose database it rebuilds.

The application is named in pyproject.toml (`[tool.dbtools] application = "package.module:object"`); dbtools imports
that object and nothing else of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping, Sequence

    from dbtools.dataset import Dataset


@dataclass(frozen=True)
class Invariant:
    """A rule of the data as SQL: `query` returns the rows that break it, so an empty result is a pass."""

    name: str
    query: str


class Application(Protocol):
    """A seedable application."""

    @property
    def profiles(self) -> Sequence[str]:
        """The names `--profile` accepts; the first one is the default."""

    @property
    def invariants(self) -> Sequence[Invariant]:
        """The rules that hold on a seeded database."""

    def generate(self, profile: str, seed: int, as_of: datetime.date) -> Dataset:
        """Return the rows of a profile: a pure function of its three arguments.

        Called with a profile from `profiles` only. Reads no clock, no environment and no database.
        """

    def environment_users(self, environ: Mapping[str, str], as_of: datetime.date) -> Dataset:
        """Return the users that the environment asks for; inserted after `generate`'s rows, where missing.

        Raises:
            ConfigurationError: The variables contradict each other.
        """

    def known_users(self, environ: Mapping[str, str], as_of: datetime.date) -> Dataset:
        """Return the known users (and those of the environment), for the mode that adds nothing else.

        Rows are inserted where missing: a row whose key or unique value is there already is left as it is.
        """
