"""What a reset would install, as content for a template database: that of the steps, and the generated rows."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from dbtools.build.replay import Replay, create_surroundings
from dbtools.build.template import Content
from dbtools.chain.install import fill
from dbtools.chain.phase import Outcome
from dbtools.chain.report import NullReport
from dbtools.db.connect import open_session
from dbtools.db.settings import fix_text_settings
from dbtools.db.sql import search_path
from dbtools.errors import UNCHANGED

if TYPE_CHECKING:
    import psycopg

    from dbtools.build.manifest import Manifest
    from dbtools.build.snapshot import Snapshot
    from dbtools.chain.install import SnapshotSource
    from dbtools.chain.prefetch import SeedRows
    from dbtools.db.dsn import Dsn

_ORIGIN = ("recipe", "key", "made_at", "made_by", "project", "steps", "inputs", "server", "revisions", "heads")
"""What a manifest says of where its content comes from: other content has other files."""


def find_content(dsn: Dsn, source: SnapshotSource, rows: SeedRows, project: str) -> Content:
    """Return the content for templates on the server of `dsn`; its snapshot is built where none fits.

    Raises:
        DatabaseUnreachable: The server did not let us in.
        StepFailed, ChainFailed: The content could not be made.
    """
    snapshot, _ = find_snapshot(dsn, source)
    hashed = hashlib.sha256(repr(_content(snapshot.manifest)).encode())
    hashed.update(repr(rows.missing.tables).encode())
    for table in rows.copy_data().tables:
        hashed.update(f"{table.name} {table.columns} {len(table.data)}\n".encode())
        hashed.update(table.data)
    return Content(hashed.hexdigest(), project, snapshot.manifest, partial(load, snapshot=snapshot, rows=rows))


def find_snapshot(dsn: Dsn, source: SnapshotSource) -> tuple[Snapshot, Dsn]:
    """Return the snapshot that fits, built where there is none, and the database on the very server that was asked."""
    with open_session(dsn, "build") as session:
        found = source.find(session)
        pinned = dsn.pinned(session)
    return found or source.build(pinned), pinned


def load(work: psycopg.Connection, snapshot: Snapshot, rows: SeedRows) -> None:
    """Put a snapshot and the rows of a run into an empty database. `work` is in autocommit."""
    schemas = snapshot.manifest.schemas
    work.autocommit = False
    fix_text_settings(work, local=True)
    create_surroundings(work, snapshot.manifest, schemas)
    work.execute(f"set local search_path to {search_path(schemas)}")
    fill(work, Replay(work, snapshot, schemas), snapshot, schemas, rows, NullReport(), Outcome("build"), UNCHANGED)
    work.commit()
    work.autocommit = True


def _content(manifest: Manifest) -> list[tuple[str, object]]:
    return [(name, value) for name, value in asdict(manifest).items() if name not in _ORIGIN]
