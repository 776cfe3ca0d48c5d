"""Node: what seeds. A script of package.json, a tool's own seeds, or a program that is named so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbtools.init.files import relative
from dbtools.init.found import Steps, command
from dbtools.init.node import settings_of, url_option
from dbtools.init.package_json import read_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.init.files import Files
    from dbtools.init.package_json import Package

SCRIPTS = (
    *("db:seed", "seed", "seed:run", "db:seed:run", "seed:all", "db:seed:all", "seed:dev", "db:seed:dev"),
    *("prisma:seed", "knex:seed", "drizzle:seed", "seed:demo", "seed-db", "db-seed"),
)
"""Names of scripts that seed, the likeliest first."""
PROGRAMS = ("prisma/seed.*", "*/db/seed.*", "db/seed.*", "src/seed.*", "scripts/seed*.*", "seed.*", "src/*/seed.*")
_SEEDS = re.compile(r"(db[:_-])?seed")
_NO_SEED = re.compile(r"make|create|generate|undo|revert|reset|drop|clear|delete|test|prod|new|config")
_PRISMA = re.compile(r"\bseed\s*:")


def find_node_seed(files: Files, folder: str) -> Iterator[Steps]:
    """Yield what seeds in the package of `folder`, then in that of the root."""
    packages = [package for package in read_packages(files) if package.folder in (folder, ".")]
    for package in sorted(packages, key=lambda package: package.folder != folder):
        others = (name for name in package.scripts if _SEEDS.match(name) and not _NO_SEED.search(name))
        if name := package.pick((*SCRIPTS, *others)):
            value = package.script(name)
            yield Steps("npm script", (package.path,), value, package.folder, sure=False, led="variables")
        yield from _tools(files, package)
        yield from _programs(files, package)


def _tools(files: Files, package: Package) -> Iterator[Steps]:
    """Yield the seeds that a tool keeps in a place of its own."""
    configs = [path for path in files.inside(package.folder, "prisma.config.*") if _PRISMA.search(files.text(path))]
    prisma = package.table.get("prisma")
    if configs or (isinstance(prisma, dict) and "seed" in prisma):
        value = package.program("prisma", "db", "seed")
        yield Steps("Prisma", tuple(configs or [package.path]), value, package.folder, led="variables")
    knexfile = settings_of(files, package, "knex")
    seeds = files.inside(package.folder, "seeds/*", "*/seeds/*", "src/*/seeds/*")
    if "knex" in package.dependencies and knexfile and seeds:
        shown = relative(knexfile, package.folder)
        value = package.program("knex", "seed:run", *(["--knexfile", shown] if "/" in shown else []))
        yield Steps("Knex", (seeds[0],), value, package.folder, sure=False, led="variables")
    seeders = files.inside(package.folder, "seeders/*", "src/seeders/*", "*/seeders/*")
    if "sequelize-cli" in package.dependencies and seeders:
        value = package.program("sequelize-cli", "db:seed:all", *url_option(files, package))
        yield Steps("Sequelize", (seeders[0],), value, package.folder, sure=False, led="variables")


def _programs(files: Files, package: Package) -> Iterator[Steps]:
    """Yield programs that are named after seeding, if something that is installed runs them."""
    for path in files.inside(package.folder, *PROGRAMS):
        shown = relative(path, package.folder)
        value = command(["node", shown], package.folder) if path.endswith((".js", ".mjs", ".cjs")) else None
        if path.endswith((".ts", ".mts", ".cts")):
            runner = next((name for name in ("tsx", "ts-node") if name in package.dependencies), "")
            bun = command(["bun", shown], package.folder) if package.manager == "bun" else None
            value = package.program(runner, shown) if runner else bun
            if value is None:
                what = "TypeScript that seeds, but neither a script nor tsx or ts-node to run it"
                yield Steps(what, (path,), None, package.folder)
        if value is not None:
            yield Steps("Node", (path,), value, package.folder, sure=False, led="variables")
