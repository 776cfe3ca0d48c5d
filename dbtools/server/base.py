"""The common part of throwaway servers: a superuser makes their databases, and the `with` block ends them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from dbtools.db.dsn import Dsn
from dbtools.db.sql import quote
from dbtools.server.cluster import ROLE

if TYPE_CHECKING:
    from types import TracebackType

    import psycopg


class EphemeralServer(ABC):
    """A server that dbtools starts and removes again, with all its data. See `dbtools.server.Server`."""

    url: str
    admin_url: str

    def url_of(self, database: str, *, admin: bool = False) -> str:
        """Return the URL of a database of this server, for the application role or with `admin` for the superuser.

        The database need not exist yet.
        """
        url = self.admin_url if admin else self.url
        return Dsn.parse(url, source="the server's URL").with_database(database).url

    def create_database(self, name: str) -> str:
        """Create an empty database owned by the application role and return its URL."""
        with self.connect_admin() as connection:
            # With fsync off, copying files beats logging every block.
            connection.execute(f"create database {quote(name)} owner {ROLE} strategy file_copy")
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Drop a database made by `create_database`, and end its sessions."""
        with self.connect_admin() as connection:
            connection.execute(f"drop database if exists {quote(name)} with (force)")

    def connect_admin(self) -> psycopg.Connection:
        """Return a new connection of the superuser to the server's own database, in autocommit."""
        import psycopg

        return psycopg.connect(self.admin_url, autocommit=True, application_name="dbtools harness")

    @abstractmethod
    def stop(self) -> None:
        """End the server and remove its files. A second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
