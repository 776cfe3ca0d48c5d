"""The plan of a seed: the profile, the day and the seed number, from flags and the environment."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbtools.config.parse import parse_bool, parse_number
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtools.application import Application

SEED = 42


@dataclass(frozen=True)
class SeedPlan:
    """The content to seed: profile, day and seed number fix every byte; `environ` may name users to add."""

    profile: str
    as_of: datetime.date
    seed: int = SEED
    known_users_only: bool = False
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def resolve(
        cls,
        application: Application | None,
        *,
        profile: str | None = None,
        as_of: str | None = None,
        seed: str | None = None,
        known_users_only: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> SeedPlan:
        """Return the plan from flags (the arguments) and environment. A flag beats its variable.

        Without an application, the project's own programs read the variables; whatever profile they know is right.

        Raises:
            ConfigurationError: The profile is unknown, or a date, the seed or a boolean is malformed.
        """
        name = profile or environ.get("SEED_PROFILE") or (application.profiles[0] if application else "")
        if application and name not in application.profiles:
            source = "--profile" if profile else "SEED_PROFILE"
            raise ConfigurationError(
                f"{source} names an unknown profile: {name!r}.",
                "",
                f"Choose one of: {', '.join(application.profiles)}.",
                UNCHANGED,
            )
        return cls(
            profile=name,
            as_of=_date(as_of, "--as-of") or _date(environ.get("SEED_AS_OF"), "SEED_AS_OF") or _today(),
            seed=int(parse_number("--seed", seed, low=-(2**31), high=2**32 - 1)) if seed else SEED,
            known_users_only=known_users_only or parse_bool("SEED_KNOWN_USERS_ONLY", environ),
            environ=environ,
        )


def step_variables(profile: str, as_of: str, seed: str) -> dict[str, str]:
    """Return the variables by which flags reach the project's own programs; a flag that was not given has none."""
    given = {"SEED_PROFILE": profile, "SEED_AS_OF": as_of, "SEED_NUMBER": seed}
    return {name: text for name, text in given.items() if text}


def _date(text: str | None, source: str) -> datetime.date | None:
    if not text:
        return None
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{source} is not a date: {text!r}.",
            "Wanted year, month and day.",
            f"For example: {source} 2026-11-23",
            UNCHANGED,
        ) from None


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()
