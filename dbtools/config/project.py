"""The project: the table [tool.dbtools] of its pyproject.toml, validated once."""

from __future__ import annotations

import importlib
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dbtools.db.dsn import MAX_NAME_BYTES
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtools.application import Application

LOCK_KEY = 0x47524F4F  # "GROO": every program of the application calls pg_advisory_lock(1196576591)
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
    """The folder with the race lab's scenarios."""
    schema: str = "public"
    lock_key: int = LOCK_KEY
    lock_timeout: float = 300.0
    """Seconds to wait for the seed lock, and for tables in use; 0 tries once."""
    pool_size: int = 6
    """Connections that a run in place may open: one for the lock, the rest for work."""
    strategy: str = "swap"
    """How a reset rebuilds the schema: "swap" (built aside, then exchanged) or "in-place"."""
    allow_hosts: tuple[str, ...] = ()
    """Other machines whose databases may be destroyed (`GuardRules`)."""
    protect: tuple[str, ...] = ()
    """Patterns of databases that may not be destroyed (`GuardRules`)."""

    @property
    def cache(self) -> Path:
        """The folder for files that dbtools can make again; git-ignored."""
        return self.root / ".dbtools" / "cache"

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """Return the project of the folder `start` (default: the current one) or of its nearest parent that has one.

        Raises:
            ConfigurationError: There is no project, or its table is wrong.
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
            ConfigurationError: The module or the object does not exist.
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


def _fits(value: object, wanted: type) -> bool:
    if isinstance(value, list):
        return wanted is list and all(isinstance(item, str) for item in value)
    return not isinstance(value, bool) and isinstance(value, (int, float) if wanted is float else wanted)


def _check_schema(path: Path, schema: str) -> None:
    """Refuse a schema that belongs to PostgreSQL, or whose name the server would read as another one."""
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
