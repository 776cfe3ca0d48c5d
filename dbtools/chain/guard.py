"""May this database be destroyed?

The rules look at the target and at the environment. There is no confirmation prompt that a piped `yes` could answer.
What counts is where the session is connected (the address of its other end, the database it is in), not what the URL
says. A server behind a tunnel looks local: protect such a database with the protect list or with its own comment.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shlex
import socket
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dbtools.chain.markers import marked, marked_variables, protects
from dbtools.config import parse_bool
from dbtools.db.dsn import printable
from dbtools.errors import UNCHANGED, ResetRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

    from dbtools.chain.target import Target

ADMINISTRATIVE = {"postgres", "template0", "template1"}

# Names and operators are qualified: the search_path of a role or a database could substitute others.
_DATABASE = """
select d.datname, coalesce(pg_catalog.shobj_description(d.oid, 'pg_database'), ''),
       pg_catalog.current_setting('transaction_read_only'), pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('session_replication_role')
from pg_catalog.pg_database d where d.datname operator(pg_catalog.=) pg_catalog.current_database()
"""


def check_environment(
    what: str,
    environ: Mapping[str, str] = os.environ,
    *,
    allow: str = "If the data may really be destroyed, set ALLOW_RESET=true",
) -> None:
    """Refuse `what` ("reset") where a variable says production or staging. Called before any connection is opened.

    `allow` begins the sentence that says what to do if it may be done.

    Raises:
        ResetRefused: A variable says so (see `markers`) and ALLOW_RESET=true is not set.
    """
    marks = marked_variables(environ)
    if marks and not parse_bool("ALLOW_RESET", environ):
        shown = " and ".join(f"{name}={printable(environ[name])}" for name in marks)
        raise ResetRefused(
            f"Refused to {what}: this {min(marks.values())} environment.",
            f"{shown} {'says' if len(marks) == 1 else 'say'} so.",
            f"{allow} for this one command.",
            UNCHANGED,
        )


def check_database(
    connection: psycopg.Connection, target: Target, what: str, *, environ: Mapping[str, str] = os.environ
) -> None:
    """Refuse `what` on the database of `connection`, where that is marked, protected or on another machine.

    A database whose comment marks it (production, staging, protected: see `markers`), and one on the protect list, need
    both ALLOW_RESET=true and the database's name, typed (`target.confirm`). A host that is not this machine needs one
    of: its name or address among `target.rules.allow_hosts`, ALLOW_RESET=true. Nothing opens a session that cannot do
    the work soundly: one that is read-only, or that checks no foreign keys.

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
            f"Refused to {what} database {shown}: it {mark[0]}.",
            f"{mark[1]}.",
            f"If it may really be destroyed: ALLOW_RESET=true and --confirm {shlex.quote(name)}",
            UNCHANGED,
        )
    if name in ADMINISTRATIVE and target.confirm != name:
        raise ResetRefused(
            f"Refused to {what} database {shown}: tools and administrators connect to it, and no application should.",
            "Every server has one of that name.",
            f"Create a database of its own: createdb NAME; or, if it may really be destroyed: --confirm {name}",
            UNCHANGED,
        )
    allowed_hosts = {host.casefold() for host in target.rules.allow_hosts}
    if address and not allowed and not allowed_hosts & {name.casefold() for name in (address, *names)}:
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
            "Connect to the primary, or take default_transaction_read_only out of the URL, the role, the database or"
            " the server's configuration.",
            UNCHANGED,
        )
    if replication_role != "origin":
        raise ResetRefused(
            f"Refused to {what} database {shown}: its foreign keys and triggers are off for this session.",
            f"session_replication_role is {replication_role}.",
            "Take session_replication_role out of the URL, the role, the database or the server's configuration.",
            UNCHANGED,
        )


def _mark(name: str, comment: str, hosts: list[str], protect: tuple[str, ...]) -> tuple[str, str] | None:
    """Return how the database is marked and what says so; None where it is not."""
    if kind := marked(comment):
        return f"{kind.replace('is a', 'is marked as a')} database", f"Its comment is {comment!r}"
    if protects(comment):
        return "is marked as protected", f"Its comment is {comment!r}"
    for pattern in protect:
        candidates = [f"{host}/{name}" for host in hosts] if "/" in pattern else [name]
        if any(fnmatchcase(candidate.casefold(), pattern.casefold()) for candidate in candidates):
            return "is on the protect list", f"protect or DBTOOLS_PROTECT has {pattern!r}"
    return None


def _host(connection: psycopg.Connection, target: Target) -> tuple[str, list[str]]:
    """Return the server's address, "" on this machine, and the host names under which it may be allowed.

    The kernel knows the session's other end. With hostaddr set, `host` is only a label.
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
