"""A real PostgreSQL for tests and for the project itself: embedded, in a container, or the one you have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType


class Server(Protocol):
    """A running PostgreSQL server with one database, owned by a role that is not a superuser.

    Leaving the `with` block (or calling `stop`) ends a server that was started for it, and leaves one that was found
    running as it was.
    """

    kind: str
    """"embedded", "container" or "existing"."""
    version: str
    """As the server reports it: "16.14"."""
    url: str
    """postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE of the application role. Holds the password: mask it in output."""
    admin_url: str | None
    """The same for a superuser on the same database, or None where the harness has none."""

    def create_database(self, name: str) -> str:
        """Create an empty database owned by the application role and return its URL."""

    def drop_database(self, name: str) -> None:
        """Drop a database made by `create_database`, ending its sessions."""

    def stop(self) -> None:
        """End the server and remove what it left on disk. Calling it twice is allowed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
