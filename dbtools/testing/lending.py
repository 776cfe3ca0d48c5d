"""Lends databases of the run's keeper to tests. Where there is none to be had, the test fails with the reason alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dbtools.clones.run import Client, Database, Run
    from dbtools.clones.wanted import Wanted
    from dbtools.server import Server

T = TypeVar("T")
MARKER = (
    "dbtools(profile=..., as_of=..., seed=..., schema_only=True, snapshot='file.dbsnap'): what seeded_database and"
    " database_url hold: another profile, day or seed, the schema without the seed, or a file of invoke snapshot.save"
)
SERVERS = ("embedded", "container", "project")
"""The kinds of server that `dbtools_server` may name."""
RUN = pytest.StashKey["Run"]()
SERVER = pytest.StashKey[str]()
"""What the summary says of the server that the tests ran on."""
TAKEN = pytest.StashKey["list[tuple[Client, Database]]"]()
"""The databases of a test."""
FAILED = pytest.StashKey[bool]()
"""Whether a test has failed."""


def lend(request: pytest.FixtureRequest, server: Server, wanted: Wanted) -> Iterator[str]:
    """Yield the URL of a new database with this content, and give it back; one that lasts stays if the test failed."""
    client = find_client(request.config, server)
    database = ask(lambda: client.take(wanted))
    request.node.stash[TAKEN].append((client, database))
    yield database.url
    if request.node.stash[FAILED] and client.server["lasts"]:
        ask(lambda: client.keep(database, request.node.nodeid))
    else:
        ask(lambda: client.give_back(database))


def find_run(config: pytest.Config) -> Run:
    """Return the run of this process, begun where there is none."""
    from dbtools.clones.run import Run

    if RUN not in config.stash:
        folder = getattr(config, "workerinput", {}).get("dbtools_run")  # not there if the worker is on another machine
        config.stash[RUN] = Run(Path(folder) if folder and Path(folder).is_dir() else None)
    return config.stash[RUN]


def find_client(config: pytest.Config, server: Server | None = None) -> Client:
    """Return the client of the run's keeper, or of the one for a server that the tests brought along."""
    from dbtools.clones.run import OPTION
    from dbtools.server.shared import SharedServer

    run, root = find_run(config), config.rootpath
    if server is not None and not isinstance(server, SharedServer):
        config.stash[SERVER] = f"PostgreSQL {server.version} ({server.kind})"
        lasts = server.kind == "existing"
        return ask(lambda: run.client("postgres_server", root, server.url, server.admin_url, lasts=lasts))
    if wanted := config.getoption(OPTION):
        return ask(lambda: run.client(OPTION, root, str(wanted)))
    if url := os.environ.get("DBTOOLS_TEST_URL"):
        return ask(lambda: run.client("DBTOOLS_TEST_URL", root, url))
    kind = _kind(config)
    return ask(lambda: run.client(kind, root))


def _kind(config: pytest.Config) -> str:
    """Return which of `SERVERS` the tests run on, where nothing else is said."""
    kind = str(config.getini("dbtools_server"))
    if kind not in SERVERS:
        raise pytest.UsageError(f"dbtools_server cannot be {kind!r}. Wanted one of: {', '.join(SERVERS)}.")
    return "project" if config.getoption("keep_databases") else kind


def ask(question: Callable[[], T]) -> T:
    """Return the answer; where there is none, fail the test with the reason alone."""
    from dbtools.clones.run import KeeperError

    try:
        return question()
    except KeeperError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)  # outside of the block, or the report would show what was caught


def reach(client: Client, database: Database) -> str:
    """Return how a person reaches the database of a failed test."""
    if not client.server["lasts"]:
        how = " To keep it: pytest --keep-databases" if client.kind in SERVERS else ""
        return f"{database.name} goes at the end of the run.{how}"
    from dbtools.build.template import MAX_KEPT

    return (
        f"Kept, as are the last {MAX_KEPT} of the project: {database.masked}\n"
        f"To look at it: psql with this URL and its password; on the project's own server or that of DATABASE_URL also"
        f" invoke sandbox.psql {database.name}"
    )


def keywords_of(mark: pytest.Mark) -> Mapping[str, Any]:
    """Return the keywords of a marker `dbtools`; fail the test where it has anything else."""
    if mark.args:
        pytest.fail(f"The marker dbtools takes keywords only, and was given {mark.args[0]!r}.\n{MARKER}", pytrace=False)
    return mark.kwargs
