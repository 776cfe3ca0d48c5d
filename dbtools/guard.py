"""May this database be destroyed?

The rule is on the target and on the environment, not on a prompt: no `--yes` overrides it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dbtools.config import truth
from dbtools.errors import ResetRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

MARKERS = ("NODE_ENV", "APP_ENV", "ENVIRONMENT")
PRODUCTION = {"production", "prod", "live"}


def check_environment(what: str, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse `what` ("reset") where a variable says production. Called before any connection is opened.

    Raises:
        ResetRefused: A marker says production and ALLOW_RESET=true is not set.
    """
    marks = [f"{name}={environ[name]}" for name in MARKERS if environ.get(name, "").strip().lower() in PRODUCTION]
    if marks and not truth("ALLOW_RESET", environ):
        raise ResetRefused(
            f"Refused to {what}: this is a production environment.",
            f"{' and '.join(marks)} {'says' if len(marks) == 1 else 'say'} so. Nothing was changed.",
            "If the data may really be destroyed, set ALLOW_RESET=true for this one command.",
        )


def check_database(
    connection: psycopg.Connection,
    what: str,
    *,
    confirm: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Refuse `what` on a database whose comment says environment=production.

    The marker travels with the database, whatever machine the command runs on, so it takes more to override: both
    ALLOW_RESET=true and the database's name, typed (`confirm`).

    Raises:
        ResetRefused: The database is marked and the two are not given.
    """
    row = connection.execute(
        "select current_database(), coalesce(shobj_description(oid, 'pg_database'), '')"
        " from pg_database where datname = current_database()"
    ).fetchone()
    assert row is not None
    name, comment = str(row[0]), str(row[1])
    words = comment.lower().replace(",", " ").replace(";", " ").split()
    if not any(f"environment={value}" in words for value in PRODUCTION):
        return
    if truth("ALLOW_RESET", environ) and confirm == name:
        return
    raise ResetRefused(
        f"Refused to {what} database {name}: it is marked as a production database.",
        f"Its comment is {comment!r}. Nothing was changed.",
        f"If it may really be destroyed: ALLOW_RESET=true and --confirm {name}",
    )
