"""A scratch database: fresh, known to the build alone, gone at the end.

It is made on the target's server where the role may create databases, with the target's encoding, locale and settings.
Else it is on a throwaway server of the same major version, under a role of the same name and password.
"""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.build.place import find_place
from dbtools.db.connect import open_session
from dbtools.db.databases import copy_settings, create_database, drop_database, suppress_errors
from dbtools.db.dsn import Dsn
from dbtools.db.sql import literal, quote, scalar
from dbtools.errors import UNCHANGED, ChainFailed
from dbtools.server.requirements import NONE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import psycopg

    from dbtools.server.container import ContainerServer
    from dbtools.server.embedded import EmbeddedServer
    from dbtools.server.requirements import Requirements

PREFIX = "dbtools_build_"
KEPT_PREFIX = "dbtools_kept_"
"""Of a database that `invoke build --keep` leaves."""
YOUNG_S = 60.0

_LEFT = "select datname from pg_database where datname like %s and pg_has_role(datdba, 'USAGE') order by 1"
_OTHER_ROLE = "select case when current_user <> session_user then current_user else '' end"
_ROLES = "select rolname from pg_roles where rolname !~ '^pg_' order by 1"


@dataclass(frozen=True)
class Scratch:
    """An empty database, and a session on it that keeps others from dropping it."""

    dsn: Dsn
    session: psycopg.Connection
    place: str
    """"the same server", or "a throwaway server"."""
    role: str
    """The role of the steps."""


@contextmanager
def scratch_database(
    target: Dsn,
    schema: str,
    requirements: Requirements = NONE,
    *,
    extensions: bool = False,
    without: Collection[str] = (),
    keep: bool = False,
) -> Iterator[Scratch]:
    """Make a database for a build in the block, and drop it at the end; with `keep` leave it for a look.

    It has the extensions that another role made in the target, as far as they can be made; with `extensions`, those
    that this role made too; but none of those in `without`. A throwaway server has the target's major version, and the
    required extensions and those of the target to be made.

    Raises:
        DatabaseUnreachable: The target's server did not let us in.
        ServerError: The role may not create a database, and a throwaway server could not be started.
    """
    with open_session(target, "build") as session:
        place = find_place(session, extensions=extensions, without=without, keep=keep)
        if not place.forbidden:
            with _on_same_server(session, target, schema, keep=keep) as scratch:
                _give(scratch, place.given)
                yield scratch
            return
        others = [str(name) for (name,) in session.execute(_ROLES) if name != place.role]
    if keep:
        raise ChainFailed(
            f"Role {place.role} may not create a database on this server, so none can be kept.",
            "",
            f"As a superuser: alter role {quote(place.role)} createdb;",
            UNCHANGED,
        )
    with (
        place.start(requirements) as server,
        _on_throwaway_server(server, place.role, target.password, others, schema) as scratch,
    ):
        _give(scratch, place.given)
        yield scratch


@contextmanager
def _on_same_server(session: psycopg.Connection, target: Dsn, schema: str, *, keep: bool) -> Iterator[Scratch]:
    _drop_left(session)
    name = f"{KEPT_PREFIX if keep else PREFIX}{int(time.time()):x}_{secrets.token_hex(4)}"
    create_database(session, name)
    dsn = target.pinned(session).with_database(name)
    try:
        copy_settings(session, name)
        with _prepared(dsn, schema) as inside:
            yield Scratch(dsn, inside, "the same server", str(scalar(inside, "select current_user")))
    finally:
        if not keep:
            with suppress_errors():
                drop_database(session, name)


@contextmanager
def _on_throwaway_server(
    server: EmbeddedServer | ContainerServer, role: str, password: str, others: list[str], schema: str
) -> Iterator[Scratch]:
    # The role's own password, where we know it: a program may have it from its settings.
    name, password = "scratch", password or secrets.token_urlsafe(18)
    with server.connect_admin() as admin:
        existing = {found for (found,) in admin.execute("select rolname from pg_roles")}
        for other in others:
            if other not in existing:
                admin.execute(f"create role {quote(other)}")  # it may be named in a grant
        make = "alter" if role in existing else "create"
        admin.execute(f"{make} role {quote(role)} login superuser password {literal(password)}")
        admin.execute(f"create database {name} owner {quote(role)} {server.quick_copy}")
    url = Dsn.parse(server.url_of(name), source="the server's URL")
    dsn = url.changed(user=role, password=password)
    with _prepared(dsn, schema) as inside:
        yield Scratch(dsn, inside, "a throwaway server", role)


@contextmanager
def _prepared(dsn: Dsn, schema: str) -> Iterator[psycopg.Connection]:
    with open_session(dsn, "build") as session:
        if role := scalar(session, _OTHER_ROLE):  # the URL's options chose it, and the steps get no options
            session.execute(f"alter database {quote(dsn.dbname)} set role to {quote(role)}")
        if schema != "public":
            session.execute(f"create schema {quote(schema)}")
            session.execute(f"alter database {quote(dsn.dbname)} set search_path to {quote(schema)}, public")
        yield session


def _give(scratch: Scratch, extensions: Sequence[tuple[str, str, str, bool]]) -> None:
    for name, version, schema, _ in extensions:
        with suppress_errors(), scratch.session.transaction():
            scratch.session.execute(
                f"create schema if not exists {quote(schema)};"
                f" create extension {quote(name)} with schema {quote(schema)} version {literal(version)} cascade"
            )


def _drop_left(session: psycopg.Connection) -> None:
    """Drop what builds that were killed have left. A build that goes on has a session there, which prevents it."""
    for (name,) in session.execute(_LEFT, (PREFIX.replace("_", r"\_") + "%",)).fetchall():
        born = name.removeprefix(PREFIX).partition("_")[0]
        if not int(born, 16) > time.time() - YOUNG_S:  # else its session may be on the way
            with suppress_errors():
                session.execute(f"drop database if exists {quote(name)}")
