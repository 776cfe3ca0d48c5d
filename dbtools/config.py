"""Settings: what the flags, the environment and [tool.dbtools] say, validated once.

Precedence: flag, then environment, then pyproject.toml, then default. An empty variable counts as unset.
"""

from __future__ import annotations

import datetime
import importlib
import os
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dbtools.db.dsn import MAX_NAME_BYTES, Dsn
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtools.application import Application

LOCK_KEY = 0x47524F4F  # "GROO": the key every program of the application takes, as pg_advisory_lock(1196576591)
SEED = 42
KEYS = {
    "application": str,
    "migrations": str,
    "races": str,
    "schema": str,
    "lock-key": int,
    "lock-timeout": float,
    "pool-size": int,
    "strategy": str,
    "allow-hosts": list,
    "protect": list,
}
STRATEGIES = ("swap", "in-place")


@dataclass(frozen=True)
class Project:
    """The project whose database is rebuilt: its folder and the table [tool.dbtools] of its pyproject.toml."""

    root: Path
    application_path: str
    migrations: Path
    races: Path = Path("races")
    """The folder of the race lab's scenarios."""
    schema: str = "public"
    lock_key: int = LOCK_KEY
    lock_timeout: float = 300.0
    """Seconds to wait for the seed lock; 0 tries once."""
    pool_size: int = 6
    """Connections the in-place chain may open: one for the lock, the rest for work."""
    strategy: str = "swap"
    """How a reset rebuilds the schema: "swap" (aside, then exchanged) or "in-place"."""
    allow_hosts: tuple[str, ...] = ()
    """Other machines whose databases may be destroyed (`GuardRules`)."""
    protect: tuple[str, ...] = ()
    """Patterns of databases that may not (`GuardRules`)."""

    @property
    def cache(self) -> Path:
        """A folder for what can be made again; git-ignored."""
        return self.root / ".dbtools" / "cache"

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """Return the project of the folder `start` (default: the current one) or of the nearest folder above it.

        Raises:
            ConfigurationError: There is none, or its table is wrong.
        """
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            path = folder / "pyproject.toml"
            if path.is_file():
                try:
                    table = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("dbtools")
                except tomllib.TOMLDecodeError as error:
                    raise ConfigurationError(
                        f"{path} cannot be read.", f"It is not valid TOML: {error}.", "Correct that line."
                    ) from None
                if table is not None:
                    return cls._from_table(folder, table)
        raise ConfigurationError(
            f"No project was found in {start} or above.",
            "dbtools looks for a pyproject.toml with a table [tool.dbtools].",
            'Add one: [tool.dbtools] application = "package.module:object", migrations = "migrations"',
        )

    @classmethod
    def _from_table(cls, root: Path, table: Mapping[str, Any]) -> Project:
        path = root / "pyproject.toml"
        for key, value in table.items():
            wanted = KEYS.get(key)
            if wanted is None:
                raise ConfigurationError(
                    f"[tool.dbtools] in {path} has an unknown key: {key!r}.",
                    f"Known keys: {', '.join(sorted(KEYS))}.",
                    "Correct or remove it.",
                )
            if not _fits(value, wanted):
                raise ConfigurationError(
                    f"[tool.dbtools] {key} in {path} is not of the right type.",
                    f"It is {value!r}; wanted {wanted.__name__}{' of str' if wanted is list else ''}.",
                    "Correct it.",
                )
        _check_schema(path, table.get("schema", "public"))
        for key in ("application", "migrations"):
            if key not in table:
                raise ConfigurationError(
                    f"[tool.dbtools] in {path} lacks the key {key!r}.",
                    "dbtools cannot guess which application to seed or where its migrations are.",
                    'For example: application = "package.module:object", migrations = "migrations"',
                )
        if table.get("strategy", "swap") not in STRATEGIES:
            raise ConfigurationError(
                f"[tool.dbtools] strategy in {path} is unknown: {table['strategy']!r}.",
                "",
                f"Choose one of: {', '.join(STRATEGIES)}.",
                UNCHANGED,
            )
        options: dict[str, Any] = {
            key.replace("-", "_"): tuple(value) if isinstance(value, list) else value
            for key, value in table.items()
            if key not in {"application", "migrations", "races"}
        }
        folders = {"migrations": root / table["migrations"], "races": root / table.get("races", "races")}
        return cls(root=root, application_path=table["application"], **folders, **options)

    def load_application(self) -> Application:
        """Import and return the application object.

        Raises:
            ConfigurationError: The module or the object is not there.
        """
        if str(self.root) not in sys.path:
            sys.path.insert(0, str(self.root))
        module_name, _, attribute = self.application_path.partition(":")
        try:
            return cast("Application", getattr(importlib.import_module(module_name), attribute))
        except (ModuleNotFoundError, AttributeError, ValueError) as error:
            raise ConfigurationError(
                f"The application {self.application_path!r} could not be loaded.",
                f"{error}.",
                'Name it in [tool.dbtools]: application = "package.module:object"',
            ) from error


@dataclass(frozen=True)
class SeedPlan:
    """What is to be in the database: the three arguments that fix every byte, and the users the environment names."""

    profile: str
    as_of: datetime.date
    seed: int = SEED
    known_users_only: bool = False
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def resolve(
        cls,
        application: Application,
        *,
        profile: str | None = None,
        as_of: str | None = None,
        seed: str | None = None,
        known_users_only: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> SeedPlan:
        """Return the plan that flags (the arguments) and environment ask for.

        Raises:
            ConfigurationError: An unknown profile, a date that is none, a seed that is no number.
        """
        name = profile or environ.get("SEED_PROFILE") or application.profiles[0]
        if name not in application.profiles:
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


def database(environ: Mapping[str, str] = os.environ) -> Dsn | None:
    """Return the database that DATABASE_URL names, or None where it is unset or empty.

    Raises:
        ConfigurationError: It is set and malformed.
    """
    text = environ.get("DATABASE_URL")
    return Dsn.parse(text) if text else None


def parse_bool(name: str, environ: Mapping[str, str]) -> bool:
    """Return the boolean variable `name`; unset and empty are false.

    Raises:
        ConfigurationError: It is neither true/1/yes/on nor false/0/no/off.
    """
    text = environ.get(name, "").strip().lower()
    if text in {"true", "1", "yes", "on"}:
        return True
    if text in {"", "false", "0", "no", "off"}:
        return False
    raise ConfigurationError(
        f"{name} is neither true nor false.",
        f"It is {text!r}.",
        f"Set {name}=true or {name}=false, or unset it.",
        UNCHANGED,
    )


def parse_number(name: str, text: str, *, low: float, high: float = float("inf"), whole: bool = True) -> float:
    """Return the number that `text` is, between `low` and `high`.

    Raises:
        ConfigurationError: It is not one. The message names the option `name`.
    """
    try:
        value = float(int(text)) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        limit = f"of at least {low:g}" if high == float("inf") else f"from {low:.0f} to {high:.0f}"
        raise ConfigurationError(
            f"{name} is not a number, or out of range: {text!r}.",
            f"Wanted a {'whole number' if whole else 'number'} {limit}.",
            f"For example: {name} {max(low, 10):g}",
            UNCHANGED,
        )
    return value


def _fits(value: object, wanted: type) -> bool:
    if isinstance(value, list):
        return wanted is list and all(isinstance(item, str) for item in value)
    return not isinstance(value, bool) and isinstance(value, (int, float) if wanted is float else wanted)


def _check_schema(path: Path, schema: str) -> None:
    """Refuse a schema that is PostgreSQL's own, or that the server would take for another one."""
    if not schema or "\0" in schema or len(schema.encode()) > MAX_NAME_BYTES:
        why = f"A schema's name has 1 to {MAX_NAME_BYTES} bytes; the server would cut a longer one"
    elif schema == "$user":
        why = "In a search_path that stands for the role's name"
    elif schema.startswith("pg_") or schema == "information_schema":
        why = "It belongs to PostgreSQL itself"
    else:
        return
    raise ConfigurationError(
        f"[tool.dbtools] schema in {path} cannot be {schema!r}.",
        f"{why}.",
        "Name the schema that holds the application's tables.",
        UNCHANGED,
    )


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
