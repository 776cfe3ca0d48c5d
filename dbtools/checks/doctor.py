"""Would a reset work here, and if not, why? Asked without changing the database.

What a reset asks before it changes anything is asked in the same way, by the same functions. Some of it depends on what
the steps make: where no snapshot fits, such findings are in doubt, until `build` runs the steps aside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.application import HasInvariants
from dbtools.chain import guard
from dbtools.chain.mark import read_mark
from dbtools.checks.exclusion import examine_lock
from dbtools.checks.findings import Finding
from dbtools.checks.install import examine_install, schemas_of
from dbtools.checks.place import examine_place
from dbtools.checks.reading import reading
from dbtools.checks.steps import examine_steps
from dbtools.db.blockers import find_holder
from dbtools.db.connect import open_session
from dbtools.db.pooler import refusal, refuse_shared_sessions
from dbtools.db.revisions import current_revisions
from dbtools.db.sessions import Sessions
from dbtools.errors import ConfigurationError, ResetRefused
from dbtools.words import number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import psycopg

    from dbtools.application import Application
    from dbtools.build.builder import Builder
    from dbtools.build.snapshot import Snapshot
    from dbtools.chain.target import Target
    from dbtools.checks.steps import History


def examine(
    target: Target,
    builder: Builder,
    application: Application | None,
    environ: Mapping[str, str],
    *,
    build: bool = False,
    lock: bool = False,
) -> Iterator[Finding]:
    """Yield findings in the order in which a reset meets them. The database is not changed.

    With `build`, the steps run on a scratch database, also where a snapshot fits, and a reset of another one is tried.
    With `lock`, two sessions try whether the advisory lock excludes. Behind a pooler that lets no transaction in,
    nothing else can be asked.

    Raises:
        DatabaseUnreachable: The server does not answer, or refuses the login.
    """
    import psycopg

    with open_session(target.dsn, "doctor") as connection:
        version = connection.execute("show server_version").fetchone()
        assert version is not None
        yield Finding("server", True, f"PostgreSQL {version[0]}, {target.dsn.target}")
        try:
            pooler = [*_pooler(connection, target)]
        except psycopg.errors.ProtocolViolation as error:
            if refused := refusal(error):
                yield Finding.of("pooler", refused)
                return
            raise
        yield from pooler
        if lock:
            yield from examine_lock(target.dsn)
        yield from _guard(connection, target, environ)
        fitting = builder.find_levels(connection)
        complete = len(fitting) == len(builder.levels)
        steps, history = examine_steps(builder, len(builder.levels if build else fitting))  # else the build tells
        yield from steps
        if history and len(history.heads) > 1:
            heads = ", ".join(history.heads)
            yield Finding("heads", None, f"{len(history.heads)} ({heads}): the migrations are brought to all of them")
        yield from examine_place(connection, builder, needed=not (complete or build))
        here = target.dsn.pinned(connection)
    snapshot = fitting[-1] if complete else None
    if build:
        from dbtools.checks.trial import try_steps

        findings, built = try_steps(builder, here, needed=not complete)
        yield from findings
        snapshot = built or snapshot
    failed = build and snapshot is None
    with open_session(here, "doctor") as connection:
        yield from _snapshot(snapshot, fitting, builder, failed=failed)
        schemas = schemas_of(builder, target, snapshot or (fitting[-1] if fitting else None))
        yield from examine_install(connection, target, snapshot, schemas, history)
        if snapshot and build:
            from dbtools.checks.trial import try_install

            yield try_install(target, snapshot, application, environ, builder.project.server)
        elif application and not failed:
            yield Finding("rows", None, "are generated for every run, and were not tried", in_doubt=True)
        yield from _state(connection, target, snapshot, schemas, history)
        yield from _data(connection, target, application, snapshot, schemas)


def _pooler(connection: psycopg.Connection, target: Target) -> Iterator[Finding]:
    try:
        refuse_shared_sessions(connection, Sessions(target.dsn.pinned(connection), 2, "doctor"))
    except ConfigurationError:
        what = "one in transaction mode stands before the server: reset and seed work through it, migrate does not"
        yield Finding("pooler", None, what, hint="For migrate, connect past it, or to one in session mode.")


def _guard(connection: psycopg.Connection, target: Target, environ: Mapping[str, str]) -> Iterator[Finding]:
    checks: list[Callable[[], None]] = [
        lambda: guard.check_environment("reset", environ),
        lambda: guard.check_database(connection, target, "reset", environ=environ),
    ]
    refused = []
    for check in checks:
        try:
            check()
        except ResetRefused as error:
            refused.append(Finding.of("guard", error))
    yield from refused or [Finding("guard", True, "may be reset")]


def _snapshot(
    snapshot: Snapshot | None, fitting: Sequence[Snapshot], builder: Builder, *, failed: bool
) -> Iterator[Finding]:
    if snapshot:
        manifest = snapshot.manifest
        yield Finding(
            "snapshot",
            True,
            f"{manifest.key[:16]} fits: {number_of(len(manifest.tables), 'table')}, {number_of(manifest.rows, 'row')}",
        )
    elif not failed:  # else the finding on the build says it all
        to_run = ", ".join(f"{level.role} steps" for level in builder.levels[len(fitting) :])
        yield Finding("snapshot", None, f"none fits; the next reset runs the {to_run}", in_doubt=True)


def _state(
    connection: psycopg.Connection,
    target: Target,
    snapshot: Snapshot | None,
    schemas: Sequence[str],
    history: History | None,
) -> Iterator[Finding]:
    """Yield what the database is at: its mark, the holder of the lock, its revisions."""
    from psycopg.errors import LockNotAvailable

    mark = next(filter(None, (read_mark(connection, schema) for schema in schemas)), None)
    yield Finding("content", None, str(mark) if mark else "no reset has marked it")
    holder = find_holder(connection, target.lock_key)
    yield Finding("seed lock", None if holder else True, f"held by {holder}" if holder else "free")
    heads = set(snapshot.manifest.heads if snapshot else history.heads if history else ())
    try:
        with reading(connection, target.schema):
            here = current_revisions(connection)
    except LockNotAvailable:
        yield Finding("migrations", None, "cannot be read: another session has locked the table of revisions")
        return
    known = set(snapshot.manifest.revisions if snapshot else history.revisions if history else ())
    strange = sorted(here - known) if known else []
    if strange:
        what = f"at {', '.join(sorted(here))}; unknown to this project's history: {', '.join(strange)}"
        hint = (
            "Where that is this project's ledger, invoke migrate has no way on: take the branch that has it, or reset."
        )
        yield Finding("migrations", None, what, hint=hint)
    elif here or heads:
        behind = f", behind {', '.join(sorted(heads - here))}" if here and heads - here else ""
        hint = "invoke migrate keeps the data, invoke reset replaces it." if behind else ""
        shown = f"at {', '.join(sorted(here))}{behind}" if here else "none has run here"
        yield Finding("migrations", None if behind or not here else True, shown, hint=hint)


def _data(
    connection: psycopg.Connection,
    target: Target,
    application: Application | None,
    snapshot: Snapshot | None,
    schemas: Sequence[str],
) -> Iterator[Finding]:
    """Yield the rules of the data that is there."""
    from psycopg.errors import LockNotAvailable

    if not isinstance(application, HasInvariants):
        return
    marked = any(read_mark(connection, schema) for schema in schemas)
    try:
        with reading(connection, target.schema):
            here = current_revisions(connection)
    except LockNotAvailable:
        return
    behind = here and snapshot and not here >= set(snapshot.manifest.heads)
    if behind or not (here or marked):
        return
    for rule in application.invariants:
        try:
            with reading(connection, target.schema):
                row = connection.execute(f"select count(*), min((r.*)::text) from ({rule.query}) r").fetchone()
        except LockNotAvailable:
            yield Finding(rule.name, None, "cannot be checked: another session has locked a table that it reads")
            continue
        assert row is not None
        broken, example = row
        said = (
            f"{number_of(broken, 'row')} {'breaks' if broken == 1 else 'break'} it, such as {example}"
            if broken
            else "holds"
        )
        yield Finding(rule.name, not broken, said, hint="To rebuild them: invoke reset" if broken else "", about="data")
