"""Check a database without changing it: is it reachable, ours to rebuild, unlocked, at head, and its data sound?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.application import HasInvariants
from dbtools.chain import guard
from dbtools.chain.drop import find_owned
from dbtools.chain.mark import read_mark
from dbtools.chain.ownership import check_ours
from dbtools.chain.schema import check_rights
from dbtools.chain.shadow import check_snapshot_movable, check_swappable
from dbtools.db.blockers import find_holder
from dbtools.db.connect import open_session
from dbtools.db.revisions import current_revisions
from dbtools.db.sql import quote
from dbtools.errors import DbtoolsError, ResetRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import psycopg

    from dbtools.application import Application
    from dbtools.build.snapshot import Snapshot
    from dbtools.chain.install import SnapshotSource
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
    target: Target, source: SnapshotSource, application: Application | None, environ: Mapping[str, str]
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
        snapshot = source.find(connection)
        yield _snapshot(snapshot)
        yield _rebuild(connection, target, snapshot)
        marks = [read_mark(connection, schema) for schema in _schemas(target, snapshot)]
        mark = next(filter(None, marks), None)
        yield Finding("content", None, str(mark) if mark else "no reset has marked it")
        holder = find_holder(connection, target.lock_key)
        yield Finding("seed lock", None if holder else True, f"held by {holder}" if holder else "free")
        connection.execute(f"set lock_timeout = '{LOCK_WAIT_S}s'")
        try:
            here = current_revisions(connection)
        except LockNotAvailable:
            yield Finding("migrations", None, "cannot be read: another session has locked the table of revisions")
            return
        heads = set(snapshot.manifest.heads) if snapshot else set()
        behind = bool(here) and not here >= heads
        if here or heads:
            yield Finding("migrations", not behind if here else None, _revisions(here, heads))
        if isinstance(application, HasInvariants) and not behind and (here or mark):
            connection.execute(f"set search_path to {quote(target.schema)}")
            yield from _invariants(connection, application)


def _snapshot(snapshot: Snapshot | None) -> Finding:
    if snapshot is None:
        return Finding("snapshot", None, "none fits; the next reset runs the steps (now: invoke build)")
    manifest = snapshot.manifest
    return Finding("snapshot", True, f"{manifest.key[:16]} fits: {len(manifest.tables)} tables, {manifest.rows} rows")


def _revisions(here: set[str], heads: set[str]) -> str:
    if not here:
        return "none has run here"
    return f"at {', '.join(sorted(here))}" + (
        f", behind {', '.join(sorted(heads - here))}: invoke migrate" if heads - here else ""
    )


def _guard(connection: psycopg.Connection, target: Target, environ: Mapping[str, str]) -> Finding:
    try:
        guard.check_environment("reset", environ)
        guard.check_database(connection, target, "reset", environ=environ)
    except ResetRefused as error:
        return Finding("guard", None, f"{error.what} {error.why} {error.hint}")
    return Finding("guard", True, "may be reset")


def _rebuild(connection: psycopg.Connection, target: Target, snapshot: Snapshot | None) -> Finding:
    """Ask what a reset asks before it changes anything: rights, owners, dependents elsewhere, publications, origin."""
    schemas = _schemas(target, snapshot)
    try:
        if snapshot:
            check_ours(connection, target, snapshot)
        if target.in_place:
            for schema in schemas:
                check_rights(connection, schema)
            find_owned(connection, schemas)
        else:
            if snapshot:
                check_snapshot_movable(snapshot.manifest)
            check_swappable(connection, schemas)
    except DbtoolsError as error:
        return Finding("rights", False, " ".join(filter(None, (error.what, error.why, error.hint))))
    return Finding("rights", True, f"may rebuild schema {', '.join(schemas)}")


def _schemas(target: Target, snapshot: Snapshot | None) -> Sequence[str]:
    """Return the schemas that a reset replaces, as far as that is known before it."""
    return snapshot.manifest.schemas if snapshot else (target.schema,)


def _invariants(connection: psycopg.Connection, application: HasInvariants) -> Iterator[Finding]:
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
