"""What a reset would install, as one snapshot: that of the steps, and the rows that the application generates."""

from __future__ import annotations

import datetime as dt
import hashlib
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from dbtools.build.dump import write_content
from dbtools.build.scratch import scratch_database
from dbtools.build.snapshot import MANIFEST, Snapshot
from dbtools.build.temporary import temporary_folder
from dbtools.chain.content import find_snapshot, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.chain.install import SnapshotSource
    from dbtools.chain.prefetch import SeedRows
    from dbtools.config import Project
    from dbtools.db.dsn import Dsn


@contextmanager
def complete_snapshot(project: Project, dsn: Dsn, source: SnapshotSource, rows: SeedRows) -> Iterator[Snapshot]:
    """Yield the snapshot, made on the server of `dsn`; its files are gone at the end of the block.

    Where there are no generated rows, it is the steps' own snapshot. No live database is touched.

    Raises:
        DatabaseUnreachable: The server did not let us in.
        StepFailed, ChainFailed: The content could not be made.
    """
    base, pinned = find_snapshot(dsn, source)
    if not rows.copy_data().tables and not rows.missing.tables:
        yield base
        return
    schema = base.manifest.schemas[0]
    with scratch_database(pinned, schema, project.server) as scratch, temporary_folder() as folder:
        load(scratch.session, base, rows)
        content = write_content(scratch.session, scratch.dsn, schema, folder)
        plan = rows.plan
        manifest = replace(
            base.manifest,
            # Not of the plan: the application, and the users that variables name, decide the rows too.
            key=hashlib.sha256(repr(content).encode()).hexdigest(),
            made_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            steps=(*base.manifest.steps, f"rows of profile {plan.profile}, {plan.as_of}, seed {plan.seed}"),
            **content,
        )
        (folder / MANIFEST).write_text(manifest.to_json(), "utf-8")
        yield Snapshot(folder)
