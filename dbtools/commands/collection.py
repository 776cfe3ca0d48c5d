"""The tasks in one collection, as Invoke has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from invoke.collection import Collection
from invoke.main import program as invoked
from invoke.tasks import Task

from dbtools.commands import (
    build,
    checks,
    database,
    digest,
    init,
    load,
    race,
    race_explain,
    race_init,
    race_merge,
    race_replay,
    sandbox,
    server,
    snapshot,
    spec,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def _task(body: Callable[..., None]) -> Task[Any]:
    return Task(body, **cast("Any", body).task_options)


def _collection(name: str, about: str, *bodies: Callable[..., None]) -> Collection:
    made = Collection(name, *map(_task, bodies))
    made.__doc__ = about
    return made


CHAIN = (
    init.init,
    checks.doctor,
    database.wait_for_db,
    database.reset,
    database.seed,
    load.load,
    database.migrate,
    build.build,
)
CHECKS = (digest.digest, checks.verify_concurrency)
SERVER = (server.start, server.stop, server.upgrade, server.status, server.url, server.psql)
SNAPSHOT = (snapshot.list_all, snapshot.show, snapshot.save, snapshot.drop)
SANDBOX = (sandbox.list_all, sandbox.psql, sandbox.drop)
RACE = (
    race_init.init,
    race.race_list,
    race.explore,
    race_merge.merge,
    race_replay.replay,
    race_replay.show,
    race_explain.explain,
    spec.spec,
)

namespace = Collection(*map(_task, (*CHAIN, *CHECKS)))
namespace.add_collection(_collection("server", "Server: the project's own PostgreSQL.", *SERVER))
namespace.add_collection(_collection("snapshot", "Snapshots: what the steps made, kept as files.", *SNAPSHOT))
_sandbox = _collection("sandbox", "Sandboxes: private databases with what a reset would install.", *SANDBOX)
_sandbox.add_task(_task(sandbox.create), default=True)
namespace.add_collection(_sandbox)
namespace.add_collection(_collection("race", "Race lab: programs interleaved statement by statement.", *RACE))


def insert_options(arguments: list[str]) -> None:
    """Insert what Invoke's own parser lacks into the command line's arguments: see the three functions."""
    spec.insert_file_options(arguments)
    sandbox.insert_names(arguments)
    _insert_before_help(arguments)


def _insert_before_help(arguments: list[str]) -> None:
    """Make `sandbox --help` explain the task: Invoke would take --help for the name that the task needs."""
    for place in range(len(arguments) - 1, 0, -1):
        name = arguments[place - 1]
        if arguments[place] in ("--help", "-h") and name in namespace:
            task = namespace[name]
            arguments[place:place] = ["" for needed in task.positional if needed not in task.iterable]


if hasattr(invoked, "core"):  # only where Invoke imports this
    insert_options(invoked.core.unparsed)
