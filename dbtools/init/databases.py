"""Which kind of database a tool's own files name: a project on SQLite is none that dbtools can rebuild."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbtools.init.found import Steps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dbtools.init.files import Files

NAMED = {
    "prisma": r"datasource\s+\w+\s*\{[^}]*provider\s*=\s*\"(\w+)\"",
    "drizzle-kit": r"\b(?:dialect|driver)\s*:\s*[\"'](\w+)",
    "knex": r"\bclient\s*:\s*[\"'](\w+)",
    "typeorm": r"\btype\s*:\s*[\"'](\w+)[\"']",
    "sequelize-cli": r"\bdialect[\"']?\s*:\s*[\"'](\w+)",
    "Django": r"[\"']ENGINE[\"']\s*:\s*[\"'][\w.]*db\.backends\.(\w+)[\"']",
    "Rails": r"^\s*adapter:\s*(\w+)",
    "Laravel": r"^DB_CONNECTION=(\w+)",
}
"""Of each tool, what stands before the kind of database."""
POSTGRES = {"pg", "pgsql", "postgres", "postgresql", "postgresql_psycopg2", "postgis", "pglite", "cockroachdb"}


def other_database(files: Files, tool: str, paths: Iterable[str]) -> str:
    """Return the kinds of database that the files name, "" where PostgreSQL is among them or nothing is named."""
    pattern = NAMED.get(tool)
    if pattern is None:
        return ""
    named = {name for path in paths for name in re.findall(pattern, files.text(path), re.MULTILINE)}
    return "" if named & POSTGRES else ", ".join(sorted(named))


def not_postgres(tool: str, other: str, evidence: tuple[str, ...], folder: str) -> Steps:
    """Return what is there for another kind of database."""
    return Steps(f"{tool} for {other}, and dbtools is for PostgreSQL", evidence, None, folder)
