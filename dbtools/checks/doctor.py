"""Check a database without changing it: is it reachable, ours to rebuild, unlocked, at head, and its data sound?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.chain import guard
from dbtools.chain.drop import find_owned
from dbtools.chain.migrations import current_revision, load_rendered
from dbtools.chain.schema import check_rights, check_row_security
from dbtools.chain.shadow import check_swappable
from dbtools.db.blockers import find_holder
from dbtools.db.connect import open_session
from dbtools.db.sql import quote
from dbtools.errors import DbtoolsError, ResetRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import psycopg

    from dbtools.application import Application
    from dbtools.chain.target import Target

LOCK_WAIT_S = 5
"""How long a table that another session has locked is waited for."""


@dataclass(frozen=True)
class Finding:
    """The result of one check. `passed` is None for a fact that neither passes nor fails."""

    name: str
    passed: bool | None
    detail: str

    def __str__(self) -> str:
        mark = {True: "✓", False: "✗", None: "·"}[self.passed]
        return f"{mark} {self.name}: {self.detail}"

    def to_json(self) -> dict[str, object]:
        """Return the finding for a machine."""
        return {"name": self.name, "good": self.passed, "detail": self.detail}


def examine(
    target: Target, migrations: Path, cache: Path, application: Application, environ: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield findings in the order in which a reset meets them. Changes nothing.

    Raises:
        DatabaseUnreachable: The server does not answer, or refuses the login.
    """
    from psycopg.errors import LockNotAvailable

    with open_session(target.dsn, "doctor") as connection:
        version = connection.execute("show server_version").fetchone()
        assert version is not None
        yield Finding("server", True, f"PostgreSQL {version[0]}, {target.dsn.target}")
        yield _guard(connection, target, environ)
        yield _rebuild(connection, target)
        holder = find_holder(connection, target.lock_key)
        yield Finding("seed lock", None if holder else True, f"held by {holder}" if holder else "free")
        connection.execute(f"set search_path to {quote(target.schema)}")
        connection.execute(f"set lock_timeout = '{LOCK_WAIT_S}s'")
        history = load_rendered(migrations, cache)
        try:
            here = current_revision(connection)
        except LockNotAvailable:
            yield Finding("migrations", None, "cannot be read: another session has locked alembic_version")
            return
        head = history.revisions[-1].name if history and history.revisions else ""
        if not here:
            yield Finding("migrations", None, "none has run here")
            return
        behind = bool(head) and here != head
        yield Finding("migrations", not behind, f"at {here}" + (f", behind {head}: invoke migrate" if behind else ""))
        if behind:
            return
        yield from _invariants(connection, application)


def _guard(connection: psycopg.Connection, target: Target, environ: Mapping[str, str]) -> Finding:
    try:
        guard.check_environment("reset", environ)
        guard.check_database(connection, target, "reset", environ=environ)
    except ResetRefused as error:
        return Finding("guard", None, f"{error.what} {error.why} {error.hint}")
    return Finding("guard", True, "may be reset")


def _rebuild(connection: psycopg.Connection, target: Target) -> Finding:
    """Ask what a reset asks before it changes anything: rights, owners, row security, dependents elsewhere …"""
    try:
        if target.in_place:
            check_rights(connection, target.schema)
            find_owned(connection, target.schema)
        else:
            check_swappable(connection, target.schema)
        check_row_security(connection, target.schema)
    except DbtoolsError as error:
        return Finding("rights", False, " ".join(filter(None, (error.what, error.why, error.hint))))
    return Finding("rights", True, f"may rebuild schema {target.schema}")


def _invariants(connection: psycopg.Connection, application: Application) -> Iterator[Finding]:
    from psycopg.errors import LockNotAvailable

    for rule in application.invariants:
        try:
            row = connection.execute(f"select count(*), min((r.*)::text) from ({rule.query}) r").fetchone()
        except LockNotAvailable:
            yield Finding(rule.name, None, "cannot be checked: another session has locked a table that it reads")
            continue
        assert row is not None
        broken, example = row
        yield Finding(rule.name, not broken, f"{broken} rows break it, such as {example}" if broken else "holds")
