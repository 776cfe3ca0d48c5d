"""What a reset asks of the database before it changes anything: whose tables, rights, owners, dependents, and more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.chain.in_place import in_place_checks
from dbtools.chain.lock_room import advice, count_needed
from dbtools.chain.ownership import check_ours, unmarked_tables
from dbtools.chain.shadow import check_snapshot_movable, swap_checks
from dbtools.checks.findings import Finding
from dbtools.checks.reading import reading
from dbtools.checks.surroundings import examine_surroundings
from dbtools.db.catalog import summarize
from dbtools.db.lock_room import LockRoom
from dbtools.db.revisions import current_revisions
from dbtools.errors import DbtoolsError, ResetRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import psycopg

    from dbtools.build.builder import Builder
    from dbtools.build.snapshot import Snapshot
    from dbtools.chain.target import Target
    from dbtools.checks.steps import History


def schemas_of(builder: Builder, target: Target, snapshot: Snapshot | None) -> Sequence[str]:
    """Return the schemas that a reset replaces, as far as that is known: the snapshot may be that of `migrate`."""
    return snapshot.manifest.schemas if snapshot else builder.project.schemas or (target.schema,)


def examine_install(
    connection: psycopg.Connection,
    target: Target,
    snapshot: Snapshot | None,
    schemas: Sequence[str],
    history: History | None,
) -> Iterator[Finding]:
    """Yield every obstacle there is. Without a snapshot, which schemas count is not known, and so they are in doubt."""
    from psycopg.errors import LockNotAvailable

    checks: list[tuple[str, Callable[[], object]]] = []
    if snapshot:
        checks.append(("ownership", lambda: check_ours(connection, target, snapshot)))
        if not target.in_place:
            checks.append(("movable", lambda: check_snapshot_movable(snapshot.manifest)))
    else:
        checks.append(("ownership", lambda: _foresee_ownership(connection, schemas, history)))
    checks += (in_place_checks if target.in_place else swap_checks)(connection, schemas)
    obstacles: dict[str, Finding] = {}
    for name, check in checks:
        try:
            with reading(connection):
                check()
        except DbtoolsError as error:
            certain = snapshot is not None or name == "database"  # in it, each swap makes a schema
            finding = Finding.of(name, error, stops=certain, in_doubt=not certain)
            obstacles.setdefault(finding.detail, finding)
        except LockNotAvailable:
            obstacles[name] = Finding(name, None, "cannot be asked: another session has locked a table", in_doubt=True)
    yield from obstacles.values() or [Finding("rights", True, f"may rebuild schema {', '.join(schemas)}")]
    if snapshot:
        yield from _foresee_locks(connection, snapshot, in_place=target.in_place)
    yield from examine_surroundings(connection, snapshot)


def _foresee_locks(connection: psycopg.Connection, snapshot: Snapshot, *, in_place: bool) -> Iterator[Finding]:
    room = LockRoom.read(connection)
    needed = sum(count_needed(connection, snapshot.manifest, in_place=in_place))
    if needed > room.locks:  # a server has more room than it promises, so this may work
        what = f"a reset takes about {needed} at a time"
        yield Finding("locks", None, what, f"{room}.", advice(room, needed), in_doubt=True)


def _foresee_ownership(connection: psycopg.Connection, schemas: Sequence[str], history: History | None) -> None:
    """Say what `check_ours` may say once there is a snapshot.

    Raises:
        ResetRefused: There are tables of which it is not known that this project made them.
    """
    for schema in schemas:
        names = unmarked_tables(connection, schema)
        here = current_revisions(connection) if names else set()
        strange = sorted(here - history.revisions) if history else []
        if names and (strange or not (here and history)):
            known = "Whether a ledger of migrations shows that this project made them is not known yet."
            raise ResetRefused(
                f"Schema {schema} holds tables without a mark of an earlier reset: {summarize(names)}.",
                f"Revision {', '.join(strange)} is unknown to this project's history." if strange else known,
                "Where a reset refuses them, and they may be destroyed: invoke reset --confirm NAME",
            )
