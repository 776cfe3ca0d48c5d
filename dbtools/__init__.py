"""Rebuild a PostgreSQL database to a known state as one unit that no concurrent run can break.

The public names, for the application that dbtools rebuilds:

- `Application`, `Invariant`: what an application offers to dbtools.
- `Dataset`, `TableRows`: the rows that it wants in its database.
- `DbtoolsError`: the base of every error that dbtools raises on purpose (see `dbtools.errors`).

These modules are public as well: `dbtools.commands` (the Invoke tasks), `dbtools.testing` (the pytest plugin),
`dbtools.config` (the settings), `dbtools.server` (servers for tests) and `dbtools.races` (the race lab).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbtools.application import Application, Invariant
    from dbtools.dataset import Dataset, TableRows
    from dbtools.errors import DbtoolsError

__version__ = "0.1.0"
__all__ = ["Application", "Dataset", "DbtoolsError", "Invariant", "TableRows", "__version__"]

_MODULES = {
    "Application": "dbtools.application",
    "Dataset": "dbtools.dataset",
    "DbtoolsError": "dbtools.errors",
    "Invariant": "dbtools.application",
    "TableRows": "dbtools.dataset",
}

if not TYPE_CHECKING:  # a type checker would take every misspelt name for one of these

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used, so that `import dbtools` stays cheap."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)
