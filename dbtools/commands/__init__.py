"""The command line: Invoke tasks that parse their options, call one function of the library, and print.

A tasks.py needs one line: from dbtools.commands import namespace. The program `dbtools` (`dbtools/__main__.py`) has
the same tasks and needs none.
"""

from invoke.collection import Collection
from invoke.main import program as invoked

from dbtools.commands import build, checks, database, init, race, race_init, sandbox, server, snapshot, spec

namespace = Collection(
    init.init,
    checks.doctor,
    database.wait_for_db,
    database.reset,
    database.seed,
    database.migrate,
    build.build,
    database.digest,
    checks.verify_concurrency,
)
_server = Collection("server", server.start, server.stop, server.upgrade, server.status, server.url, server.psql)
_server.__doc__ = "Server: the project's own PostgreSQL."
namespace.add_collection(_server)
_snapshot = Collection("snapshot", snapshot.list_all, snapshot.show, snapshot.save, snapshot.drop)
_snapshot.__doc__ = "Snapshots: what the steps made, kept as files."
namespace.add_collection(_snapshot)
_sandbox = Collection("sandbox", sandbox.list_all, sandbox.psql, sandbox.drop)
_sandbox.add_task(sandbox.create, default=True)
_sandbox.__doc__ = "Sandboxes: private databases with what a reset would install."
namespace.add_collection(_sandbox)
_race = Collection("race", race_init.init, race.race_list, race.explore, race.replay, race.show, spec.spec)
_race.__doc__ = "Race lab: programs interleaved statement by statement."
namespace.add_collection(_race)


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
