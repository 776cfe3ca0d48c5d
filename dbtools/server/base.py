"""The common part of throwaway servers: a superuser makes their databases, and the `with` block ends them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from dbtools.db.databases import drop_database
from dbtools.db.dsn import Dsn
from dbtools.db.sql import quote
from dbtools.server import StopsWithBlock
from dbtools.server.cluster import ROLE
from dbtools.server.extensions import make_extensions

if TYPE_CHECKING:
    from collections.abc import Collection

    import psycopg


class EphemeralServer(StopsWithBlock, ABC):
    """A server that dbtools starts and removes again, with all its data. See `dbtools.server.Server`."""

    version: str
    url: str
    admin_url: str
    role: str = ROLE
    """The application role: it is no superuser, and owns every database that is made."""
    extensions: Collection[str] = ()
    """Those of every database that is made."""

    def url_of(self, database: str, *, admin: bool = False) -> str:
        """Return the URL of a database of this server, for the application role or with `admin` for the superuser.

        The database need not exist yet.
        """
        url = self.admin_url if admin else self.url
        return Dsn.parse(url, source="the server's URL").with_database(database).url

    def create_database(self, name: str) -> str:
        """Create a database owned by the application role and return its URL. It is empty but for the extensions.

        Raises:
            ServerError: An extension could not be made.
        """
        with self.connect_admin() as connection:
            connection.execute(f"create database {quote(name)} owner {quote(self.role)} {self.quick_copy}")
        make_extensions(self.url_of(name, admin=True), self.extensions)
        return self.url_of(name)

    @property
    def quick_copy(self) -> str:
        """The clause of CREATE DATABASE for the quickest copy: with fsync off, copying files beats logging blocks."""
        before_15 = int(self.version.partition(".")[0]) < 15  # these have no other way
        return "" if before_15 else "strategy file_copy"

    def drop_database(self, name: str) -> None:
        """Drop a database made by `create_database`, and end its sessions."""
        with self.connect_admin() as connection:
            drop_database(connection, name)

    def connect_admin(self) -> psycopg.Connection:
        """Return a new connection of the superuser to the server's own database, in autocommit."""
        import psycopg

        return psycopg.connect(self.admin_url, autocommit=True, application_name="dbtools harness")

    @abstractmethod
    def stop(self) -> None:
        """End the server and remove its files. A second call does nothing."""
