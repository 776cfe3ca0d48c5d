"""The task that builds a snapshot, and what other tasks need to find one."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools import config, console
from dbtools.commands.common import Options, find_dsn, find_project, handle_errors, option_help, task
from dbtools.errors import UNCHANGED
from dbtools.words import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from invoke.context import Context

    from dbtools.build.builder import Builder
    from dbtools.build.scratch import Scratch
    from dbtools.build.snapshot import Snapshot
    from dbtools.chain.install import SnapshotSource
    from dbtools.config import Project, SeedPlan


def builder(
    project: Project, out: console.Console, environ: Mapping[str, str] = os.environ, *, rebuild: bool = False
) -> Builder:
    """Return what finds and makes the project's snapshots. On a terminal the steps' output is shown as it comes."""
    from dbtools.build.builder import Builder
    from dbtools.build.store import open_store

    output = (lambda line: out.note(f"  {line}")) if sys.stderr.isatty() and not out.quiet else None
    store = open_store(project)
    if not store.lasting:
        out.note(f"Snapshots are not kept: {project.cache} cannot be written, or not by this account alone")
    return Builder(project, store, environ, out.note, output, rebuild)


@contextmanager
def open_source(
    project: Project, plan: SeedPlan, options: Options, out: console.Console, *, rebuild: bool, file: str
) -> Iterator[SnapshotSource]:
    """Yield where a run gets its snapshot from: the project's steps, or a file.

    The options --profile, --as-of and --seed reach the project's own programs as variables.
    """
    if file:
        from dbtools.build.package import unpack
        from dbtools.chain.install import GivenSnapshot

        with unpack(Path(file)) as snapshot:
            for line in describe(snapshot):
                out.note(line)
            yield GivenSnapshot(snapshot)
        return
    yield builder(project, out, step_environment(plan, options), rebuild=rebuild)


def step_environment(plan: SeedPlan, options: Options) -> dict[str, str]:
    """Return the variables of the project's own programs: the options are among them."""
    return {**plan.environ, **config.step_variables(options.profile, options.as_of, options.seed)}


@task(
    auto_shortflags=False,
    help=option_help(
        "json",
        "debug",
        keep="Leave the scratch database, and say where it is",
        rebuild="Run the steps again, even where a snapshot fits",
    ),
)
@handle_errors
def build(
    _context: Context, keep: bool = False, rebuild: bool = False, json: bool = False, debug: bool = False
) -> None:
    """Run the steps aside, and keep what they make.

    They run on a scratch database, and the result is kept as a snapshot. No live database is touched. With --keep
    nothing is stored: the database is left for a look, also where a step failed.

        invoke build
        invoke build --keep
    """
    from dbtools.build.attempts import run_and_keep
    from dbtools.chain.phase import Outcome, phase
    from dbtools.db.connect import open_session

    out = console.Console(quiet=json)
    project = find_project()
    dsn = find_dsn(project, out)
    maker = builder(project, out, rebuild=rebuild)
    if keep:

        def run(scratch: Scratch) -> None:
            out.say(f"Kept: {scratch.dsn.masked}")
            out.say(f"To drop it: drop database {scratch.dsn.dbname};")
            maker.run(scratch)

        run_and_keep(run, project, dsn, out.note)
        out.done("All steps ended well")
        return
    with phase("build", UNCHANGED, Outcome("build")):
        with open_session(dsn, "build") as session:
            found = maker.find(session)
        snapshot = found or maker.build(dsn)
    for line in describe(snapshot):
        out.say(line)
    out.done("The snapshot is up to date" if found else "Snapshot built")
    if json:
        out.data(to_json(snapshot))


def describe(snapshot: Snapshot) -> Iterator[str]:
    """Return lines that say what a snapshot is."""
    manifest = snapshot.manifest
    content = f"{number_of(len(manifest.tables), 'table')}, {number_of(manifest.rows, 'row')}"
    yield f"Snapshot {manifest.key[:16]}: {content}, {snapshot.bytes} bytes"
    yield f"Made {manifest.made_at} by {manifest.made_by} from {manifest.project}: {', '.join(manifest.steps)}"
    yield f"On PostgreSQL {manifest.server}, schemas {', '.join(manifest.schemas)}"


def to_json(snapshot: Snapshot) -> dict[str, object]:
    """Return what a snapshot is, for a machine."""
    manifest = snapshot.manifest
    return {
        "key": manifest.key,
        "made_at": manifest.made_at,
        "made_by": manifest.made_by,
        "steps": manifest.steps,
        "server": manifest.server,
        "schemas": manifest.schemas,
        "tables": {f"{manifest.schemas[table.schema]}.{table.name}": table.rows for table in manifest.tables},
        "bytes": snapshot.bytes,
        "folder": str(snapshot.folder),
    }
