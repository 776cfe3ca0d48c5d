"""Read a database URL as libpq does, and refuse it in words that quote nothing of it.

libpq quotes a malformed URL in its complaint, and with it the password; so its words are never passed on.
"""

from __future__ import annotations

from dbtools.db.secrets import remember_unreadable
from dbtools.errors import UNCHANGED, ConfigurationError

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
FOREIGN = {
    "schema": "name the schema in [tool.dbtools]",
    "pgbouncer": "dbtools finds a pooler by itself",
    "connection_limit": "dbtools has --pool-size",
    "pool_timeout": "dbtools has --lock-timeout",
    "ssl": "libpq's parameter is sslmode",
    "sslaccept": "libpq's parameter is sslmode",
    "statement_cache_size": "dbtools prepares no statements",
    "prepared_statement_cache_size": "dbtools prepares no statements",
}
"""Parameters that other drivers take, and what to do about each."""
# libpq's first words for a URL that it cannot read, and ours. The rest of its message quotes the URL.
_COMPLAINTS = {
    "unexpected spaces": "it holds a space that is not written as %20",
    "invalid percent-encoded token": "it holds a % that is not written as %25",
    "forbidden value %00": "it holds %00",
    "invalid URI query parameter": "it has a parameter that libpq does not know",
    "extra key/value separator": "a parameter does not read name=value",
    "missing key/value separator": "a parameter does not read name=value",
    "end of string reached when looking for matching": "an address in [ ] is not closed",
    "IPv6 host address may not be empty": "an address in [ ] is empty",
    "unexpected character": "the host is followed by neither a port, a / nor a ?",
    "could not match": "it has more ports than hosts, or fewer",
}
_UNREADABLE = "libpq cannot read it"
EXAMPLE = "DATABASE_URL=postgresql://USER:PASSWORD@HOST:5432/DATABASE"
MAX_NAME_BYTES = 63
"""The server silently truncates a longer name: it would be another database than the one shown."""


def read(text: str, source: str) -> dict[str, str]:
    """Return libpq's parameters of the URL `text`, with those of the environment where it leaves them open.

    Raises:
        ConfigurationError: `text` is not such a URL, names no database, or would lead to another one than is shown. The
            message names `source` and the fault, nothing of the text.
    """
    try:
        return _read(text, source)
    except ConfigurationError:
        remember_unreadable(text)
        raise


def _read(text: str, source: str) -> dict[str, str]:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        shown = f"it starts with {scheme + separator!r}" if separator and scheme.isalpha() else "it is not a URL"
        raise _malformed(source, f"{shown}; wanted {', '.join(name + '://' for name in SCHEMES)}")
    location, _, query = rest.partition("?")
    if "@" in location.partition("/")[2]:
        raise _malformed(source, "a / in the password is not written as %2F, or an @ in the database's name as %40")
    for parameter in query.split("&"):
        name = parameter.partition("=")[0]
        if name in FOREIGN:
            raise _malformed(source, f"libpq does not know its parameter {name}; leave that out: {FOREIGN[name]}")
    try:
        parts = conninfo_to_dict(f"postgresql://{rest}")
    except psycopg.ProgrammingError as error:
        words = str(error)
        raise _malformed(
            source, next((ours for theirs, ours in _COMPLAINTS.items() if words.startswith(theirs)), _UNREADABLE)
        ) from None
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
        raise _malformed(source, "its port is not a number from 1 to 65535")
    if not values.get("dbname"):
        raise _malformed(source, "it names no database")
    if len(values["dbname"].encode()) > MAX_NAME_BYTES:
        raise _malformed(
            source, f"the database's name is longer than {MAX_NAME_BYTES} bytes, and the server would cut it"
        )
    return values


def _environment() -> dict[str, str]:
    """Return what libpq takes from PGHOST, PGHOSTADDR, PGPORT, PGOPTIONS and the service of PGSERVICE."""
    from psycopg.pq import Conninfo

    found = {}
    for option in Conninfo.get_defaults():
        name = option.keyword.decode()
        if name in ("host", "hostaddr", "port", "options") and option.val and option.val != option.compiled:
            found[name] = option.val.decode()
    return found


def _malformed(source: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{source} is not a usable PostgreSQL URL.",
        f"{why[:1].upper()}{why[1:]}.",
        f"Write it like this: {EXAMPLE}",
        UNCHANGED,
    )
