"""Where a set-up's packages are: an environment of its own, installed once from the registries and then kept."""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.server.folders import locked
from scripts.adopt.processes import Failed, run

if TYPE_CHECKING:
    from scripts.adopt.setups import Setup

CACHE = Path(__file__).parents[2] / ".dbtools" / "adopt"
COMPLETE = "complete"
"""A file that is written when all is installed: an installation that was cut off is begun anew."""


def missing(setup: Setup) -> str:
    """Return the program that installing the set-up needs and that is not here, or ""."""
    return "npm" if (setup.folder / "package.json").is_file() and not shutil.which("npm") else ""


def environment(setup: Setup) -> Path:
    """Return the folder with the `.venv`, the `node_modules` or both of a set-up; install what is missing.

    Raises:
        Failed: A registry did not give what the set-up's pins name.
    """
    key = hashlib.sha256(platform.python_version().encode())
    for path in setup.pin_files:
        key.update(path.name.encode() + path.read_bytes())
    home = CACHE / f"{setup.name}-{key.hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / f"{setup.name}.lock"):
        if not (home / COMPLETE).exists():
            for old in CACHE.glob(f"{setup.name}-????????????"):
                shutil.rmtree(old)
            home.mkdir()
            for path in setup.pin_files:
                shutil.copy2(path, home)
                (_install_python if path.suffix == ".txt" else _install_node)(home)
            (home / COMPLETE).touch()
    return home


def _install_python(home: Path) -> None:
    venv, wanted = home / ".venv", home / "requirements.txt"
    if uv := _uv():
        run([uv, "venv", "--quiet", "--python", sys.executable, str(venv)], home)
        try:
            install = [uv, "pip", "install", "--quiet", "--python", str(venv / "bin" / "python"), "--compile-bytecode"]
            run([*install, "-r", str(wanted)], home)
            return
        except Failed:  # as in scripts/dev: uv does not know the index that pip is configured for
            shutil.rmtree(venv)
    run([sys.executable, "-m", "venv", str(venv)], home)
    run([str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)], home)


def _install_node(home: Path) -> None:
    run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"], home)


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv")
