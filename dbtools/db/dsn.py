"""Connection strings: one database, as libpq understands it and as a person may see it.

Whatever is printed, logged or put into an error goes through `Dsn.masked` or `Dsn.target`: neither holds the password,
and both name what libpq connects to. A URL can name a host or a database twice (in its path and as ?host= or ?dbname=)
or leave them to the environment (PGHOST, PGHOSTADDR, PGSERVICE); libpq's own parser decides (see `url`), and `Dsn.url`
is written anew from what it found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from dbtools.db.secrets import SECRET_KEYS, remember
from dbtools.db.url import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg


@dataclass(frozen=True)
class Dsn:
    """One database, as a URL that libpq understands. `repr` and `str` show it masked."""

    url: str = field(repr=False)
    masked: str = field(repr=False)
    """The URL with *** in place of every secret."""
    host: str
    """A name, an address, or the folder of a socket; several with commas between."""
    hostaddr: str
    """The address that is connected to whatever `host` says, or "" where none is set."""
    port: str
    dbname: str
    user: str
    password: str = field(repr=False)
    options: str = field(repr=False)
    """Settings of the session, as the server's command line spells them: "-c work_mem=64MB"."""

    @classmethod
    def parse(cls, text: str, *, source: str = "DATABASE_URL") -> Dsn:
        """Return the database that `text` names.

        Accepts postgresql://, postgres:// and postgresql+psycopg://. What the URL leaves out (user, password, port)
        is left to libpq: PGUSER, PGPASSFILE, service files and its own defaults.

        Raises:
            ConfigurationError: `text` is not such a URL, names no database, or would lead to another one than is shown.
                The message names `source` and the fault, never the password.
        """
        return cls._of(read(text, source))

    @classmethod
    def _of(cls, values: Mapping[str, str]) -> Dsn:
        public = (values.get("user", ""), values.get("dbname", ""), values.get("host", ""))
        remember(*(values.get(name) for name in SECRET_KEYS), public=public)
        return cls(
            url=_compose(values),
            masked=_compose({name: "***" if name in SECRET_KEYS else text for name, text in values.items()}),
            host=values.get("host", "localhost"),
            hostaddr=values.get("hostaddr", ""),
            port=values.get("port", "5432"),
            dbname=values["dbname"],
            user=values.get("user", ""),
            password=values.get("password", ""),
            options=values.get("options", ""),
        )

    def pinned(self, connection: psycopg.Connection) -> Dsn:
        """Return this database on the very server that `connection`, made from this one, is on.

        A list of hosts, or a name with several addresses, may lead the next connection to another server. User and
        password are those of the connection too: a service file may have them, and steps are not given the service.
        """
        info = connection.info
        return self.changed(
            host=info.host,
            hostaddr=info.hostaddr or None,
            port=str(info.port),
            user=info.user,
            password=info.password or None,
        )

    def without_password(self) -> Dsn:
        """Return the same without its password, for a program that gets the password another way."""
        return self.changed(password=None)

    def with_database(self, name: str) -> Dsn:
        """Return another database of the same server."""
        return self.changed(dbname=name)

    def through_proxy(self, host: str, port: int) -> Dsn:
        """Return the same database by way of a proxy that speaks no TLS, for a program that is given the URL.

        `options` are left out: a program inherits the environment that they may come from.
        """
        return self.changed(host=host, hostaddr=None, port=str(port), sslmode="disable", options=None)

    def changed(self, **changes: str | None) -> Dsn:
        """Return the same with some of libpq's parameters set to another value, or taken away (None)."""
        from psycopg.conninfo import conninfo_to_dict

        values = conninfo_to_dict(self.url) | changes
        return self._of({name: str(value) for name, value in values.items() if value is not None})

    @property
    def sqlalchemy_url(self) -> str:
        """The URL for SQLAlchemy with the psycopg 3 driver. Holds the password."""
        return "postgresql+psycopg" + self.url.removeprefix("postgresql")

    @property
    def target(self) -> str:
        """What errors call it: "database app on db.example.com:5432"."""
        return f"database {printable(self.dbname)} on {printable(self.hostaddr or self.host)}:{self.port}"

    def __str__(self) -> str:
        return self.masked


def printable(name: str) -> str:
    """Return a name as it is, or in quotes and escaped where it would break the line or steer the terminal."""
    return name if name.isprintable() else repr(name)


def _compose(values: Mapping[str, str]) -> str:
    """Return libpq's `values` as a URL: a single host before the path, everything else behind it."""
    rest = dict(values)
    user, password, dbname = rest.pop("user", ""), rest.pop("password", ""), rest.pop("dbname")
    place = ""
    host, port = rest.get("host", ""), rest.get("port", "")
    if re.fullmatch(r"[\w.-]+|[0-9a-fA-F:.]+", host, re.ASCII) and "," not in port:
        place = f"[{host}]" if ":" in host else host
        place += f":{port}" if port else ""
        rest = {name: text for name, text in rest.items() if name not in ("host", "port")}
    who = quote(user, safe="") + (f":{quote(password, safe='*')}" if password else "")
    more = "&".join(f"{name}={quote(text, safe='/:,*')}" for name, text in rest.items())
    return f"postgresql://{who + '@' if who else ''}{place}/{quote(dbname, safe='')}{'?' + more if more else ''}"
