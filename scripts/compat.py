#!/usr/bin/env python3
"""Run the unit tests and the core of the live ones on each Python and each PostgreSQL that is supported and here.

    nox -s compat                      all rows; says what was not found
    nox -s compat -- 3.12 floors       the rows whose names contain one of these words
    nox -s compat -- --python PATH     one more interpreter
    nox -s compat -- --unit 3.13       of a Python's row the unit tests alone
    nox -s compat -- --list

A row is a Python (of pyenv, of uv, on PATH, the distribution's, that of scripts/debian_python), the lowest versions of
the packages that dbtools and a project's own environment may have, or a PostgreSQL: of the wheel, of the distribution,
and those that scripts/npm_postgres.py has fetched. The last row runs the whole chain on all of these servers and
compares what they hold. Environments are made in .dbtools/cache/compat and kept. Exits with 1 if a row failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dbtools.console import table  # noqa: E402 - found through the line above
from dbtools.server.sources import programs_in, sources  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CACHE = ROOT / ".dbtools" / "cache" / "compat"
FETCHED = ROOT / ".dbtools" / "cache" / "postgres"
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
PROJECT = (ROOT / "tests" / "compat" / "requirements-floors.txt").read_text("utf-8")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MAJORS = (14, 15, 16, 17, 18)
LIVE = "build chain digest drop effects in_place lock refusals seeding silence snapshot swap table_locks versions wait"
CORE = tuple(f"tests/live/test_{name}.py" for name in LIVE.split())
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses=2", "--dist=worksteal")


@dataclass(frozen=True)
class Environment:
    """Packages for one interpreter, in a folder of the cache."""

    name: str
    python: Path
    packages: str = LOCK
    """As a file of requirements."""
    instead: tuple[str, ...] = ()
    """Versions that replace those."""

    def make(self) -> Path:
        """Return its interpreter; make it anew where it was made for something else."""
        folder = CACHE / self.name
        made = folder / "bin" / "python"
        stamp, wanted = folder / "made-from", f"{self.python}\n{self.packages}\n{self.instead}"
        if stamp.is_file() and stamp.read_text("utf-8") == wanted and made.exists():
            return made
        shutil.rmtree(folder, ignore_errors=True)
        if shutil.which("uv"):  # ten times faster; and Debian's python3 may lack ensurepip
            check("uv", "venv", "--quiet", "--python", str(self.python), str(folder))
            install = ("uv", "pip", "install", "--quiet", "--python", str(made))
        else:
            check(str(self.python), "-m", "venv", str(folder))
            install = (str(made), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        requirements = folder / "requirements.txt"
        requirements.write_text(self.packages, "utf-8")
        check(*install, "-r", str(requirements))
        if self.instead:
            check(*install, *self.instead)
        stamp.write_text(wanted, "utf-8")  # last, so that the next call repeats what was interrupted
        return made


@dataclass(frozen=True)
class Row:
    """What is run, by which interpreter."""

    name: str
    arguments: tuple[str, ...]
    environment: Environment | None = None
    """None: this one."""
    project: Environment | None = None
    """That of a project, for its test."""
    programs: tuple[Path, ...] = field(default=())
    """Folders that go before those of PATH."""

    def run(self) -> str:
        """Run it; return "passed", or what failed."""
        environ = os.environ | {"PATH": os.pathsep.join([*map(str, self.programs), os.environ["PATH"]])}
        try:
            python = self.environment.make() if self.environment else Path(sys.executable)
            if self.project:
                environ["COMPAT_PROJECT_PYTHON"] = str(self.project.make())
        except subprocess.CalledProcessError:
            return "FAILED: the packages cannot be installed"
        environ["PATH"] = os.pathsep.join([str(python.parent), environ["PATH"]])
        code = subprocess.run([str(python), *self.arguments], cwd=ROOT, env=environ, check=False).returncode
        return "passed" if code == 0 else f"FAILED: exit {code}"


def main() -> int:
    """Run the chosen rows, print one table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="nox -s compat --", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("words", nargs="*", help="run the rows whose names contain one of these")
    parser.add_argument("--python", action="append", default=[], type=Path, help="one more interpreter")
    parser.add_argument("--unit", action="store_true", help="run the rows of Pythons, and the unit tests alone")
    parser.add_argument("--list", action="store_true", help="name the rows and run none")
    chosen = parser.parse_args()
    pythons, servers = find_pythons(chosen.python), find_servers()
    here = {version.rpartition(".")[0] for version in pythons}
    missing = [f"Python {minor}" for minor in PYTHONS if minor not in here]
    missing += [f"PostgreSQL {major}" for major in MAJORS if major not in servers]
    print(f"Not found here: {', '.join(missing)}." if missing else "Every version was found.", flush=True)
    rows = [row for row in make_rows(pythons, servers) if any(word in row.name for word in chosen.words or [""])]
    if chosen.unit:
        unit = (*PYTEST, "tests/unit")
        rows = [replace(row, arguments=unit) for row in rows if row.name.startswith("Python ")]
    if not rows:
        print(f"No row has {' or '.join(map(repr, chosen.words))} in its name: see --list.", file=sys.stderr)
        return 2
    if chosen.list:
        print("\n".join(row.name for row in rows))
        return 0
    cells = []
    for row in rows:
        print(f"== {row.name}", flush=True)
        began = time.monotonic()
        cells.append((row.name, row.run(), f"{time.monotonic() - began:.0f}"))
    print(table(("row", "result", "s"), cells))
    return 0 if all(result == "passed" for _, result, _ in cells) else 1


def make_rows(pythons: dict[str, Path], servers: dict[int, Path]) -> Iterator[Row]:
    """Yield all rows that can be run here."""
    everything = (*PYTEST, "tests/unit", *CORE)
    for version, path in pythons.items():
        yield Row(f"Python {version}", everything, Environment(f"python-{version}", path))
    oldest = next(iter(pythons.values()))
    floors = Environment("floors", oldest, instead=tuple(lowest()))
    yield Row(f"floors: {', '.join(floors.instead)}", everything, floors)
    project = Environment("project-floors", oldest, PROJECT)
    pins = ", ".join(line for line in PROJECT.splitlines() if "==" in line)
    yield Row(f"floors of a project: {pins}", (*PYTEST, "tests/compat"), project=project)
    for major, folder in servers.items():
        yield Row(f"PostgreSQL {major}", (*PYTEST, *CORE, f"--pg-server={folder}"), programs=(folder,))
    options = [f"--server={folder}" for folder in servers.values()]
    yield Row("the chain on every PostgreSQL", ("scripts/e2e.py", *options))


def lowest() -> Iterator[str]:
    """Yield pins to the lowest versions of dbtools' own dependencies."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    block = text.partition("\ndependencies = [")[2].partition("\n]")[0]
    yield from (name.replace(">=", "==") for name in re.findall(r'"(.+?>=.+?)"', block))


def find_pythons(more: Iterable[Path]) -> dict[str, Path]:
    """Return the interpreters by their full versions, the oldest first."""
    candidates = [*more, Path("/usr/bin/python3"), Path(sys.executable)]
    candidates += sorted(Path.home().glob(".pyenv/versions/*/bin/python"))
    candidates += sorted(Path.home().glob(".local/share/uv/python/*/bin/python3"))
    candidates.append(CACHE / "debian" / "usr" / "bin" / "python3")
    candidates += [Path(on_path) for minor in PYTHONS if (on_path := shutil.which(f"python{minor}"))]
    found: dict[str, Path] = {}
    for path in candidates:
        if version := version_of(path):
            found.setdefault(version, path)
    return dict(sorted(found.items(), key=lambda item: [int(part) for part in item[0].split(".")]))


def version_of(python: Path) -> str:
    """Return an interpreter's version, such as "3.12.1"; "" where it does not run, or is none of `PYTHONS`."""
    code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    version = done.stdout.strip()
    return version if version.rpartition(".")[0] in PYTHONS else ""


def find_servers() -> dict[int, Path]:
    """Return the folders of servers' programs by major version: the first that dbtools would take, then the fetched."""
    found: dict[int, Path] = {}
    for binaries in [*sources(), *map(programs_in, sorted(FETCHED.glob("*/native/bin")))]:
        if binaries.major in MAJORS:
            found.setdefault(binaries.major, binaries.bin)
    return dict(sorted(found.items()))


def check(*command: str) -> None:
    """Run a command, and let it say why it fails."""
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
