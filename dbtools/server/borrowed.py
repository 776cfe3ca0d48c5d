"""A server that runs already, lent by a superuser: tests get databases and a role of their own on it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from dbtools.db.dsn import Dsn
from dbtools.db.sql import literal, quote, scalar
from dbtools.server.base import EphemeralServer

if TYPE_CHECKING:
    from dbtools.server.external import ExternalServer


class BorrowedServer(EphemeralServer):
    """Takes the server of a superuser's URL. Makes a role that is none, and its database; `stop` drops both."""

    kind = "existing"
    quick_copy = ""  # its fsync is on: there, copying files is the slower way

    def __init__(self, found: ExternalServer) -> None:
        self.version = found.version
        self.admin_url = found.url
        name = f"dbtools_test_{secrets.token_hex(6)}"
        password = secrets.token_urlsafe(18)
        self.role = name
        self.url = (
            Dsn.parse(found.url, source="the server's URL").changed(user=name, password=password, dbname=name).url
        )
        with self.connect_admin() as admin:
            admin.execute(f"create role {quote(name)} login createdb password {literal(password)}")
        self.create_database(name)
        self._stopped = False

    def stop(self) -> None:
        """Drop the role, its database, and any other that it still owns. The server goes on."""
        if self._stopped:
            return
        self._stopped = True
        with self.connect_admin() as admin:
            owned = "select datname from pg_database where datdba = %s::regrole"
            for (name,) in admin.execute(owned, (quote(self.role),)).fetchall():
                self.drop_database(str(name))
            admin.execute(f"drop role {quote(self.role)}")


def is_superuser(server: ExternalServer) -> bool:
    """Return whether the URL of a server is that of a superuser."""
    import psycopg

    with psycopg.connect(server.url, application_name="dbtools harness") as session:
        return bool(scalar(session, "select rolsuper from pg_roles where rolname = current_user"))
