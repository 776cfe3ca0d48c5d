"""What servers started for one purpose share: databases made by their superuser, and an end with the `with` block."""

from __future__ import annotations

import urllib.parse
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from dbtools.db.sql import quote
from dbtools.server.cluster import ROLE

if TYPE_CHECKING:
    from types import TracebackType

    import psycopg


class EphemeralServer(ABC):
    """A server of our own, which holds nothing that is to be kept. See `dbtools.server.Server`."""

    url: str
    admin_url: str | None

    def create_database(self, name: str) -> str:
        """Create an empty database owned by the application role and return its URL."""
        with self._admin() as connection:
            # With fsync off, copying files beats logging every block.
            connection.execute(f"create database {quote(name)} owner {ROLE} strategy file_copy")
        return f"{self.url.rpartition('/')[0]}/{urllib.parse.quote(name, safe='')}"

    def drop_database(self, name: str) -> None:
        """Drop a database made by `create_database`, ending its sessions."""
        with self._admin() as connection:
            connection.execute(f"drop database if exists {quote(name)} with (force)")

    @abstractmethod
    def stop(self) -> None:
        """End the server and remove what it left. Calling it twice is allowed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _admin(self) -> psycopg.Connection:
        import psycopg

        assert self.admin_url is not None
        return psycopg.connect(self.admin_url, autocommit=True, application_name="dbtools harness")
