"""Tasks that look at snapshots, and pass them on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dbtools import config, console
from dbtools.commands.build import describe, open_source, to_json
from dbtools.commands.common import Options, find_dsn, find_project, handle_errors, option_help, takes, task
from dbtools.errors import UNCHANGED, ConfigurationError
from dbtools.words import number_of

if TYPE_CHECKING:
    from invoke.context import Context

    from dbtools.build.snapshot import Snapshot
    from dbtools.build.store import Store

_SAVE_OPTIONS = ("profile", "as_of", "seed", "debug")


@task(name="list", auto_shortflags=False, help=option_help("json", "debug"))
@handle_errors
def list_all(_context: Context, json: bool = False, debug: bool = False) -> None:
    """List the snapshots, most recently used first.

    invoke snapshot.list
    """
    out = console.Console(quiet=json)
    found = _open_store(find_project()).all()
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
def show(_context: Context, key: str = "", json: bool = False, debug: bool = False) -> None:
    """Show what a snapshot holds, and its origin.

    It is the one used last, unless a key is given.

        invoke snapshot.show --key 3f2a
    """
    out = console.Console(quiet=json)
    snapshot = _pick(_open_store(find_project()), key)
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
def save(_context: Context, options: Options, file: str, key: str = "") -> None:
    """Write a snapshot into one file.

    `invoke reset --from` installs it. Without --key it is what a reset would install now, the rows that the project
    generates included. The file holds the data, so only its owner may read it.

        invoke snapshot.save demo.dbsnap
        invoke snapshot.save uat.dbsnap --profile uat --as-of 2026-11-23
    """
    from dbtools.build.package import pack
    from dbtools.chain.complete import complete_snapshot
    from dbtools.chain.prefetch import generate_in_background

    out = console.Console()
    project = find_project()
    if key:
        snapshot = _pick(_open_store(project), key)
        snapshot.check()
        manifest = snapshot.manifest
        pack(snapshot, Path(file))
    else:
        application = project.load_application()
        plan = config.SeedPlan.resolve(application, profile=options.profile, as_of=options.as_of, seed=options.seed)
        with (
            generate_in_background(application, plan) as rows,
            open_source(project, plan, options, out, rebuild=False, file="") as source,
            complete_snapshot(project, find_dsn(project, out), source, rows) as snapshot,
        ):
            manifest = snapshot.manifest
            pack(snapshot, Path(file))
    saved = f"{number_of(manifest.rows, 'row')} in {number_of(len(manifest.tables), 'table')}"
    out.done(f"Saved {saved} as {file} (key {manifest.key[:16]})")


@task(
    name="drop",
    auto_shortflags=False,
    help=option_help("debug", key="The beginning of its key", all="Drop all of them"),
)
@handle_errors
def drop(_context: Context, key: str = "", all: bool = False, debug: bool = False) -> None:  # noqa: A002 - --all
    """Remove a snapshot from the cache.

    With --all every one, and the generated rows of earlier runs. No database is touched.

        invoke snapshot.drop --key 3f2a
    """
    out = console.Console()
    project = find_project()
    store = _open_store(project)
    if not key and not all:
        raise ConfigurationError(
            "Which snapshot?", "Neither --key nor --all was given.", "See them: invoke snapshot.list", UNCHANGED
        )
    for snapshot in store.all() if all else [_pick(store, key)]:
        store.drop(snapshot)
        out.done(f"Dropped snapshot {snapshot.folder.name.rpartition('-')[2]}")
    if all:
        from dbtools.chain.kept_rows import KeptRows

        if runs := KeptRows(project).drop():
            out.done(f"Dropped the generated rows of {runs} run{'s' * (runs != 1)}")


def _open_store(project: config.Project) -> Store:
    from dbtools.build.store import open_store

    return open_store(project)


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
