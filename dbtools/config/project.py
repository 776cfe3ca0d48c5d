"""The project: the table [tool.dbtools] of its pyproject.toml, validated once."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dbtools.config.table import LOCK_KEY, SNAPSHOT_CACHE_BYTES, read_table
from dbtools.errors import UNCHANGED, ConfigurationError
from dbtools.server.requirements import Requirements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtools.application import Application
    from dbtools.config.steps import Step


class NoProject(ConfigurationError):
    """Neither the folder nor one above it has a table [tool.dbtools]."""


@dataclass(frozen=True)
class Project:
    """The project whose database is rebuilt: its folder and the table [tool.dbtools] of its pyproject.toml."""

    root: Path
    migrate: tuple[Step, ...] = ()
    """The steps that make the schema, in order."""
    seed: tuple[Step, ...] = ()
    """The steps that fill it, in order."""
    inputs: tuple[str, ...] | None = None
    """Patterns of the files that decide the content; None: they are found."""
    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Variables of all steps, with placeholders such as {dbname} still in them."""
    variables: tuple[str, ...] | None = None
    """Patterns of the variables that decide the content; None: they are found."""
    python: Path | None = None
    """The project's interpreter; None: it is found."""
    schemas: tuple[str, ...] | None = None
    """The schemas that belong to the application; None: they are found."""
    races: Path = Path("races")
    """The folder with the race lab's scenarios."""
    schema: str = "public"
    """The first of `schemas`."""
    lock_key: int = LOCK_KEY
    lock_timeout: float = 300.0
    """Seconds to wait for the seed lock, and for tables in use; 0 tries once."""
    pool_size: int = 6
    """Connections that a run may open: of those of a migrate, one holds the lock."""
    strategy: str = "swap"
    """How a reset rebuilds the schema: "swap" (built aside, then exchanged) or "in-place"."""
    allow_hosts: tuple[str, ...] = ()
    """Other machines whose databases may be destroyed (`GuardRules`)."""
    protect: tuple[str, ...] = ()
    """Patterns of databases that may not be destroyed (`GuardRules`)."""
    snapshot_cache_bytes: int = SNAPSHOT_CACHE_BYTES
    """How large the cache of snapshots may grow."""
    server: Requirements = field(default_factory=Requirements)
    """The table [tool.dbtools.server]."""

    @cached_property
    def cache(self) -> Path:
        """The folder for files that dbtools can make again.

        It is below DBTOOLS_CACHE, else in the project, git-ignored; where that is read-only, below XDG_CACHE_HOME, if
        that is set.
        """
        place = self.root / ".dbtools" / "cache"
        here = next(folder for folder in (place, *place.parents) if folder.exists())
        shared = os.environ.get("DBTOOLS_CACHE") or ("" if os.access(here, os.W_OK) else _user_cache())
        if not shared:
            return place
        import hashlib

        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()  # the name is for people
        return Path(shared) / f"{self.root.name}-{digest[:8]}"

    @property
    def application_path(self) -> str:
        """The object whose rows are seeded, "package.module:object"; "" where no step is `rows`."""
        return next((step.words[0] for step in self.seed if step.kind == "rows"), "")

    @property
    def migrations(self) -> Path:
        """The folder of Alembic's revisions. To be removed with its last user: a step's Alembic knows it by itself."""
        return self.root / "migrations"

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """Return the project of the folder `start` (default: the current one) or of its nearest parent that has one.

        Raises:
            NoProject: There is none.
            ConfigurationError: Its table is wrong.
        """
        start = (start or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            path = folder / "pyproject.toml"
            if path.is_file():
                tools = _read(path).get("tool", {})
                table = tools.get("dbtools")
                if table is not None:
                    return cls(root=folder, **read_table(path, table, has_alembic="alembic" in tools))
        raise NoProject(
            f"No project was found in {start} or above.",
            "dbtools looks for a pyproject.toml with a table [tool.dbtools].",
            'In the project\'s folder dbtools init writes one; by hand: [tool.dbtools] migrate = "alembic"',
            UNCHANGED,
        )

    def load_application(self) -> Application | None:
        """Import and return the object whose rows are seeded, None where no step is `rows`.

        Raises:
            ConfigurationError: The module or the object does not exist.
        """
        if not self.application_path:
            return None
        wanted = 'Name it in [tool.dbtools]: seed = { rows = "package.module:object" }'
        if str(self.root) not in sys.path:
            sys.path.insert(0, str(self.root))
        module_name, _, attribute = self.application_path.partition(":")
        try:
            return cast("Application", getattr(importlib.import_module(module_name), attribute))
        except (ModuleNotFoundError, AttributeError, ValueError) as error:
            raise ConfigurationError(
                f"The application {self.application_path!r} could not be loaded.", f"{error}.", wanted
            ) from error


def _user_cache() -> str:
    place = os.environ.get("XDG_CACHE_HOME", "")
    return place and f"{place}/dbtools/projects"


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:  # TOMLDecodeError, or bytes that are not UTF-8
        raise ConfigurationError(
            f"{path} cannot be read.", f"It is not valid TOML: {error}.", "Correct that line.", UNCHANGED
        ) from None
