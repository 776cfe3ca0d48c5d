"""Connection strings: parse, normalise and mask them.

Whatever is printed, logged or put into an error goes through `Dsn.masked` or `Dsn.target`: neither holds the password,
and both name what libpq connects to. A URL can name a host or a database twice (in its path and as ?host= or ?dbname=)
or leave them to the environment (PGHOST, PGHOSTADDR, PGSERVICE); libpq's own parser decides, and `Dsn.url` is written
anew from what it found. libpq quotes a malformed URL in its complaint, so that is reworded here, never passed on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
EXAMPLE = "DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/DATABASE"
SECRETS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
MAX_NAME_BYTES = 63
"""The server silently truncates a longer name: it would be another database than the one shown."""


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
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        scheme, separator, rest = text.partition("://")
        if not separator or scheme not in SCHEMES:
            shown = f"it starts with {scheme + separator!r}" if separator else "it is not a URL"
            raise _malformed(source, f"{shown}; wanted {', '.join(name + '://' for name in SCHEMES)}")
        try:
            parts = conninfo_to_dict(f"postgresql://{rest}")
        except psycopg.ProgrammingError as error:
            # The first words say which rule was broken; what follows the colon quotes the URL.
            raise _malformed(source, str(error).partition(":")[0].strip()) from None
        values = {name: str(value) for name, value in parts.items() if value is not None}
        if "@" in values.get("host", ""):
            raise _malformed(source, "the password holds an @ that is not written as %40")
        if "service" in values:
            raise _malformed(source, "it leaves the host to a service file (service=); set PGSERVICE, or name the host")
        if "replication" in values:
            raise _malformed(source, "it asks for replication, not for a database (replication=)")
        values = _environment() | values
        port = values.get("port", "5432")
        if not all(part.isdecimal() and 0 < int(part) < 65536 for part in port.split(",")):
            raise _malformed(source, f"the port {port!r} is not a number from 1 to 65535")
        if not values.get("dbname"):
            raise _malformed(source, "it names no database")
        if len(values["dbname"].encode()) > MAX_NAME_BYTES:
            raise _malformed(
                source, f"the database's name is longer than {MAX_NAME_BYTES} bytes, and the server would cut it"
            )
        return cls._of(values)

    @classmethod
    def _of(cls, values: Mapping[str, str]) -> Dsn:
        return cls(
            url=_compose(values),
            masked=_compose({name: "***" if name in SECRETS else text for name, text in values.items()}),
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

        A list of hosts, or a name with several addresses, may lead the next connection to another server.
        """
        info = connection.info
        return self._changed(host=info.host, hostaddr=info.hostaddr or None, port=str(info.port))

    def without_password(self) -> Dsn:
        """Return the same without its password, for a program that gets the password another way."""
        return self._changed(password=None)

    def with_database(self, name: str) -> Dsn:
        """Return another database of the same server."""
        return self._changed(dbname=name)

    def through_proxy(self, host: str, port: int) -> Dsn:
        """Return the same database by way of a proxy that speaks no TLS, for a program that is given the URL.

        `options` are left out: a program inherits the environment that they may come from.
        """
        return self._changed(host=host, hostaddr=None, port=str(port), sslmode="disable", options=None)

    def _changed(self, **changes: str | None) -> Dsn:
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


def mask(text: str, password: str = "") -> str:
    """Return `text` without passwords: those in URLs, those in key=value form, and every copy of `password`."""
    text = re.sub(r"(://[^/\s:@]*:)[^/\s]*(@)", r"\1***\2", text)
    text = re.sub(r"(?i)(password\s*=\s*)('(?:[^'\\]|\\.)*'|[^&\s'\"]+)", r"\1***", text)
    # A password shorter than 4 characters would mask innocent text; the patterns above still find it in its places.
    for secret in {password, quote(password, safe="")}:
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    return text


def printable(name: str) -> str:
    """Return a name as it is, or in quotes and escaped where it would break the line or steer the terminal."""
    return name if name.isprintable() else repr(name)


def _environment() -> dict[str, str]:
    """Return what libpq takes from PGHOST, PGHOSTADDR, PGPORT, PGOPTIONS and the service of PGSERVICE."""
    from psycopg.pq import Conninfo

    found = {}
    for option in Conninfo.get_defaults():
        name = option.keyword.decode()
        if name in ("host", "hostaddr", "port", "options") and option.val and option.val != option.compiled:
            found[name] = option.val.decode()
    return found


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


def _malformed(source: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{source} is not a usable PostgreSQL URL.",
        f"{why[:1].upper()}{why[1:]}.",
        f"Write it like this: {EXAMPLE}",
        UNCHANGED,
    )
