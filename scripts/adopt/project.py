"""A copy of a set-up's project whose settings name a database, and the commands that are typed in it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.db.dsn import Dsn
from scripts.adopt.processes import run
from scripts.adopt.setups import ABOUT

if TYPE_CHECKING:
    from scripts.adopt.setups import Setup

ROOT = Path(__file__).parents[2]
TASKS = "from dbtools.commands import namespace\n"
IGNORED = ".venv\nnode_modules\n.dbtools/\n__pycache__/\n"
# Neither the checkout nor its packages come onto the path of the steps, as they would by PYTHONPATH.
INVOKE = f"import sys; sys.path.append({str(ROOT)!r}); from invoke.main import program; program.run()"
REVISIONS = """
import pathlib, sys
from alembic.script import ScriptDirectory
scripts, versions, *heads = sys.argv[1:]
folders = {str(path.parent) for path in pathlib.Path(versions).rglob("*.py")}
history = ScriptDirectory(scripts, version_locations=sorted(folders))
print(len(list(history.iterate_revisions(heads, "base"))))
"""


class Project:
    """A set-up's project in a folder of its own."""

    def __init__(self, setup: Setup, home: Path, folder: Path, url: str) -> None:
        """Copy the files, with the database of `url` wherever a setting names one, and link the packages of `home`."""
        self.setup, self.folder = setup, folder
        shutil.copytree(setup.folder, folder, ignore=shutil.ignore_patterns(ABOUT, "__pycache__"))
        (folder / "tasks.py").write_text(TASKS, "utf-8")
        (folder / ".gitignore").write_text(IGNORED, "utf-8")
        dsn = Dsn.parse(url)
        self._parts = {name: getattr(dsn, name) for name in ("host", "port", "user", "password", "dbname")}
        self._parts |= {"address": url.partition("://")[2], "here": str(folder)}
        for path in folder.rglob("*"):
            if path.is_file():
                path.write_text(self._fill(path.read_text("utf-8")), "utf-8")
        for name in (".venv", "node_modules"):
            if (home / name).exists():
                (folder / name).symlink_to(home / name)
        run(["git", "init", "--quiet"], folder)
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("PG", "SEED_", "DBTOOLS_"))}
        for name in ("DATABASE_URL", "VIRTUAL_ENV", "PYTHONPATH"):
            kept.pop(name, None)
        self._environ = kept | {name: self._fill(text) for name, text in setup.env.items()}

    def own(self) -> None:
        """Run the project's own commands, as its README has them.

        Raises:
            Failed: One of them failed.
        """
        first = (self.folder / ".venv" / "bin", self.folder / "node_modules" / ".bin")
        path = os.pathsep.join((*(str(folder) for folder in first if folder.is_dir()), self._environ["PATH"]))
        for words in self.setup.own:
            # Which program runs is looked up in this process's PATH, not in the one that it gets.
            program = shutil.which(words[0], path=path) or words[0]
            run(
                [program, *map(self._fill, words[1:])],
                self.folder,
                self._environ | {"PATH": path},
                name=" ".join(words),
            )

    def invoke(self, url: str, *words: str) -> str:
        """Return the standard output of `invoke ...` on the database at `url`.

        Raises:
            Failed: It ended with another exit code than 0.
        """
        environ = self._environ | {"DATABASE_URL": url}
        return run([sys.executable, "-c", INVOKE, *words], self.folder, environ, name=f"invoke {' '.join(words)}")

    def ancestors(self, heads: list[str]) -> int:
        """Return how many revisions an Alembic history has up to `heads`."""
        assert self.setup.history is not None
        found = [self._installed(name) for name in self.setup.history]
        python = str(self.folder / ".venv" / "bin" / "python")
        return int(run([python, "-c", REVISIONS, *found, *heads], self.folder, self._environ))

    def _installed(self, name: str) -> str:
        below = [self.folder, *self.folder.glob(".venv/lib/python*/site-packages")]
        return str(next(path / name for path in below if (path / name).exists()))

    def _fill(self, text: str) -> str:
        for name, value in self._parts.items():
            text = text.replace(f"@{name}@", value)
        return text
