"""Other tools that migrate PostgreSQL: a table of the files that show each, and of the command that it has.

The commands are those of the tools' manuals. What they are in a project is for the project to say, so each is a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbtools.init.databases import not_postgres, other_database
from dbtools.init.files import folder_of, relative
from dbtools.init.found import Steps, command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dbtools.init.files import Files
    from dbtools.init.found import Led


@dataclass(frozen=True)
class Tool:
    """A tool: in the words of its command, DIR is the folder of its migrations, and FILE the file that shows it."""

    name: str
    files: tuple[str, ...]
    words: tuple[str, ...] = ()
    """(): its command cannot be guessed."""
    contains: str = ""
    """A pattern that the file has to match."""
    up: int = 0
    """How many folders above that file the command runs."""
    beside: tuple[str, str] = ("", "")
    """A file in that folder, or else in the nearest above it that has it, and a pattern that it has to match."""
    env: Mapping[str, str] = field(default_factory=dict)
    led: Led = "variables"
    settings: tuple[str, ...] = ()
    """Files that say which kind of database it is."""
    why: str = ""
    """Why its command cannot be guessed, or what to mind."""


JDBC = "jdbc:postgresql://{host}:{port}/{dbname}"
FLYWAY = {"FLYWAY_URL": JDBC, "FLYWAY_USER": "{user}", "FLYWAY_PASSWORD": "{password}"}
LIQUIBASE = {
    "LIQUIBASE_COMMAND_URL": JDBC,
    "LIQUIBASE_COMMAND_USERNAME": "{user}",
    "LIQUIBASE_COMMAND_PASSWORD": "{password}",
}
NO_TLS = {"PGSSLMODE": "disable"}
_TLS = "its driver insists on TLS unless PGSSLMODE says otherwise: take env out for a server that has it"
RAILS = ("config/database.yml",)
SQL = ("migrations/*.sql", "migration/*.sql", "migrate/*.sql", "sql/*.sql", "schema/*.sql", "goose/*.sql")
TOOLS = (
    Tool("Aerich", ("pyproject.toml",), ("aerich", "upgrade"), r"^\[tool\.aerich\]", led="python"),
    Tool("yoyo", ("yoyo.ini",), ("yoyo", "apply", "--batch"), led="python"),
    Tool("Piccolo", ("piccolo_conf.py",), ("piccolo", "migrations", "forwards", "all"), led="python"),
    Tool("Rails", ("db/migrate/*.rb",), ("bin/rails", "db:migrate"), up=2, beside=("bin/rails", ""), settings=RAILS),
    Tool(
        "Rails",
        ("db/migrate/*.rb",),
        ("bundle", "exec", "rake", "db:migrate"),
        up=2,
        beside=("Rakefile", ""),
        settings=RAILS,
    ),
    Tool("AdonisJS", ("ace", "ace.js"), ("node", "ace", "migration:run", "--force")),
    Tool("Laravel", ("artisan",), ("php", "artisan", "migrate", "--force"), settings=(".env", ".env.example")),
    Tool(
        "Doctrine",
        ("composer.json",),
        ("php", "bin/console", "doctrine:migrations:migrate", "--no-interaction"),
        "doctrine/doctrine-migrations-bundle",
    ),
    Tool("goose", SQL, ("goose", "-dir", "DIR", "postgres", "{url}", "up"), r"^-- *\+goose Up"),
    Tool(
        "dbmate",
        ("db/migrations/*.sql",),
        ("dbmate", "--no-dump-schema", "migrate"),
        "^-- *migrate:up",
        up=2,
        env=NO_TLS,
        why=_TLS,
    ),
    Tool(
        "golang-migrate",
        ("*.up.sql",),
        ("migrate", "-path", "DIR", "-database", "{url}", "up"),
        beside=("go.mod", "golang-migrate/migrate"),
        env=NO_TLS,
        why=_TLS,
    ),
    Tool("Diesel", ("diesel.toml",), ("diesel", "migration", "run")),
    Tool("sqlx", ("migrations/*.sql",), ("sqlx", "migrate", "run"), up=1, beside=("Cargo.toml", r"\bsqlx\b")),
    Tool("Flyway", ("pom.xml",), ("mvn", "flyway:migrate"), "flyway-maven-plugin", env=FLYWAY),
    Tool("Flyway", ("build.gradle", "build.gradle.kts"), ("./gradlew", "flywayMigrate"), "org.flywaydb", env=FLYWAY),
    Tool("Flyway", ("V*__*.sql",), ("flyway", "-locations=filesystem:DIR", "migrate"), env=FLYWAY),
    Tool(
        "Liquibase",
        ("*changelog*.xml", "*changelog*.yaml", "*changelog*.yml", "*changelog*.sql", "*changelog*.json"),
        ("liquibase", "--changelog-file=FILE", "update"),
        "databaseChangeLog|^--liquibase formatted",
        env=LIQUIBASE,
    ),
    Tool("Sqitch", ("sqitch.plan",), ("sqitch", "deploy", "db:pg://{user}@{host}:{port}/{dbname}")),
    Tool(
        "Ecto",
        ("mix.exs",),
        ("mix", "ecto.migrate"),
        r":ecto_sql|:phoenix_ecto",
        beside=("config/dev.exs", "DATABASE_URL"),
    ),
    Tool("Ecto", ("mix.exs",), (), r":ecto_sql|:phoenix_ecto", why="config/dev.exs names the database, no variable"),
    Tool("Entity Framework", ("*.csproj",), (), "EntityFrameworkCore", why="the application names the database"),
    Tool("Atlas", ("atlas.hcl",), (), why="its environments name the databases"),
    Tool("graphile-migrate", (".gmrc", ".gmrc.js"), (), why="it needs a second database, and the rights to make one"),
)
SEEDS = (
    Tool("Rails", ("db/seeds.rb",), ("bin/rails", "db:seed"), up=1, beside=("bin/rails", "")),
    Tool("Rails", ("db/seeds.rb",), ("bundle", "exec", "rake", "db:seed"), up=1, beside=("Rakefile", "")),
    Tool("AdonisJS", ("database/seeders/*.ts",), ("node", "ace", "db:seed"), up=2, beside=("ace.js", "")),
    Tool("Laravel", ("database/seeders/DatabaseSeeder.php",), ("php", "artisan", "db:seed", "--force"), up=2),
    Tool("Ecto", ("priv/repo/seeds.exs",), ("mix", "run", "priv/repo/seeds.exs"), up=2, beside=("mix.exs", "")),
)
_TARGET = r"^({})\s*:(?!=)[^\n]*\n((?:\t[^\n]*\n?)*)"
_ELSEWHERE = re.compile(r"docker|kubectl|ssh |heroku|\$\(")


def find_others(files: Files, tools: tuple[Tool, ...] = TOOLS) -> Iterator[Steps]:
    """Yield what each tool that is there would run; of each name the first."""
    seen = set()
    for tool in tools:
        for path in files.find(*tool.files):
            # The folder of a file that shows the tool by its place, such as db/migrate/1.rb, is above that place.
            folder = folder_of(path)
            for _ in range(tool.up):
                folder = folder_of(folder)
            if tool.beside[0]:
                folder = _above(files, folder, tool.beside[0])
            if tool.name not in seen and _is_there(files, tool, path, folder):
                seen.add(tool.name)
                other = other_database(files, tool.name, files.find(*tool.settings)) if tool.settings else ""
                yield not_postgres(tool.name, other, (path,), folder) if other else _steps(tool, path, folder)


def _above(files: Files, folder: str, name: str) -> str:
    """Return the nearest folder from `folder` up to the root that has a file, "." where none has."""
    while folder != "." and not files.has(f"{folder}/{name}"):
        folder = folder_of(folder)
    return folder


def _is_there(files: Files, tool: Tool, path: str, folder: str) -> bool:
    name, pattern = tool.beside
    beside = f"{folder}/{name}" if name else path
    return bool(
        re.search(tool.contains, files.text(path), re.MULTILINE)
        and files.has(beside)
        and re.search(pattern, files.text(beside))
    )


def _steps(tool: Tool, path: str, folder: str) -> Steps:
    if not tool.words:
        return Steps(f"{tool.name}, whose command cannot be guessed: {tool.why}", (path,), None, folder, led=tool.led)
    runs_in = "." if tool.up == 0 and path.endswith(".sql") and not tool.beside[0] else folder
    places = {"DIR": relative(folder_of(path), runs_in), "FILE": relative(path, runs_in)}
    words = [re.sub("DIR|FILE", lambda found: places[found[0]], word) for word in tool.words]
    mind = (f"{tool.name}: {tool.why}.",) if tool.why else ()
    return Steps(tool.name, (path,), command(words, runs_in, tool.env), folder, sure=False, led=tool.led, mind=mind)


def find_make(files: Files, names: tuple[str, ...]) -> Iterator[Steps]:
    """Yield a target of the Makefile, unless it works in a container or elsewhere."""
    pattern = re.compile(_TARGET.format("|".join(names)), re.MULTILINE)
    for target, recipe in pattern.findall(files.text("Makefile")):
        if recipe and not _ELSEWHERE.search(recipe):
            yield Steps("make", ("Makefile",), ["make", target], sure=False, led="variables", weak=True)
