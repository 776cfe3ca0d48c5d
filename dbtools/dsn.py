"""Connection strings: parse, normalise and mask them.

Everything that is printed, logged or put into an error goes through `Dsn.masked` or `Dsn.target`: neither holds the
password. libpq's own complaints about a malformed URL quote it whole, so they are reworded here, never passed on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote

from dbtools.errors import ConfigurationError

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
EXAMPLE = "DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/DATABASE"


@dataclass(frozen=True)
class Dsn:
    """One database, as a URL that libpq understands. `repr` and `str` show it masked."""

    url: str = field(repr=False)
    host: str
    port: str
    dbname: str
    user: str
    password: str = field(repr=False)

    @classmethod
    def parse(cls, text: str, *, source: str = "DATABASE_URL") -> Dsn:
        """Return the database that `text` names.

        Accepts postgresql://, postgres:// and postgresql+psycopg://. What the URL leaves out (user, password, port)
        is left to libpq: PGUSER, PGPASSFILE, service files and its own defaults.

        Raises:
            ConfigurationError: `text` is not such a URL, or names no database. The message names `source` and the
                fault, never the password.
        """
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        scheme, separator, rest = text.partition("://")
        if not separator or scheme not in SCHEMES:
            shown = f"it starts with {scheme + separator!r}" if separator else "it is not a URL"
            raise _malformed(source, f"{shown}; wanted {', '.join(name + '://' for name in SCHEMES)}")
        url = f"postgresql://{rest}"
        try:
            parts = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            # The first words say which rule was broken; what follows the colon quotes the URL.
            raise _malformed(source, str(error).partition(":")[0].strip()) from None
        values = {name: str(value) for name, value in parts.items() if value is not None}
        if "@" in values.get("host", ""):
            raise _malformed(source, "the password holds an @ that is not written as %40")
        port = values.get("port", "5432")
        if not all(one.isdecimal() and 0 < int(one) < 65536 for one in port.split(",")):
            raise _malformed(source, f"the port {port!r} is not a number from 1 to 65535")
        if not values.get("dbname"):
            raise _malformed(source, "it names no database")
        return cls(
            url=url,
            host=values.get("host", "localhost"),
            port=port,
            dbname=values["dbname"],
            user=values.get("user", ""),
            password=values.get("password", ""),
        )

    @property
    def sqlalchemy_url(self) -> str:
        """The URL for SQLAlchemy with the psycopg 3 driver. Holds the password."""
        return "postgresql+psycopg" + self.url.removeprefix("postgresql")

    @property
    def masked(self) -> str:
        """The URL with *** in place of the password, wherever the password stands."""
        return mask(self.url, self.password)

    @property
    def target(self) -> str:
        """What errors call it: "database app on db.example.com:5432"."""
        return f"database {self.dbname} on {self.host}:{self.port}"

    def __str__(self) -> str:
        return self.masked


def mask(text: str, password: str = "") -> str:
    """Return `text` without passwords: those in URLs, those in key=value form, and every copy of `password`."""
    text = re.sub(r"(://[^/?#\s]*?:)[^/?#\s]*(@)", r"\1***\2", text)
    text = re.sub(r"(?i)(password\s*=\s*)('[^']*'|[^&\s'\"]+)", r"\1***", text)
    # A password shorter than 4 characters would blank out innocent text; the patterns above still cover its places.
    for secret in {password, quote(password, safe="")}:
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    return text


def without_password(dsn: Dsn) -> str:
    """Return the URL of `dsn` without its password, for a program that gets the password another way."""
    scheme, _, rest = dsn.url.partition("://")
    before, at, after = rest.partition("@")
    user = f"{before.partition(':')[0]}@" if at else ""
    return re.sub(r"(?i)([?&])password=[^&]*&?", r"\1", f"{scheme}://{user}{after if at else rest}").rstrip("?&")


def _malformed(source: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{source} is not a usable PostgreSQL URL.",
        f"{why[:1].upper()}{why[1:]}. Nothing was changed.",
        f"Write it like this: {EXAMPLE}",
    )
