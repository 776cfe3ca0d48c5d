"""Carry everything from one server to one of a later version: dumped and restored, database by database.

Roles come first, by pg_dumpall; then each database, whole, by pg_dump, with its owner, grants, comments, settings and
large objects. All programs are those of the newer server. No password is on a command line.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.db.sql import quote
from dbtools.errors import ServerError
from dbtools.server.cluster import DATABASE, ROLE, SUPERUSER
from dbtools.server.private import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

    from dbtools.server.binaries import Binaries
    from dbtools.server.private import PrivateServer

PROGRAMS = ("pg_dumpall", "psql", "pg_dump", "pg_restore")


def check_programs(binaries: Binaries) -> None:
    """Refuse a server whose client programs are not beside it.

    Raises:
        ServerError: Names those that are missing.
    """
    if missing := [name for name in PROGRAMS if not (binaries.bin / name).is_file()]:
        raise ServerError(
            f"An upgrade to PostgreSQL {binaries.major} needs {', '.join(missing)}.",
            f"Its programs are those in {binaries.bin}, and what dumps and restores is not among them.",
            f"Install all of PostgreSQL {binaries.major} (Debian: postgresql-{binaries.major}), and name its folder:"
            f" --server /usr/lib/postgresql/{binaries.major}/bin",
        )


def carry_roles(old: PrivateServer, new: PrivateServer, programs: Path) -> None:
    """Give `new`, which was just made, the roles of `old`, with their passwords and settings.

    Raises:
        ServerError: A program failed; in its words.
    """
    with new.connect() as connection:
        connection.execute(f"drop database {DATABASE}")
        connection.execute(f"drop role {ROLE}")
    with tempfile.TemporaryFile() as dumped, tempfile.TemporaryFile() as script:
        dump = [str(programs / "pg_dumpall"), "--globals-only", f"--database={TEMPLATE}"]
        _finish("The roles", [_start(dump, old.environment(), stdout=dumped)])
        dumped.seek(0)
        # The superuser is there, and PostgreSQL has no way to make it only where it is not.
        script.write(dumped.read().replace(f"\nCREATE ROLE {SUPERUSER};\n".encode(), b"\n", 1))
        script.seek(0)
        replay = [str(programs / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
        _finish("The roles", [_start(replay, new.environment(), stdin=script)])


def carry_database(old: PrivateServer, new: PrivateServer, programs: Path, name: str) -> None:
    """Give `new` the database `name` of `old`, in the place of one that has its name there.

    Raises:
        ServerError: A program failed; in its words.
    """
    meanwhile = "postgres" if name == TEMPLATE else TEMPLATE  # a database is not replaced from within
    dump = [str(programs / "pg_dump"), "--format=custom", "--compress=0"]
    restore = [str(programs / "pg_restore"), "--clean", "--if-exists", "--create", "--exit-on-error"]
    dumping = _start(dump, old.environment(name), stdout=subprocess.PIPE)
    stream = dumping.process.stdout
    assert stream is not None
    restoring = _start([*restore, f"--dbname={meanwhile}"], new.environment(meanwhile), stdin=stream)
    stream.close()  # or pg_dump would not notice that pg_restore has ended
    _finish(f"Database {name}", [dumping, restoring])


def drop_databases(new: PrivateServer, names: Sequence[str]) -> None:
    """Drop what a new server has and the old one has not."""
    with new.connect() as connection:
        for name in names:
            connection.execute(f"drop database {quote(name)}")


@dataclass(frozen=True)
class _Running:
    name: str
    process: subprocess.Popen[bytes]
    said: IO[bytes]
    """Its standard error."""


def _start(
    command: Sequence[str],
    environment: Mapping[str, str],
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stdout: IO[bytes] | int = subprocess.DEVNULL,
) -> _Running:
    said = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it was read
    process = subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout, stderr=said)
    return _Running(Path(command[0]).name, process, said)


def _finish(what: str, running: Sequence[_Running]) -> None:
    """Wait for programs that work together, and raise what those said that failed."""
    failed = []
    for program in running:
        code = program.process.wait()
        program.said.seek(0)
        with program.said as file:
            said = " ".join(file.read().decode("utf-8", "replace").split())
        if code:
            # Warnings may precede what ended it, and the statement that failed follows it.
            error = re.search(r"\S+ (error|ERROR|FATAL): .*?(?= Command was: |$)", said)
            failed.append(error[0] if error else f"{program.name}: exit code {code}. {said}".strip(" ."))
    if failed:
        raise ServerError(
            f"{what} could not be carried over.",
            f"{'; '.join(failed).rstrip('.')}.",
            "Mend that on the server of the older version, and run this again.",
        )
