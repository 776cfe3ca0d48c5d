"""Fill schemas with a snapshot's content and the rows of a run: what both strategies do between lock and commit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dbtools.chain.copy import analyze, copy_rows, freezable_tables, insert_missing
from dbtools.chain.phase import phase
from dbtools.db.sql import quote, scalar
from dbtools.db.structure import fingerprint
from dbtools.errors import UNCHANGED, ChainFailed
from dbtools.words import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from dbtools.build.manifest import Manifest
    from dbtools.build.replay import Replay
    from dbtools.build.snapshot import Snapshot
    from dbtools.chain.phase import Outcome
    from dbtools.chain.prefetch import SeedRows
    from dbtools.chain.report import Report
    from dbtools.db.dsn import Dsn


_ELSEWHERE = """
select name from unnest(%s::text[]) name join pg_class c on c.oid = to_regclass(name)
where c.relnamespace <> all (%s::regnamespace[]::oid[])
"""


class SnapshotSource(Protocol):
    """Where a run gets its snapshot from."""

    @property
    def seeds(self) -> bool:
        """Whether the snapshot has more rows than the migrations made."""

    def find(self, work: psycopg.Connection) -> Snapshot | None:
        """Return the snapshot that fits, None where one has to be built. `work` is on the target, in autocommit."""

    def build(self, target: Dsn) -> Snapshot:
        """Build it, away from the target's content."""


@dataclass(frozen=True)
class GivenSnapshot:
    """A snapshot that is at hand: from a file, or built before for several processes."""

    snapshot: Snapshot
    seeds: bool = True

    def find(self, work: psycopg.Connection) -> Snapshot:
        """Return it, if it was made on a server of this major version.

        Raises:
            ChainFailed: It was made on another one.
        """
        here = work.info.server_version // 10000
        made = self.snapshot.manifest.major
        if made != here:
            raise ChainFailed(
                f"The snapshot was made on PostgreSQL {made}, and this server is PostgreSQL {here}.",
                "What one version writes, another may not read.",
                f"Build it on a server of version {here}.",
                UNCHANGED,
            )
        return self.snapshot

    def build(self, target: Dsn) -> Snapshot:
        """Never asked for: there is one."""
        raise NotImplementedError


def check_structure(work: psycopg.Connection, manifest: Manifest) -> None:
    """Refuse to seed a schema that is not the one the snapshot's rows were made for.

    Raises:
        ChainFailed: It is another one.
    """
    for schema, wanted in zip(manifest.schemas, manifest.structures, strict=True):
        there = scalar(work, "select to_regnamespace(%s) is not null", (quote(schema),))
        if not there or fingerprint(work, schema) != wanted:
            raise ChainFailed(
                f"Schema {schema} is not the one that the migrate steps make now, so it cannot be seeded.",
                "Its tables, columns or constraints differ.",
                "Run: invoke reset; or, to keep the data, invoke migrate.",
                UNCHANGED,
            )


def fill(
    work: psycopg.Connection,
    replay: Replay,
    snapshot: Snapshot,
    names: Sequence[str],
    rows: SeedRows,
    report: Report,
    outcome: Outcome,
    state: str,
) -> None:
    """Create the snapshot's objects in the schemas `names`, load its rows and those of the run, and gather statistics.

    `state` is what an error says of the database. Rows are loaded before indexes and keys are made, which is quickest;
    where the content has triggers or rules, those of the run come after them, as they do in a database that is seeded
    later. Where every statement commits by itself, the tables are complete before they get rows: so did the programs of
    the incident.
    """
    manifest, whole = snapshot.manifest, not work.autocommit
    early = manifest.triggers or not whole
    with phase("migrate", state, outcome):
        report.doing("Running migrations...")
        replay.create()
        outcome.rows = replay.load()
        if early:
            replay.finish()
        if not whole:
            replay.constrain()
        report.done("Migrations applied", revisions=manifest.heads)
    with phase("seed", state, outcome):
        report.doing("Seeding database...")
        tables, summary = rows.copy_data()
        wanted = [table.name for table in tables] + [quote(table.table) for table in rows.missing.tables]
        _check_tables(work, names, wanted)
        outcome.rows += copy_rows(work, tables, [] if early else freezable_tables(work, names))
        if not early:
            replay.finish()
        outcome.rows += insert_missing(work, rows.missing)  # before policies keep the owner out too
        if whole:
            replay.constrain()
        replay.refresh()
        for line in (*summary, *rows.missing.summary):
            report.done(line)
        if not tables and manifest.rows:
            loaded = number_of(manifest.rows, "row") + ("" if rows.in_snapshot else " of the migrations")
            filled = number_of(sum(bool(table.rows) for table in manifest.tables), "table")
            report.done(f"Loaded {loaded} into {filled}")
        for name in names:
            analyze(work, name)
        report.doing("Seed complete!")


def _check_tables(work: psycopg.Connection, names: Sequence[str], tables: Sequence[str]) -> None:
    """Refuse rows for a table that only the replaced content has: a missing table is found by COPY itself."""
    elsewhere = work.execute(_ELSEWHERE, ([*tables], [*map(quote, names)])).fetchall()
    if elsewhere:
        raise ChainFailed(
            f"The migrations create no table {elsewhere[0][0]}, but the application has rows for it.",
            "",
            "Correct the migrations, or the rows of the application.",
        )
