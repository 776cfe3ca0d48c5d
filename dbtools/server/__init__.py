"""A real PostgreSQL for tests and for the project itself: embedded, in a container, or one that runs already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType


class Server(Protocol):
    """A running PostgreSQL server with one database, owned by a role that is not a superuser.

    Leaving the `with` block (or calling `stop`) ends a server that was started for it. A server that was running before
    stays as it is.
    """

    @property
    def kind(self) -> str:
        """The sort of server: "embedded", "container" or "existing"."""

    @property
    def version(self) -> str:
        """The version as the server reports it: "16.14"."""

    @property
    def url(self) -> str:
        """postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE of the application role. Mask the password in output."""

    @property
    def admin_url(self) -> str | None:
        """The same for a superuser on the same database, or None where dbtools has no superuser."""

    def create_database(self, name: str) -> str:
        """Create an empty database owned by the application role and return its URL."""

    def drop_database(self, name: str) -> None:
        """Drop a database made by `create_database`, and end its sessions."""

    def stop(self) -> None:
        """End the server and remove its files. A second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class StopsWithBlock:
    """What all servers share: the end of the `with` block stops them."""

    def stop(self) -> None:
        """End what was started."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
