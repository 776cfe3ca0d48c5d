"""The project's Python: dbtools may live in an environment of its own, and the steps run in the project's."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtools.config import Project

FOLDERS = (".venv", "venv")
"""Where uv, poetry, pdm and people put a project's environment."""


def find_interpreter(project: Project, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the Python that runs the project's code.

    It is the one that [tool.dbtools] `python` names; else that of an active environment in the project's folder, of the
    folder's .venv or venv, or of another active environment; else the one that runs dbtools.

    Raises:
        ConfigurationError: `python` names something that cannot be run.
    """
    if project.python is not None:
        if not _runs(project.python):
            raise ConfigurationError(
                f"[tool.dbtools] python in {project.root / 'pyproject.toml'} cannot be {str(project.python)!r}.",
                "There is no program in that place. Wanted the path of an interpreter.",
                'Make that environment, for example with python -m venv .venv; or name another Python: python = "...";'
                " or leave it out, and .venv or venv is found.",
                UNCHANGED,
            )
        return project.python
    active = [Path(environ[name]) for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if environ.get(name)]
    inside = [folder for folder in active if folder.absolute().is_relative_to(project.root)]
    for folder in (*inside, *(project.root / name for name in FOLDERS), *active):
        if _runs(folder / "bin" / "python"):
            return folder / "bin" / "python"
    return Path(sys.executable)


def environment_of(interpreter: Path) -> Path | None:
    """Return the folder of the virtual environment that an interpreter belongs to, None where it is in none."""
    folder = interpreter.parent.parent
    return folder if (folder / "pyvenv.cfg").is_file() else None


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
