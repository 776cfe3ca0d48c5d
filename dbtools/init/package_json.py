"""A package.json: its scripts, its dependencies, and the program that runs them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtools.init.files import folder_of, join
from dbtools.init.found import command

if TYPE_CHECKING:
    from dbtools.init.files import Files
    from dbtools.init.found import Value

LOCKS = {
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "package-lock.json": "npm",
}
"""The lock file of each program that installs packages and runs scripts."""
RUNNERS = {"npm": ("npx",), "pnpm": ("pnpm", "exec"), "yarn": ("yarn", "run"), "bun": ("bunx",)}
"""How each of them runs a program of an installed package."""
# A script that asks, undoes, works elsewhere, or names a database itself.
_UNFIT = re.compile(
    r"migrate dev|db push|\b(reset|rollback|undo|revert|down|drop|fresh|docker|kubectl|heroku|ssh|production|prod)\b"
    r"|env-cmd|--override|dotenv\S* .*-o\b|\w*DATABASE_URL=|postgres(ql)?://"
)
_CALL = re.compile(r"\b(?:npm run|pnpm run|yarn run|bun run|yarn|pnpm) ([\w:.-]+)")


@dataclass(frozen=True)
class Package:
    """What a package.json says."""

    path: str
    table: dict[str, Any]
    manager: str
    """The program that runs scripts: npm, pnpm, yarn or bun."""

    @property
    def folder(self) -> str:
        """The folder of the file."""
        return folder_of(self.path)

    @property
    def scripts(self) -> dict[str, str]:
        """The scripts, by name."""
        found = self.table.get("scripts")
        return {name: text for name, text in found.items() if isinstance(text, str)} if isinstance(found, dict) else {}

    @property
    def dependencies(self) -> set[str]:
        """The names of all packages that it asks for."""
        named = [self.table.get(key) for key in ("dependencies", "devDependencies", "optionalDependencies")]
        return {name for packages in named if isinstance(packages, dict) for name in packages}

    def script(self, name: str, *words: str) -> Value:
        """Return the step that runs a script, with `words` behind its text."""
        return command([self.manager, "run", name, *words], self.folder)

    def program(self, *words: str) -> Value:
        """Return the step that runs a program of an installed package."""
        return command([*RUNNERS[self.manager], *words], self.folder)

    def body(self, name: str) -> str:
        """Return a script's text, with that of the scripts that it calls."""
        scripts = self.scripts
        return _CALL.sub(lambda call: scripts.get(call[1], call[0]), scripts[name])

    def pick(self, names: tuple[str, ...], runs: str = "", unfit: str = "") -> str:
        """Return a script that works on the database that it is led to: one of `names`, or else one that `runs` fits.

        "" where there is none. None is taken that fits `unfit`, asks, undoes, or names a database itself.
        """

        def fits(text: str) -> bool:
            return not _UNFIT.search(text) and not (unfit and re.search(unfit, text))

        for name in names:
            if name in self.scripts and fits(self.body(name)):
                return name
        for name, text in self.scripts.items():
            alone = "&&" not in text and ";" not in text and not name.startswith(("pre", "post"))
            if runs and alone and re.search(runs, text) and fits(self.body(name)):
                return name
        return ""


def read_packages(files: Files) -> list[Package]:
    """Return the project's packages, nearest to the root first.

    Raises:
        ConfigurationError: A package.json cannot be read.
    """
    tables = {path: files.json(path) for path in files.find("package.json")}
    return [Package(path, table, _manager(files, tables, folder_of(path))) for path, table in tables.items()]


def _manager(files: Files, tables: dict[str, dict[str, Any]], folder: str) -> str:
    """Return the program that a package.json or a lock file names: in the folder, or the nearest above it."""
    named = re.match("npm|pnpm|yarn|bun", str(tables.get(join(folder, "package.json"), {}).get("packageManager")))
    if named:
        return named[0]
    for name, manager in LOCKS.items():
        if files.has(join(folder, name)):
            return manager
    return "npm" if folder == "." else _manager(files, tables, folder_of(folder))
