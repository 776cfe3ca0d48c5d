"""The in-place strategy: drop what the live schema holds and fill it again, in one transaction under the lock.

For content that cannot be moved from one schema to another (range types without superuser rights) and for schemas that
are published. A failure at any point leaves the database as it was. Readers wait from the drop to the commit.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dbtools.build.replay import Replay, create_surroundings
from dbtools.chain.cleanup import vacuum_catalogs
from dbtools.chain.drop import BATCH, check_dependents, check_owners, drop_all
from dbtools.chain.install import check_structure, fill
from dbtools.chain.locked_transaction import transaction_lock
from dbtools.chain.mark import write_mark
from dbtools.chain.ownership import check_ours
from dbtools.chain.phase import ROLLED_BACK, Outcome, phase
from dbtools.chain.report import Report, waiting_for_tables
from dbtools.chain.schema import check_rights
from dbtools.db.catalog import schema_objects
from dbtools.db.sql import search_path
from dbtools.db.table_locks import lock_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import psycopg

    from dbtools.build.snapshot import Snapshot
    from dbtools.chain.prefetch import SeedRows
    from dbtools.chain.target import Target


def in_place_checks(work: psycopg.Connection, schemas: Sequence[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what is asked before anything is dropped, by name; each raises ChainFailed where the answer is no."""
    for name in schemas:
        yield "schema", partial(check_rights, work, name)
    yield "owners", partial(check_owners, work, schemas)
    yield "dependents", partial(check_dependents, work, schemas)


def rebuild(
    work: psycopg.Connection, target: Target, snapshot: Snapshot, rows: SeedRows, report: Report, outcome: Outcome
) -> None:
    """Drop what the application owns and put the snapshot in its place. `work` is in autocommit.

    Raises:
        DbtoolsError: As `chain.reset`.
    """
    live = snapshot.manifest.schemas
    whole = not target.unprotected
    state = ROLLED_BACK if whole else "The schema is as it was, or dropped and rebuilt in part."
    with transaction_lock(work, target, report, outcome):
        with phase("drop", state, outcome):
            if whole:
                check_ours(work, target, snapshot)
                if outcome.action == "seed":
                    check_structure(work, snapshot.manifest)
            report.doing("Dropping all application tables...")
            for schema in live:
                check_rights(work, schema)
            create_surroundings(work, snapshot.manifest, live)
            if whole:
                found = [item.name for schema in live for item in schema_objects(work, schema) if item.is_lockable]
                what = "The old tables are in use and could not be dropped."
                lock_tables(work, found, target.waits.lock, waiting_for_tables(report), what)
            drop_all(work, live, batch=None if whole else BATCH)
            work.execute(f"set {'local ' * whole}search_path to {search_path(live)}")
            report.done("All tables and enums dropped")
        replay = Replay(work, snapshot, live, frozen=whole)
        fill(work, replay, snapshot, live, rows, report, outcome, state)
        if whole:
            with phase("mark", state, outcome):
                write_mark(work, live, snapshot.manifest)
    if whole:
        work.autocommit = True
        with phase("vacuum", "The new tables are in place.", outcome):
            vacuum_catalogs(work)
