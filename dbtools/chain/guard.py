"""May this database be destroyed?

The rule is on the target and on the environment, not on a prompt: nothing is asked, so nothing can be answered by a
`yes` in a pipe. What counts is what the session is connected to (the address of its other end, the database it is in),
not what the URL says. A tunnel's near end is on this machine, and so is what is behind it as far as can be seen from
here: for such a database there are the protect list and its own comment.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shlex
import socket
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dbtools.config import parse_bool
from dbtools.db.dsn import printable
from dbtools.errors import UNCHANGED, ResetRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

    from dbtools.chain.target import Target

MARKERS = ("NODE_ENV", "APP_ENV", "ENVIRONMENT")
PRODUCTION = {"production", "prod", "live"}
PROTECTED = {"protected", *(f"protected={value}" for value in ("true", "yes", "on", "1"))}

# Names are qualified, operators too: a search_path of the role or of the database could put others in their place.
_DATABASE = """
select d.datname, coalesce(pg_catalog.shobj_description(d.oid, 'pg_database'), ''),
       pg_catalog.current_setting('transaction_read_only'), pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('session_replication_role')
from pg_catalog.pg_database d where d.datname operator(pg_catalog.=) pg_catalog.current_database()
"""


@dataclass(frozen=True)
class Rules:
    """What a project or a flag adds to the guard."""

    allow_hosts: tuple[str, ...] = ()
    """Other machines whose databases may be destroyed: names as the URL has them, or addresses."""
    protect: tuple[str, ...] = ()
    """Patterns (`*`, `?`, `[...]`) of databases that may not: NAME or HOST/NAME; capital letters do not count."""


def check_environment(what: str, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse `what` ("reset") where a variable says production. Called before any connection is opened.

    Raises:
        ResetRefused: A marker says production and ALLOW_RESET=true is not set.
    """
    marks = [f"{name}={environ[name]}" for name in MARKERS if environ.get(name, "").strip().lower() in PRODUCTION]
    if marks and not parse_bool("ALLOW_RESET", environ):
        raise ResetRefused(
            f"Refused to {what}: this is a production environment.",
            f"{' and '.join(marks)} {'says' if len(marks) == 1 else 'say'} so.",
            "If the data may really be destroyed, set ALLOW_RESET=true for this one command.",
            UNCHANGED,
        )


def check_database(
    connection: psycopg.Connection, target: Target, what: str, *, environ: Mapping[str, str] = os.environ
) -> None:
    """Refuse `what` on the database `connection` is in, where that is marked, protected or on another machine.

    A marked one (its comment says environment=production or protected, wherever the command runs) and one that the
    protect list names need both ALLOW_RESET=true and the database's name, typed (`target.confirm`). A host that is not
    this machine needs one of: its name or address among `target.rules.allow_hosts`, ALLOW_RESET=true. What no rule
    lets pass is a session that could not do the work, or not soundly: read-only, or one that checks no foreign keys.

    Raises:
        ResetRefused: Says which rule, and how to allow it.
    """
    row = connection.execute(_DATABASE).fetchone()
    assert row is not None
    name, comment, read_only, standby, replication_role = str(row[0]), str(row[1]), row[2] == "on", row[3], str(row[4])
    allowed = parse_bool("ALLOW_RESET", environ)
    address, names = _host(connection, target)
    shown = printable(name)
    mark = _mark(name, comment, [*names, address], target.rules.protect)
    if mark and not (allowed and target.confirm == name):
        raise ResetRefused(
            f"Refused to {what} database {shown}: it is {mark[0]}.",
            f"{mark[1]}.",
            f"If it may really be destroyed: ALLOW_RESET=true and --confirm {shlex.quote(name)}",
            UNCHANGED,
        )
    hosts = {one.casefold() for one in target.rules.allow_hosts}
    if address and not allowed and not hosts & {address.casefold(), *(one.casefold() for one in names)}:
        host = names[0] if names else address
        raise ResetRefused(
            f"Refused to {what} database {shown} on {printable(host)}: that is not this machine.",
            f"The server's address is {address}, port {connection.info.port}.",
            f"If it may be destroyed, this once: --allow-host {shlex.quote(host)};"
            f" for good: [tool.dbtools] allow-hosts = [{json.dumps(host)}]",
            UNCHANGED,
        )
    if read_only:
        reason = "The server is a standby" if standby else "default_transaction_read_only is on for it"
        raise ResetRefused(
            f"Refused to {what} database {shown}: it is read-only for this session.",
            f"{reason}.",
            "Connect to the primary, or take default_transaction_read_only out of the URL, the role or the database.",
            UNCHANGED,
        )
    if replication_role != "origin":
        raise ResetRefused(
            f"Refused to {what} database {shown}: its foreign keys and triggers are off for this session.",
            f"session_replication_role is {replication_role}.",
            "Take session_replication_role out of the URL, the role or the database.",
            UNCHANGED,
        )


def _mark(name: str, comment: str, hosts: list[str], protect: tuple[str, ...]) -> tuple[str, str] | None:
    """Return what the database is, and what says so; None where nothing does."""
    words = set(re.findall(r"[\w=]+", comment.lower()))
    if words & {f"environment={value}" for value in PRODUCTION}:
        return "marked as a production database", f"Its comment is {comment!r}"
    if words & PROTECTED:
        return "marked as protected", f"Its comment is {comment!r}"
    for pattern in protect:
        candidates = [f"{host}/{name}" for host in hosts] if "/" in pattern else [name]
        if any(fnmatchcase(one.casefold(), pattern.casefold()) for one in candidates):
            return "on the protect list", f"[tool.dbtools] protect has {pattern!r}"
    return None


def _host(connection: psycopg.Connection, target: Target) -> tuple[str, list[str]]:
    """Return the address of another machine, "" for this one, and the names the server was asked for by.

    The kernel says where the session's other end is. With hostaddr set, `host` is a label that leads nowhere.
    """
    names = ["" if target.dsn.hostaddr else connection.info.host]
    with socket.socket(fileno=os.dup(connection.fileno())) as link:
        if link.family == socket.AF_UNIX:
            return "", [*filter(None, names), "localhost"]
        address = ipaddress.ip_address(link.getpeername()[0].partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return "", [*filter(None, names), str(address), "localhost"]
    return str(address), [*filter(None, names)]
