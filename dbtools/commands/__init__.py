"""The command line: Invoke tasks that parse their options, call one function of the library, and print.

A tasks.py needs one line: from dbtools.commands import namespace. The program `dbtools` (`dbtools/__main__.py`) has
the same tasks and needs none.
"""

from invoke.collection import Collection
from invoke.main import program

from dbtools.commands import build, checks, database, init, race, sandbox, server, snapshot, spec

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
_server = Collection("server", server.start, server.stop, server.status, server.url, server.psql)
_server.__doc__ = server.__doc__
namespace.add_collection(_server)
_snapshot = Collection("snapshot", snapshot.list_all, snapshot.show, snapshot.save, snapshot.drop)
_snapshot.__doc__ = snapshot.__doc__
namespace.add_collection(_snapshot)
_sandbox = Collection("sandbox", sandbox.list_all, sandbox.psql, sandbox.drop)
_sandbox.add_task(sandbox.create, default=True)
_sandbox.__doc__ = sandbox.__doc__
namespace.add_collection(_sandbox)
_race = Collection("race", race.race_list, race.explore, race.replay, race.show, race.explain, spec.spec)
_race.__doc__ = "The race lab: interleave programs on PostgreSQL, statement by statement."
namespace.add_collection(_race)


def insert_options(arguments: list[str]) -> None:
    """Insert what Invoke's own parser lacks into the command line's arguments: see the two functions."""
    spec.insert_file_options(arguments)
    sandbox.insert_names(arguments)


if hasattr(program, "core"):  # only where Invoke imports this
    insert_options(program.core.unparsed)
