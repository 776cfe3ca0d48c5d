"""The data of the project's own server, and what servers are copied from: other containers, lost and damaged files."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from dbtools.errors import ServerError
from dbtools.server.cluster import prepare
from dbtools.server.embedded import EmbeddedServer
from dbtools.server.project import start_server, stop_server
from dbtools.server.run_as import Account
from dbtools.server.sources import find_binaries
from tests.faults.figures import Skipped, exactly, none
from tests.support.projects import DAMAGE, START, STOP, may_make_namespaces, run_in_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.server.project import ProjectServer
    from tests.faults.figures import Figure

ROWS = 100
"""Acknowledged ones, before and after a second start was tried."""


@contextmanager
def _project() -> Iterator[tuple[Path, ProjectServer]]:
    """Start a project's own server with some rows in a table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        try:
            found = start_server(root)
            _ask(found, f"create table kept as select * from generate_series(1, {ROWS})")
            yield root, found
        finally:
            stop_server(root)


def _ask(server: ProjectServer, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


def two_servers() -> Iterator[Figure]:
    """Start and stop the project's server from another process namespace, as from a container, while it runs."""
    if not may_make_namespaces():
        raise Skipped("may not make process namespaces here")
    let_in = []
    with _project() as (root, found):
        for name, program in (("start", START), ("stop", STOP)):
            done = run_in_namespace(program, root)
            if not done.returncode or "A server that cannot be seen from here runs on" not in done.stderr:
                let_in.append(f"{name}: {done.stdout}{done.stderr}")
        lost = [] if (found.directory / "data" / "postmaster.pid").exists() else ["postmaster.pid"]
        if not let_in:
            _ask(found, f"insert into kept select * from generate_series(1, {ROWS})")
            stop_server(root)
            ((count,),) = _ask(start_server(root), "select count(*) from kept")
            lost += [f"{2 * ROWS - int(str(count))} rows"] * (count != 2 * ROWS)
    yield none("second servers let onto the data", let_in)
    yield none("lost", lost)


def state_lost() -> Iterator[Figure]:
    """Take the state file from beside the data, start, and put it back."""
    unclear, removed = [], []
    with _project() as (root, found):
        stop_server(root)
        state = found.directory / "state.json"
        kept = state.read_text("utf-8")
        state.unlink()
        try:
            start_server(root)
            unclear.append("started")
        except ServerError as error:
            if "is lost" not in error.what or "were left alone" not in error.reason:
                unclear.append(str(error))
        except OSError as error:
            unclear.append(repr(error))
        stop_server(root)
        state.write_text(kept, "utf-8")
        try:
            ((count,),) = _ask(start_server(root), "select count(*) from kept")
            removed += [f"{count} rows"] * (count != ROWS)
        except (psycopg.Error, ServerError) as error:
            removed.append(str(error))
    yield none("started without it, or no clear error", unclear)
    yield none("data lost", removed)


def cluster() -> Iterator[Figure]:
    """Damage the prepared cluster in a cache of its own, in one way after another, and start a server."""
    served = []
    account = Account("self" if os.geteuid() else "namespace")
    kept = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            for name, damage in DAMAGE.items():
                damage(prepare(find_binaries(), account, lean=True).data.parent)
                try:
                    with EmbeddedServer.start(account=account) as server, psycopg.connect(server.url) as connection:
                        connection.execute("select 1")
                        trusting = "trust" in (server.directory / "data" / "pg_hba.conf").read_text("utf-8").split()
                    served += [f"{name}: lets everybody in"] * trusting
                except (ServerError, psycopg.Error, OSError) as error:
                    served.append(f"{name}: {error}")
                if not (prepare(find_binaries(), account, lean=True).data.parent / "seal.json").exists():
                    served.append(f"{name}: not made again")
        finally:
            os.environ.pop("XDG_CACHE_HOME")
            if kept is not None:
                os.environ["XDG_CACHE_HOME"] = kept
    yield exactly("kinds of damage", len(DAMAGE), 6)
    yield none("served all the same, or never again", served)
