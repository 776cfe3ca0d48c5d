"""A server that another process keeps, as its clients see it. Making one needs no driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.server import StopsWithBlock

if TYPE_CHECKING:
    from dbtools.server.external import ExternalServer


class SharedServer(StopsWithBlock):
    """The server of a test run, which ends with the run. See `dbtools.server.Server`."""

    def __init__(self, kind: str, version: str, url: str, admin_url: str | None) -> None:
        self.kind, self.version, self.url, self.admin_url = kind, version, url, admin_url

    def create_database(self, name: str) -> str:
        """Create an empty database owned by the application role and return its URL."""
        return self._reached().create_database(name)

    def drop_database(self, name: str) -> None:
        """Drop a database made by `create_database`, and end its sessions."""
        self._reached().drop_database(name)

    def stop(self) -> None:
        """Do nothing: the server is that of all processes of the run."""

    def _reached(self) -> ExternalServer:
        from dbtools.server.external import ExternalServer

        return ExternalServer(self.url)
