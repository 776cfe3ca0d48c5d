"""A small project in plain SQL, a database, and the two ways to bring it to the project's content."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.db.dsn import Dsn
from dbtools.server.embedded import EmbeddedServer
from dbtools.server.sources import find_binaries
from scripts.bench.measure import ROOT, clean_environment, run, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = """
[tool.dbtools]
migrate = { sql = "schema.sql" }
seed = { sql = "rows.sql" }
inputs = ["*.sql"]
variables = []
"""
ROOMY = "1024"
"""The setting max_locks_per_transaction of servers that are to have room for all sizes."""


class Site:
    """The project and its server."""

    def __init__(self, root: Path, server: EmbeddedServer) -> None:
        self.root = root
        self.server = server
        self.use(server)
        self._dump = root / "dump"

    def use(self, server: EmbeddedServer) -> None:
        """Take the database of this server from here on."""
        dsn = Dsn.parse(server.url)
        self.environ = clean_environment() | {
            "DATABASE_URL": server.url,
            "PGPASSWORD": dsn.password,
            "PYTHONPATH": str(ROOT),
        }
        programs = find_binaries().bin
        address = dsn.without_password().url
        self.psql = [str(programs / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-d", address]
        self._pg_dump = [str(programs / "pg_dump"), "--clean", "--if-exists", "-d", address]

    def fill(self, tables: int, rows: int) -> None:
        """Have the project make so many tables, with so many rows in each, and bring the database to that."""
        numbers = range(1, tables + 1)
        schema = "create table t{0} (id int primary key, name text not null, price numeric, made timestamptz);"
        content = (
            "insert into t{0} select n, 'name ' || n, n / 100.0, '2026-01-01'::timestamptz + n * interval '1 s'"
            f" from generate_series(1, {rows}) n;"
        )
        for name, text in (("schema", schema), ("rows", content)):
            lines = ["begin;", *(text.format(number) for number in numbers), "commit;"]
            (self.root / f"{name}.sql").write_text("\n".join(lines), "utf-8")
        run(self.command(), self.environ, self.root)
        run([*self._pg_dump, "-f", str(self._dump)], self.environ)

    def command(self, task: str = "reset", *options: str) -> list[str]:
        """Return the command of a task."""
        return [sys.executable, "-m", "dbtools", task, *options]

    def replay(self, first: str = "") -> list[str]:
        """Return the command that replays the dump in one transaction, after the statement `first`."""
        return [*self.psql, "-1", *(["-c", first] if first else []), "-f", str(self._dump)]

    def time_reset(self, *options: str) -> float:
        """Return the seconds of a whole process that resets the database."""
        return seconds(partial(run, self.command("reset", *options), self.environ, self.root))

    def time_replay(self) -> float:
        """Return the seconds of the whole process of psql that replays the dump."""
        return seconds(partial(run, self.replay(), self.environ))

    def outcome(self, command: list[str]) -> str:
        """Run a command that may be refused; return "done", or "out of locks".

        Raises:
            AssertionError: It failed for another reason.
        """
        ended = subprocess.run(command, cwd=self.root, env=self.environ, capture_output=True, text=True, check=False)
        if ended.returncode == 0:
            return "done"
        assert "max_locks_per_transaction" in ended.stderr, ended.stderr
        return "out of locks"


@contextmanager
def site(settings: dict[str, str] | None = None) -> Iterator[Site]:
    """Have a project and a server of its own in the block."""
    with (
        tempfile.TemporaryDirectory(prefix="dbtools-growth-") as folder,
        EmbeddedServer.start(settings={"max_locks_per_transaction": ROOMY, **(settings or {})}) as server,
    ):
        root = Path(folder) / "growth"
        root.mkdir()
        (root / "pyproject.toml").write_text(TABLE, "utf-8")
        yield Site(root, server)
