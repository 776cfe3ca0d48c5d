"""Tasks that build snapshots, look at them, and pass them on."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.tasks import task

from dbtools import config, console
from dbtools.commands.common import Options, find_dsn, handle_errors, option_help, takes
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from invoke.context import Context

    from dbtools.build.builder import Builder
    from dbtools.build.scratch import Scratch
    from dbtools.build.snapshot import Snapshot
    from dbtools.build.store import Store
    from dbtools.chain.install import SnapshotSource
    from dbtools.config import Project, SeedPlan


_SAVE_OPTIONS = ("profile", "as_of", "seed", "debug")


def open_store(project: Project) -> Store:
    """Return the project's snapshots."""
    from dbtools.build.store import Store

    return Store(project.cache / "snapshots", project.snapshot_cache_bytes)


def builder(
    project: Project, out: console.Console, environ: Mapping[str, str] = os.environ, *, rebuild: bool = False
) -> Builder:
    """Return what finds and makes the project's snapshots. On a terminal the steps' output is shown as it comes."""
    from dbtools.build.builder import Builder

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
    yield builder(project, out, step_variables(plan, options), rebuild=rebuild)


def step_variables(plan: SeedPlan, options: Options) -> dict[str, str]:
    """Return the variables of the project's own programs: the options are among them."""
    given = {"SEED_PROFILE": options.profile, "SEED_AS_OF": options.as_of, "SEED_NUMBER": options.seed}
    return {**plan.environ, **{name: text for name, text in given.items() if text}}


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
    """Run the project's steps on a scratch database and keep the result as a snapshot; no live database is touched.

    With --keep nothing is stored: the database is left for a look, also where a step failed.

        invoke build
        invoke build --keep
    """
    from dbtools.build.attempts import run_and_keep
    from dbtools.chain.phase import Outcome, phase
    from dbtools.db.connect import open_session

    out = console.Console(quiet=json)
    project = config.Project.find()
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


@task(name="list", auto_shortflags=False, help=option_help("json", "debug"))
@handle_errors
def snapshot_list(_context: Context, json: bool = False, debug: bool = False) -> None:
    """List the project's snapshots, the one used last first.

    invoke snapshot.list
    """
    out = console.Console(quiet=json)
    found = open_store(config.Project.find()).all()
    rows = [
        (
            snapshot.folder.name.rpartition("-")[2],
            snapshot.manifest.made_at,
            ", ".join(snapshot.manifest.steps),
            str(len(snapshot.manifest.tables)),
            str(snapshot.manifest.rows),
            f"{snapshot.bytes / 1e6:.1f} MB",
        )
        for snapshot in found
    ]
    out.say(console.table(("key", "made", "steps", "tables", "rows", "size"), rows) if rows else "No snapshots.")
    if json:
        out.data({"snapshots": [to_json(snapshot) for snapshot in found]})


@task(name="show", auto_shortflags=False, help=option_help("json", "debug", key="The beginning of its key"))
@handle_errors
def snapshot_show(_context: Context, key: str = "", json: bool = False, debug: bool = False) -> None:
    """Show what a snapshot holds and what it was made from; the one used last unless a key is given.

    invoke snapshot.show --key 3f2a
    """
    out = console.Console(quiet=json)
    snapshot = _pick(open_store(config.Project.find()), key)
    snapshot.check()
    for line in describe(snapshot):
        out.say(line)
    manifest = snapshot.manifest
    rows = [(manifest.schemas[table.schema], table.name, str(table.rows)) for table in manifest.tables]
    out.say(console.table(("schema", "table", "rows"), rows) if rows else "No tables.")
    if json:
        out.data(to_json(snapshot))


@task(
    name="save",
    auto_shortflags=False,
    help=option_help(
        *_SAVE_OPTIONS,
        file="Where to, such as demo.dbsnap",
        key="The beginning of a stored snapshot's key: save that one",
    ),
)
@handle_errors
@takes(*_SAVE_OPTIONS)
def snapshot_save(_context: Context, options: Options, file: str, key: str = "") -> None:
    """Write a snapshot into one file, for `invoke reset --from`.

    Without --key it is what a reset would install now, the rows that the project generates included. The file holds the
    data, so only its owner may read it.

        invoke snapshot.save demo.dbsnap
        invoke snapshot.save uat.dbsnap --profile uat --as-of 2026-11-23
    """
    from dbtools.build.package import pack
    from dbtools.chain.complete import complete_snapshot
    from dbtools.chain.prefetch import generate_in_background

    out = console.Console()
    project = config.Project.find()
    if key:
        snapshot = _pick(open_store(project), key)
        snapshot.check()
        manifest = snapshot.manifest
        pack(snapshot, Path(file))
    else:
        application = project.load_application()
        plan = config.SeedPlan.resolve(application, profile=options.profile, as_of=options.as_of, seed=options.seed)
        with (
            generate_in_background(application, plan) as rows,
            open_source(project, plan, options, out, rebuild=False, file="") as source,
            complete_snapshot(find_dsn(project, out), source, rows) as snapshot,
        ):
            manifest = snapshot.manifest
            pack(snapshot, Path(file))
    out.done(f"Saved {manifest.rows} rows in {len(manifest.tables)} tables as {file} (key {manifest.key[:16]})")


@task(
    name="drop",
    auto_shortflags=False,
    help=option_help("debug", key="The beginning of its key", all="Drop all of them"),
)
@handle_errors
def snapshot_drop(_context: Context, key: str = "", all: bool = False, debug: bool = False) -> None:  # noqa: A002 - --all
    """Remove a snapshot from the cache, or with --all every one; no database is touched.

    invoke snapshot.drop --key 3f2a
    """
    out = console.Console()
    store = open_store(config.Project.find())
    if not key and not all:
        raise ConfigurationError(
            "Which snapshot?", "Neither --key nor --all was given.", "See them: invoke snapshot.list", UNCHANGED
        )
    for snapshot in store.all() if all else [_pick(store, key)]:
        store.drop(snapshot)
        out.done(f"Dropped snapshot {snapshot.folder.name.rpartition('-')[2]}")


def _pick(store: Store, key: str) -> Snapshot:
    """Return the snapshot whose key begins with `key`, the one used last where that is ""."""
    found = [snapshot for snapshot in store.all() if snapshot.folder.name.rpartition("-")[2].startswith(key)]
    if not found or (key and len(found) > 1):
        raise ConfigurationError(
            f"{len(found) or 'No'} snapshots have a key that begins with {key!r}." if key else "There is no snapshot.",
            "",
            "See them: invoke snapshot.list; make one: invoke build",
            UNCHANGED,
        )
    return found[0]


def describe(snapshot: Snapshot) -> Iterator[str]:
    """Return lines that say what a snapshot is."""
    manifest = snapshot.manifest
    yield f"Snapshot {manifest.key[:16]}: {len(manifest.tables)} tables, {manifest.rows} rows, {snapshot.bytes} bytes"
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
