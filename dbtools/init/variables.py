"""The variables that name a database in a project whose programs are led by variables alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbtools.build.environment import url_variables
from dbtools.init.files import folder_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtools.init.files import Files

SOURCES = tuple(
    f"*.{end}"
    for end in ("ts", "js", "mjs", "cjs", "mts", "cts", "prisma", "rb", "go", "rs", "php", "exs", "ex", "yml")
)
MAX_SOURCES = 3000
PARTS = {
    "host": "HOSTNAME|HOST|SERVER",
    "port": "PORT",
    "user": "USERNAME|USER",
    "password": "PASSWORD|PASSWD|PASS|PWD",
    "dbname": "DATABASE|DBNAME|DB_NAME|NAME|DB",
}
"""What the end of a variable's name says, and the placeholder for it."""
_OWNER = r"(?:[A-Z0-9]+_)*?(?:POSTGRES(?:QL)?|PSQL|PG|DB|DATABASE|TYPEORM|RDS)"
_PART = re.compile(rf"\b({_OWNER})_?({'|'.join(PARTS.values())})\b")
_URL = re.compile(rf"\b(?:{_OWNER}(?:_[A-Z]+)*?_(?:URL|URI|DSN|CONNECTION_STRING)(?:_[A-Z]+)?|DIRECT_URL)\b")
_OTHER = re.compile(r"TEST|MYSQL|MARIADB|MONGO|REDIS|MSSQL|SHADOW|NEXT_PUBLIC")
_LED = {"DATABASE_URL", "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"}
"""Variables that every step gets anyway."""


def find_variables(files: Files, folder: str, environ: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the variables that name the database to the programs in `folder`, and the files that show them.

    Those that hold a URL in the environment or in a .env file are led without a word, and left out.
    """
    led = _LED | url_variables(environ, dict.fromkeys((files.root / folder, files.root))).keys()
    found: dict[str, str] = {}
    shown: dict[str, None] = {}
    for path in _sources(files, folder):
        names = _names(files.text(path))
        for name in names.keys() - led - found.keys():
            shown[path] = None
            found[name] = names[name]
    order = ["{url}", *(f"{{{part}}}" for part in PARTS)]
    return dict(
        sorted(found.items(), key=lambda item: (item[0].rpartition("_")[0], order.index(item[1]), item[0]))
    ), tuple(shown)


def _sources(files: Files, folder: str) -> list[str]:
    dotenv = [path for path in files.find(".env*") if folder_of(path) in (folder, ".")]
    prefix = "" if folder == "." else f"{folder}/"
    return (
        dotenv
        + [path for path in files.find(*SOURCES) if path.startswith(prefix) and "compose" not in path][:MAX_SOURCES]
    )


def _names(text: str) -> dict[str, str]:
    """Return the variables that a text names, and the placeholder of each; the parts only of a whole database."""
    found = dict.fromkeys(_URL.findall(text), "{url}")
    owners: dict[str, dict[str, str]] = {}
    for match in _PART.finditer(text):
        part = next(part for part, ends in PARTS.items() if re.fullmatch(ends, match[2]))
        owners.setdefault(match[1], {})[match[0]] = f"{{{part}}}"
    for parts in owners.values():
        if "{dbname}" in parts.values() or "{host}" in parts.values():
            found |= parts
    return {name: value for name, value in found.items() if not _OTHER.search(name)}
