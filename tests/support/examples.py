"""The projects of examples/: what is in their databases, and how their own programs are run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from dbtools.build.programs import find_program
from dbtools.db.dsn import Dsn
from tests.support.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVIRONMENTS = ROOT / ".dbtools" / "cache" / "examples"
HANG_S = 300
OBJECTS = "select count(*) from pg_class where relnamespace >= 16384 or relnamespace = 'public'::regnamespace"


@dataclass(frozen=True)
class Example:
    """One of them. Commands are words in its folder, with its own programs first on the path."""

    name: str
    table: str
    """What its pyproject.toml has for dbtools."""
    facts: str
    """A query about what it seeds."""
    expected: tuple[object, ...]
    """The answer after the commands of its page, one of which changes a file."""
    tests: tuple[str, ...]
    """Its own tests, which need a seeded database."""
    database: Mapping[str, str]
    """Variables that name the database to its own programs."""
    by_hand: tuple[str, ...]
    """What its developers type to migrate the database that its settings name."""
    settings: str | None
    """The file that names a database on db.example.com, which is not to be reached."""
    role: str
    environment: str | None = ".venv"
    """What scripts/example_environments.py made for it."""

    def __str__(self) -> str:
        return self.name


PYTEST = ("python", "-m", "pytest", "-q")
EXAMPLES = (
    Example(
        name="async-notes",
        table='seed = ["python", "-m", "notes.seed"]\n',
        facts="""select (select count(*) from notebooks), (select count(*) from notes),
                 (select version_num from alembic_version), to_regclass('ix_notes_notebook_id') is not null,
                 (select colour::text from notebooks where id = 2)""",
        expected=(2, 4, "0002", True, "blue"),
        tests=PYTEST,
        database={
            "NOTES_DB_HOST": "{host}:{port}",
            "NOTES_DB_NAME": "{dbname}",
            "NOTES_DB_USER": "{user}",
            "NOTES_DB_PASSWORD": "{password}",
        },
        by_hand=("alembic", "upgrade", "head"),
        settings=".env",
        role="notes",
    ),
    Example(
        name="django-clinic",
        table='migrate = ["python", "manage.py", "migrate"]\nseed = ["python", "manage.py", "loaddata", "demo"]\n',
        facts="""select (select count(*) from visits_species), (select count(*) from visits_visit),
                 (select count(*) from auth_permission), (select username from auth_user),
                 (select count(*) from django_migrations where app = 'visits')""",
        expected=(2, 2, 28, "vera", 2),
        tests=PYTEST,
        database={"CLINIC_DATABASE_URL": "postgresql:{address}"},
        by_hand=("python", "manage.py", "migrate"),
        settings="clinic/settings.py",
        role="clinic",
    ),
    Example(
        name="flask-shop",
        table='migrate = ["flask", "--app", "shop", "db", "upgrade"]\nseed = ["flask", "--app", "shop", "seed"]\n',
        facts="""select (select count(*) from product), (select count(*) from orders),
                 (select version_num from alembic_version), to_regclass('ix_orders_customer_id') is not null""",
        expected=(3, 6, "0002", True),
        tests=PYTEST,
        database={"FLASK_SQLALCHEMY_DATABASE_URI": "postgresql+psycopg2:{address}"},
        by_hand=("flask", "--app", "shop", "db", "upgrade"),
        settings="config.toml",
        role="shop",
    ),
    Example(
        name="node-tickets",
        table='migrate = ["npm", "run", "migrate"]\nseed = ["npm", "run", "seed"]\n'
        'inputs = ["drizzle/**", "drizzle.config.js", "src/**", "package-lock.json"]\n',
        facts="""select (select count(*) from tickets where status = 'open'), (select count(*) from clerks),
                 (select count(*) from drizzle.__drizzle_migrations), to_regclass('tickets_clerk_id') is not null""",
        expected=(2, 2, 2, True),
        tests=("node", "--test"),
        database={"DATABASE_URL": "postgresql:{address}"},
        by_hand=("npm", "run", "migrate"),
        settings=".env",
        role="tickets",
        environment="node_modules",
    ),
    Example(
        name="plain-sql",
        table='migrate = { sql = "db/*.sql" }\nseed = { sql = "seed.sql" }\n'
        'inputs = ["db/*.sql", "seed.sql", "books.csv"]\n',
        facts="""select (select count(*) from books), (select count(*) from available),
                 (select reader from loans), to_regclass('loans_one_at_a_time') is not null""",
        expected=(4, 3, "ada", True),
        tests=("psql", "-X", "-v", "ON_ERROR_STOP=1", "-f", "tests/library.sql"),
        database={},  # libpq's variables
        by_hand=("psql", "-X", "-v", "ON_ERROR_STOP=1", "-f", "db/001_tables.sql"),
        settings=None,
        role="library",
        environment=None,
    ),
)


@dataclass(frozen=True)
class Copy:
    """A copy of an example, with its environment."""

    example: Example
    folder: Path
    url: str
    """The database that dbtools is given."""
    other: str
    """The one that the example's settings name, and libpq's variables; "" where that is none that is there."""

    @classmethod
    def make(cls, example: Example, parent: Path, url: str, other: str = "") -> Copy:
        """Copy an example into a folder in `parent`, and have its settings name `other`."""
        folder = parent / example.name
        ignored = (".dbtools", ".venv", "node_modules", "__pycache__", ".pytest_cache")
        shutil.copytree(ROOT / "examples" / example.name, folder, ignore=shutil.ignore_patterns(*ignored))
        if example.environment == "node_modules" and shutil.which("npm") is None:
            pytest.skip("there is no npm here")
        if example.environment:
            made = ENVIRONMENTS / example.name / example.environment
            assert made.is_dir(), f"{made} is missing: nox -s examples makes it"
            (folder / example.environment).symlink_to(made)
        if example.settings and other:
            there, settings = Dsn.parse(other), folder / example.settings
            named = settings.read_text("utf-8")
            assert "db.example.com" in named
            settings.write_text(named.replace("db.example.com", f"{there.host}:{there.port}"), "utf-8")
        return cls(example, folder, url, other)

    @property
    def environ(self) -> dict[str, str]:
        """The variables of somebody who has dbtools in an environment of its own."""
        first, psql = Path(sys.executable).parent, find_program("psql", 16).parent
        ours = {"PATH": f"{first}:{os.environ['PATH']}:{psql}", "PYTHONPATH": str(ROOT), "DATABASE_URL": self.url}
        return ours | (_libpq(Dsn.parse(self.other)) if self.other else {})

    def invoke(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run tasks of dbtools. Invoke leaves out the second of two equal ones, unless it is told not to."""
        return self._run([sys.executable, "-m", "invoke", "--no-dedupe", *words], self.environ, code)

    def run_tests(self) -> subprocess.CompletedProcess[str]:
        """Run the example's own tests on the database that dbtools filled."""
        here = Dsn.parse(self.url)
        parts = {name: getattr(here, name) for name in ("host", "port", "user", "password", "dbname")}
        parts["address"] = self.url.removeprefix("postgresql:")
        named = {name: value.format(**parts) for name, value in self.example.database.items()}
        return self._run(self.example.tests, {**self._by_hand(), **_libpq(here), **named})

    def migrate_by_hand(self) -> None:
        """Migrate the other database, without dbtools."""
        self._run(self.example.by_hand, self._by_hand())

    def facts(self) -> tuple[object, ...]:
        """Return the answer to the example's query."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(self.example.facts).fetchone() or ()

    def objects_elsewhere(self) -> int:
        """Return how many tables, views and indexes the other database has."""
        with psycopg.connect(self.other) as connection:
            return int((connection.execute(OBJECTS).fetchone() or (0,))[0])

    def _by_hand(self) -> dict[str, str]:
        """Return the variables of a developer who knows nothing of dbtools."""
        kept = {name: value for name, value in self.environ.items() if name not in ("DATABASE_URL", "PYTHONPATH")}
        own = [self.folder / ".venv" / "bin", self.folder / "node_modules" / ".bin"]
        return kept | {"PATH": os.pathsep.join((*map(str, own), kept["PATH"]))}

    def _run(
        self, words: list[str] | tuple[str, ...], environ: Mapping[str, str], code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            words, cwd=self.folder, env={**os.environ, **environ}, text=True, capture_output=True, timeout=HANG_S
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done


def _libpq(database: Dsn) -> dict[str, str]:
    return {
        "PGHOST": database.host,
        "PGPORT": database.port,
        "PGUSER": database.user,
        "PGPASSWORD": database.password,
        "PGDATABASE": database.dbname,
    }
