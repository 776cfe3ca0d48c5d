"""GroomBook as dbtools sees it: the object that `[tool.dbtools] seed` names."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from dbtools.application import Invariant
    from dbtools.dataset import Dataset
    from groombook.load import Load


class GroomBook:
    """The sample application. Its parts are imported when asked for, so that naming it costs nothing."""

    @property
    def profiles(self) -> Sequence[str]:
        """The names: dev, which is the default, uat and demo."""
        from groombook.profiles import PROFILES

        return tuple(PROFILES)

    @property
    def invariants(self) -> Sequence[Invariant]:
        """The rules of the seeded data as SQL."""
        from groombook.invariants import INVARIANTS

        return INVARIANTS

    def generate(self, profile: str, seed: int, as_of: dt.date) -> Dataset:
        """Return the rows of a profile; see `groombook.generate.generate`."""
        from groombook.generate import generate

        return generate(profile, seed, as_of)

    def environment_users(self, environ: Mapping[str, str], as_of: dt.date) -> Dataset:
        """Return the users of the environment; see `groombook.known_users.environment_users`."""
        from groombook.known_users import environment_users

        return environment_users(environ, as_of)

    def known_users(self, environ: Mapping[str, str], as_of: dt.date) -> Dataset:
        """Return the known users; see `groombook.known_users.known_users`."""
        from groombook.known_users import known_users

        return known_users(environ, as_of)

    def load(self, scale: int, seed: int, as_of: dt.date) -> Load:
        """Return millions of rows in blocks; see `groombook.load.Load`.

        Raises:
            ConfigurationError: NumPy is missing, or as for `Load`.
        """
        try:
            from groombook.load import Load
        except ModuleNotFoundError as error:
            if error.name != "numpy":
                raise
            raise ConfigurationError(
                "GroomBook's load needs NumPy, which this Python does not have.",
                f"{sys.executable} computes millions of rows with it.",
                "Install it: pip install numpy",
                UNCHANGED,
            ) from None
        return Load(scale, seed, as_of)


application = GroomBook()
