"""Extensions of a database, made by its superuser: a project's own role may not make all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.db.dsn import Dsn
from dbtools.db.sql import quote
from dbtools.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Collection


def make_extensions(admin_url: str, extensions: Collection[str]) -> None:
    """Make the extensions that are missing in the superuser's database, and those that they need.

    Raises:
        ServerError: The server does not have one, or it cannot be made. Those before it have been.
    """
    if not extensions:
        return
    import psycopg

    with psycopg.connect(admin_url, autocommit=True, application_name="dbtools harness") as connection:
        for name in extensions:
            try:
                connection.execute(f"create extension if not exists {quote(name)} cascade")
            except psycopg.Error as error:
                database = Dsn.parse(admin_url, source="the server's URL").dbname
                raise ServerError(
                    f"The extension {name} could not be made in database {database}.",
                    f"{' '.join(str(error).split()).rstrip('.')}.",
                    f"Correct extensions in [tool.dbtools.server]; if {name} has to be loaded when the server starts:"
                    ' settings = { shared_preload_libraries = "..." }',
                ) from error
