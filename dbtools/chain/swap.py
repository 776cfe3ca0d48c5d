"""The swap strategy: fill a new schema aside and put it in the place of the live one in the same transaction.

One session and one transaction hold the lock and do the work, so no run can lose the lock and go on: advisory lock, a
schema of its own, the snapshot, rows, statistics, exchange, commit. If anything fails before the commit, the server
rolls back and the old database is whole; no other session ever sees a part of the new one. What was replaced is dropped
after the commit, in small steps that give way to readers.

The tables, types and routines move, not the schema they live in: its owner, grants, comment and default privileges
stay, and so do its extensions, even those that this role could not move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.build.replay import Replay, create_surroundings
from dbtools.chain.cleanup import sweep, vacuum_catalogs
from dbtools.chain.exchange import exchange
from dbtools.chain.install import check_structure, fill
from dbtools.chain.locked_transaction import transaction_lock
from dbtools.chain.mark import write_mark
from dbtools.chain.ownership import check_ours
from dbtools.chain.phase import ROLLED_BACK, Outcome, phase
from dbtools.chain.report import Report, waiting_for_tables
from dbtools.chain.shadow import (
    check_crossings,
    check_snapshot_movable,
    check_swappable,
    create_shadow,
    relations,
    shadow_name,
)
from dbtools.db.sql import search_path

if TYPE_CHECKING:
    import psycopg

    from dbtools.build.snapshot import Snapshot
    from dbtools.chain.prefetch import SeedRows
    from dbtools.chain.target import Target


def rebuild(
    work: psycopg.Connection, target: Target, snapshot: Snapshot, rows: SeedRows, report: Report, outcome: Outcome
) -> None:
    """Fill new schemas with the snapshot and exchange them for the live ones. `work` is in autocommit.

    Raises:
        DbtoolsError: As `chain.reset`.
    """
    live = snapshot.manifest.schemas
    names = [shadow_name(target.lock_key, number) for number in range(len(live))]
    with phase("sweep", "The live tables were not changed.", Outcome()):
        sweep(work, patience=0)  # before the new tables need the room
    with transaction_lock(work, target, report, outcome):
        with phase("prepare", ROLLED_BACK, outcome):
            check_ours(work, target, snapshot)
            check_snapshot_movable(snapshot.manifest)
            check_swappable(work, live)
            if outcome.action == "seed":
                check_structure(work, snapshot.manifest)
            create_surroundings(work, snapshot.manifest, live)
            replay = Replay(work, snapshot, names)
            for number, schema in enumerate(live):
                create_shadow(work, schema, names[number])
                replay.take_enums(number, schema)
            # Last the live schemas: extensions may be there.
            work.execute(f"set local search_path to {search_path([*names, *live])}")
            before = relations(work, names)
        fill(work, replay, snapshot, names, rows, report, outcome, ROLLED_BACK)
        if snapshot.manifest.triggers:
            with phase("seed", ROLLED_BACK, outcome):
                check_crossings(work, live, before)
        with phase("swap", ROLLED_BACK, outcome):
            exchange(
                work, [*zip(live, names, strict=True)], replay.taken, target.waits.lock, waiting_for_tables(report)
            )
            write_mark(work, live, snapshot.manifest)
            report.done("All tables and enums replaced")
    work.autocommit = True
    with phase("drop", "The new tables are in place; the next reset drops the old ones.", outcome):
        if left := sweep(work, target.waits.sweep):
            report.note(f"The old tables, in schema {left}, are still in use: the next reset drops them")
        vacuum_catalogs(work)
