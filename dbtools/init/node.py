"""Node: the tool that migrates, by package.json and the tool's own files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.init.databases import not_postgres, other_database
from dbtools.init.files import folder_of, relative
from dbtools.init.found import Steps
from dbtools.init.package_json import read_packages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.init.files import Files
    from dbtools.init.package_json import Package


@dataclass(frozen=True)
class Tool:
    """A program that migrates. Its files count from the folder of package.json."""

    package: str
    configs: tuple[str, ...]
    """Its own settings."""
    runs: str
    """A pattern of the scripts that migrate with it."""
    words: tuple[str, ...]
    migrations: tuple[str, ...] = ()
    """Files that show it as well."""
    settings: str = ""
    """A pattern of what its settings hold, where their name may be any."""


def _below(*names: str) -> tuple[str, ...]:
    return tuple(f"{folder}{name}" for folder in ("", "src/", "src/*/", "src/*/*/", "*/") for name in names)


TOOLS = (
    Tool("drizzle-kit", ("drizzle.config.*",), r"drizzle-kit(:\w+)? migrate\b", ("drizzle-kit", "migrate")),
    Tool(
        "prisma",
        ("prisma/schema.prisma", "prisma.config.*", "schema.prisma", "prisma/schema/*.prisma", "src/prisma/*.prisma"),
        r"prisma migrate deploy",
        ("prisma", "migrate", "deploy"),
    ),
    Tool("knex", _below("knexfile.*"), r"knex\b.* migrate:latest", ("knex", "migrate:latest")),
    Tool(
        "typeorm",
        _below("*data-source.*", "*datasource.*", "ormconfig.*", "typeorm*config.*"),
        r"typeorm\S* .*migration:run|typeorm\S* migration:run",
        ("typeorm", "migration:run"),
        settings=r"\bnew DataSource\(",
    ),
    Tool("node-pg-migrate", (), r"node-pg-migrate\b.* up\b", ("node-pg-migrate", "up"), ("migrations/*",)),
    Tool(
        "sequelize-cli",
        (".sequelizerc", *_below("config/config.*")),
        r"sequelize(-cli)? db:migrate(?!:)",
        ("sequelize-cli", "db:migrate"),
        _below("migrations/*"),
    ),
    Tool("@mikro-orm/cli", _below("mikro-orm.config.*"), r"mikro-orm migration:up", ("mikro-orm", "migration:up")),
    Tool("kysely-ctl", _below("kysely.config.*"), r"kysely migrate[: ]latest", ("kysely", "migrate:latest")),
    Tool("db-migrate", ("database.json",), r"db-migrate\b.* up\b", ("db-migrate", "up"), ("migrations/*",)),
)
LIBRARIES = {"pg", "postgres", "pg-promise", "drizzle-orm", "kysely", "slonik", "knex", "typeorm", "sequelize"}
"""Packages beside which a script named `migrate` means PostgreSQL."""
SCRIPTS = (
    *("db:migrate", "migrate", "migrate:deploy", "db:migrate:deploy", "migrate:latest", "db:migrate:latest"),
    *("migrate:up", "db:migrate:up", "migrate:run", "db:migrate:run", "migration:run", "migrations:run"),
    *("db:migration:run", "db:migrations:run", "migration:up", "migrations:up", "prisma:migrate", "knex:migrate"),
    *("drizzle:migrate", "typeorm:migrate", "migrations", "migrate-db", "db-migrate"),
)
"""Names of scripts that migrate, the likeliest first."""
_MAKES = r"\b(make|create|generate)\b"  # a new migration
_SOURCE = (".ts", ".js", ".mjs", ".cjs", ".mts", ".cts", ".json", ".prisma")
_HARD_CODED = re.compile(r"postgres(ql)?://|\b(host|database|connectionString|url)[\"']?\s*:\s*[\"'`]", re.IGNORECASE)
_READS = re.compile(r"\benv\b|use_env_variable", re.IGNORECASE)


def find_node(files: Files) -> Iterator[Steps]:
    """Yield what each tool would run: one with files of its own before one that is only installed."""
    packages = read_packages(files)
    hoisted = {name for package in packages if package.folder == "." for name in package.dependencies}
    found: list[tuple[bool, Steps]] = []
    for package in packages:
        before = len(found)
        for tool in TOOLS:
            own = [*configs_of(files, package, tool), *files.inside(package.folder, *tool.migrations)]
            if tool.package in package.dependencies or (own and tool.package in hoisted):
                found.append((not own, _steps(files, package, tool, own)))
        name = package.pick(SCRIPTS, unfit=_MAKES)
        if name and package.dependencies & LIBRARIES and len(found) == before:
            steps = Steps("npm script", (package.path,), package.script(name), package.folder, False, "variables")
            found.append((True, steps))
    yield from (steps for _, steps in sorted(found, key=lambda one: one[0]))


def configs_of(files: Files, package: Package, tool: Tool) -> list[str]:
    """Return a tool's settings, by their names, or else by what they hold."""
    found = files.inside(package.folder, *tool.configs)
    if found or not tool.settings or tool.package not in package.dependencies:
        return found
    sources = files.inside(package.folder, *_below("*.ts", "*.js"))
    return [path for path in sources if re.search(tool.settings, files.text(path))]


def settings_of(files: Files, package: Package, name: str) -> str:
    """Return the file with a tool's settings, "" where it has none that can be read."""
    tool = next(tool for tool in TOOLS if tool.package == name)
    return next((path for path in configs_of(files, package, tool) if path.endswith(_SOURCE)), "")


def is_hard_coded(files: Files, config: str) -> bool:
    """Return whether settings name a database and read no variable."""
    text = files.text(config) if config else ""
    return not _READS.search(text) and bool(_HARD_CODED.search(text))


def url_option(files: Files, package: Package) -> tuple[str, ...]:
    """Return the option by which Sequelize is led where its settings read no variable; () where they do."""
    hard_coded = is_hard_coded(files, settings_of(files, package, "sequelize-cli"))
    return ("--url", "{url}") if hard_coded else ()


def _steps(files: Files, package: Package, tool: Tool, own: list[str]) -> Steps:
    evidence, config = (package.path, *own[:1]), settings_of(files, package, tool.package)
    if other := other_database(files, tool.package, [path for path in own if path.endswith(_SOURCE)]):
        return not_postgres(tool.package, other, evidence, package.folder)
    option = url_option(files, package) if tool.package == "sequelize-cli" else ()
    name = "" if option else package.pick(SCRIPTS, tool.runs, _MAKES)
    words = _words(files, package, tool, config)
    if name:
        # Its manual has a script without a word for the direction: npm run migrate up.
        bare = tool.package == "node-pg-migrate" and re.search(r"node-pg-migrate(?!.* up\b)", package.body(name))
        value = package.script(name, *(["up"] if bare else []))
        sure = bool(bare or re.search(tool.runs, package.body(name)))
    elif words is not None:
        value, sure = package.program(*words, *option), words[: len(tool.words)] == list(tool.words) and bool(own)
    else:
        what = f"{tool.package}, but neither a script that migrates nor a file that says what it migrates"
        return Steps(what, evidence, None, package.folder)
    mind = f"{config} seems to name its database itself. " + (
        "Prisma's engine is led by variables alone, and works on that database: have it read DATABASE_URL first."
        if tool.package == "prisma"
        else "On the server of the step it is led all the same; a connection to another one is refused."
    )
    unled = not option and is_hard_coded(files, config)
    return Steps(tool.package, evidence, value, package.folder, sure, "variables", mind=(mind,) if unled else ())


def _words(files: Files, package: Package, tool: Tool, config: str) -> list[str] | None:
    """Return the words of the tool's own command, None where it lacks something."""
    words, shown = list(tool.words), relative(config, package.folder) if config else ""
    if tool.package == "prisma":
        return _prisma(files, package, words, shown)
    if tool.package == "drizzle-kit" and config:
        out = re.search(r"\bout\s*:\s*[\"'`](?:\./)?([^\"'`]+)", files.text(config))
        at = out[1].rstrip("/") if out else "drizzle"
        return words if files.inside(package.folder, f"{at}/*", f"{at}/*/*") else ["drizzle-kit", "push", "--force"]
    if tool.package == "knex":
        return None if not config else words if "/" not in shown else [*words, "--knexfile", shown]
    if tool.package == "typeorm" and shown != "ormconfig.json":
        suffix = "esm" if package.table.get("type") == "module" else "commonjs"
        program = f"typeorm-ts-node-{suffix}" if config.endswith("ts") else "typeorm"
        return [program, "migration:run", "-d", shown] if config else None
    needed = (*tool.configs, *tool.migrations) if tool.package in ("sequelize-cli", "node-pg-migrate") else ()
    return words if not needed or files.inside(package.folder, *needed) else None


def _prisma(files: Files, package: Package, words: list[str], shown: str) -> list[str]:
    """Return Prisma's command: `db push` where a schema has no migrations; it finds the schema in its usual places."""
    at = folder_of(shown) if shown.endswith(".prisma") else "prisma"
    at = folder_of(at) if at.endswith("/schema") else at
    kept = files.inside(package.folder, f"{at}/migrations/*/migration.sql", "prisma/migrations/*/migration.sql")
    usual = shown in ("prisma/schema.prisma", "schema.prisma") or not shown.endswith(".prisma")
    known = usual or "prisma" in package.table or files.inside(package.folder, "prisma.config.*")
    return [*(words if kept or not shown else ["prisma", "db", "push"]), *(() if known else ("--schema", shown))]
