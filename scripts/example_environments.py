#!/usr/bin/env python3
"""Give each project of examples/ an environment of its own, with the packages that its own files pin.

    scripts/dev python scripts/example_environments.py

An environment is .dbtools/cache/examples/NAME/.venv or .../node_modules; one that was made from the same files stays.
Python's packages are installed with uv, and with pip where uv cannot. Exits with 1 where an environment is missing.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".dbtools" / "cache" / "examples"


class CannotInstall(Exception):
    """An example has no environment; the message says why."""


def main() -> int:
    """Make what is missing or stale, and print one line for each example that stays without."""
    missing = 0
    with ThreadPoolExecutor() as pool:
        examples = sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir())
        for example, problem in zip(examples, pool.map(provide, examples), strict=True):
            if problem:
                missing += 1
                print(f"examples/{example.name} cannot be tested: {problem}", file=sys.stderr)
    return 1 if missing else 0


def provide(example: Path, cache: Path = CACHE) -> str:
    """Make the environment that a project's files ask for, in a folder of its name in `cache`.

    Returns why it cannot be made, "" where it is there.
    """
    folder = cache / example.name
    try:
        if (example / "requirements.txt").is_file():
            _make(example, folder, ("requirements.txt",), platform.python_version(), _install_python)
        if (example / "package-lock.json").is_file():
            if shutil.which("npm") is None:  # the tests of such an example are skipped, and say so; CI has npm
                return "there is no npm here, and CI is set." if os.environ.get("CI") else ""
            _make(
                example,
                folder,
                ("package-lock.json", "package.json", ".npmrc"),
                _run("node", "--version"),
                _install_node,
            )
    except CannotInstall as problem:
        return str(problem)
    return ""


def _make(example: Path, folder: Path, names: tuple[str, ...], version: str, install: Callable[[Path], None]) -> None:
    wanted = version + "".join((example / name).read_text("utf-8") for name in names)
    stamp = folder / "made-from"
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in names:
        shutil.copy(example / name, folder)
    install(folder)
    stamp.write_text(wanted, "utf-8")  # last, so that the next call repeats what was interrupted


def _install_python(folder: Path) -> None:
    venv = folder / ".venv"
    python, requirements = str(venv / "bin" / "python"), ("-r", str(folder / "requirements.txt"))
    try:
        _run("uv", "venv", "--quiet", "--python", sys.executable, str(venv))
        _run("uv", "pip", "install", "--quiet", "--python", python, *requirements)
    except CannotInstall:
        _run(sys.executable, "-m", "venv", "--clear", str(venv))
        _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)


def _install_node(folder: Path) -> None:
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1")
    _run("npm", "ci", *options, cwd=folder)


def _run(*command: str, cwd: Path = ROOT) -> str:
    """Run a command and return what it printed."""
    try:
        done = subprocess.run(command, cwd=cwd, text=True, capture_output=True, check=True)
    except FileNotFoundError:
        raise CannotInstall(f"there is no {command[0]} here.") from None
    except subprocess.CalledProcessError as problem:
        lines = [line for line in problem.stderr.splitlines() if line.strip()] or ["nothing"]
        said = next((line for line in lines if line.startswith(("ERROR:", "npm error"))), lines[-1])
        raise CannotInstall(
            f"its packages cannot be installed. Is the registry reachable from here? {_name(command)} said: {said}"
        ) from None
    return done.stdout


def _name(command: tuple[str, ...]) -> str:
    return next(name for name in ("npm", "pip", "uv", "venv", command[0]) if name in command)


if __name__ == "__main__":
    sys.exit(main())
