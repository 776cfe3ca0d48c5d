"""A server that runs already. dbtools does not start, stop or configure it."""

from __future__ import annotations

from dbtools.db.connect import open_session
from dbtools.db.databases import drop_database
from dbtools.db.dsn import Dsn
from dbtools.db.sql import quote
from dbtools.errors import ServerError
from dbtools.server import StopsWithBlock


class ExternalServer(StopsWithBlock):
    """The server and database of a URL; errors call it `source`. See `dbtools.server.Server`.

    Raises:
        ConfigurationError: The URL is malformed.
        DatabaseUnreachable: The server does not answer, or refuses the login.
    """

    kind = "existing"

    def __init__(self, url: str, *, source: str = "the server's URL", admin_url: str | None = None) -> None:
        self._dsn = Dsn.parse(url, source=source)
        self.admin_url = admin_url
        self.url = self._dsn.url
        with open_session(self._dsn, "harness") as connection:
            row = connection.execute("show server_version").fetchone()
            assert row is not None
            self.version = str(row[0]).partition(" ")[0]

    def create_database(self, name: str) -> str:
        """Create an empty database owned by the URL's role and return its URL.

        Raises:
            ServerError: The role may not create databases.
        """
        import psycopg

        with open_session(self._dsn, "harness") as connection:
            try:
                connection.execute(f"create database {quote(name)}")
            except psycopg.errors.InsufficientPrivilege as error:
                raise ServerError(
                    f"Cannot create a database on {self._dsn.host}:{self._dsn.port} as {self._dsn.user}.",
                    f"{' '.join(str(error).split())}.",
                    f"As a superuser: alter role {quote(self._dsn.user)} createdb;",
                ) from error
        return self._dsn.with_database(name).url

    def drop_database(self, name: str) -> None:
        """Drop a database made by `create_database`, and end its sessions."""
        with open_session(self._dsn, "harness") as connection:
            drop_database(connection, name)

    def stop(self) -> None:
        """Do nothing: the server is not ours."""
