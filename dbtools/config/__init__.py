"""Settings: the project, the plan of a seed, and the database, from flags, environment and pyproject.toml.

A flag beats its environment variable, that beats [tool.dbtools] in pyproject.toml, and that beats the default. An empty
variable counts as unset.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dbtools.config.parse import parse_bool, parse_number, parse_shard
from dbtools.config.plan import SeedPlan, step_variables
from dbtools.config.project import NoProject, Project
from dbtools.config.table import LOCK_KEY
from dbtools.db.dsn import Dsn

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LOCK_KEY",
    "NoProject",
    "Project",
    "SeedPlan",
    "database",
    "parse_bool",
    "parse_number",
    "parse_shard",
    "step_variables",
]


def database(environ: Mapping[str, str] = os.environ) -> Dsn | None:
    """Return the database that DATABASE_URL names, or None if it is unset or empty.

    Raises:
        ConfigurationError: DATABASE_URL is malformed.
    """
    text = environ.get("DATABASE_URL")
    return Dsn.parse(text) if text else None
