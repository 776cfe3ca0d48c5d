"""A pytest plugin: every test gets a database of its own, empty or with the project's content, on a real server.

    pytest_plugins = ["dbtools.testing"]

    def test_something(seeded_database: str) -> None: ...

The server is a throwaway PostgreSQL with what [tool.dbtools.server] asks for, shared by all processes of the run; with
--pg-server it is of another version. Or it is the one that DBTOOLS_TEST_URL names, as a role that may create databases.
Where that role is a superuser, tests get a role of their own, which is none and is dropped at the end; `pg_admin` is
the superuser. Nothing is started, and nothing heavy imported, before a fixture asks for it.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from dbtools.clones.run import Client, Database, Run
    from dbtools.clones.wanted import Wanted
    from dbtools.races.fixture import Race
    from dbtools.server import Server

    class DatabaseFactory(Protocol):
        """Makes databases that live until the end of the session."""

        def __call__(
            self,
            *,
            profile: str = "",
            as_of: object = "",
            seed: object = "",
            schema_only: bool = False,
            snapshot: str = "",
        ) -> str:
            """Return the URL of a new private database with this content; the names are those of the marker."""


MARKER = (
    "dbtools(profile=..., as_of=..., seed=..., schema_only=True, snapshot='file.dbsnap'): what seeded_database and"
    " database_url hold: another profile, day or seed, the schema without the seed, or a file of invoke snapshot.save"
)
RACE_LIMITS = {
    "bound": "the most switches of the schedules that are tried",
    "schedules": "how many of these schedules are tried at most",
    "seconds": "how long a race is explored at most",
}
T = TypeVar("T")
SERVERS = ("embedded", "container", "project")

_run = pytest.StashKey["Run"]()
_server = pytest.StashKey[str]()
_taken = pytest.StashKey["list[tuple[Client, Database]]"]()
_failed = pytest.StashKey[bool]()
_race = pytest.StashKey["Race"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    parser.getgroup("dbtools").addoption(
        "--pg-server", default="", help="start this PostgreSQL: a major version, or a folder with its programs"
    )
    parser.getgroup("dbtools").addoption(
        "--keep-databases",
        action="store_true",
        help="keep the databases of failed tests, on the project's own server where it would be a throwaway one",
    )
    parser.addini(
        "dbtools_server",
        "the server of the tests unless DBTOOLS_TEST_URL names one: embedded, container or project (the project's own)",
        default="embedded",
    )
    parser.getgroup("dbtools").addoption(
        "--race-token",
        default="",
        metavar="TOKEN",
        help="run the tests that use the fixture race alone, and of their races only the schedule of this token",
    )
    for name, what in RACE_LIMITS.items():
        parser.addini(f"dbtools_race_{name}", f"{what}, where a test of the fixture race says nothing else")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and refuse what is no token."""
    config.addinivalue_line("markers", MARKER)
    if text := config.getoption("race_token"):
        from dbtools.errors import ConfigurationError
        from dbtools.races import token

        try:
            token.decode(text)
        except ConfigurationError as error:
            raise pytest.UsageError(f"--race-token: {error}") from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --race-token leave out the tests that do not use the fixture `race`."""
    if config.getoption("race_token"):
        racing = [item for item in items if "race" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in racing])
        items[:] = racing


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist which folder the run shares."""
    node.workerinput["dbtools_run"] = str(_find_run(node.config).folder)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over from a worker of pytest-xdist which server its tests ran on."""
    if line := getattr(node, "workeroutput", {}).get("dbtools_server"):
        node.config.stash[_server] = line


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell pytest-xdist which server the tests ran on."""
    if hasattr(session.config, "workeroutput") and _server in session.config.stash:
        session.config.workeroutput["dbtools_server"] = session.config.stash[_server]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print which server the tests ran on, and the replays that did not fail."""
    if _server in config.stash:
        terminalreporter.write_line(config.stash[_server])
    if config.getoption("race_token"):
        for report in terminalreporter.getreports("passed"):
            for name, text in report.sections:
                if name == "Captured race call":
                    terminalreporter.write_line(text)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what was started for the run."""
    if _run in config.stash:
        config.stash[_run].close()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin anew: a test may be run several times."""
    item.stash[_taken], item.stash[_failed] = [], False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that was to replay a token and has not."""
    result = yield
    if race := item.stash.get(_race, None):
        race.require_replay()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say in the report of a failed test how to reach its databases."""
    report = yield
    if report.failed and not item.stash[_failed]:
        item.stash[_failed] = True
        for client, database in item.stash[_taken]:
            report.sections.append(("the test's database", _reach(client, database)))
    return report


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Server:
    """The server of all tests and processes of the run. Override this fixture to test on a server of your own."""
    from dbtools.server.shared import SharedServer

    client = _find_client(pytestconfig)
    pytestconfig.stash[_server] = f"PostgreSQL {client.server['version']} ({client.server['kind']})"
    return SharedServer(**{name: client.server[name] for name in ("kind", "version", "url", "admin_url")})


@pytest.fixture
def seeded_database(request: pytest.FixtureRequest, postgres_server: Server) -> Iterator[str]:
    """The URL of a private database with what `invoke reset` would install, or what the marker `dbtools` says."""
    from dbtools.clones.keywords import read_keywords

    marks = reversed([*request.node.iter_markers("dbtools")])  # the closest one last
    keywords = {name: value for mark in marks for name, value in _keywords(mark).items()}
    yield from _lend(request, postgres_server, read_keywords(request.config, keywords))


@pytest.fixture
def empty_database(request: pytest.FixtureRequest, postgres_server: Server) -> Iterator[str]:
    """The URL of a private, empty database whose owner is not a superuser. It is dropped after the test."""
    from dbtools.clones.wanted import Wanted

    yield from _lend(request, postgres_server, Wanted(empty=True))


@pytest.fixture
def database_url(seeded_database: str, pytestconfig: pytest.Config) -> Iterator[str]:
    """The URL of `seeded_database`, written as the project writes it, and set as DATABASE_URL for the test.

    So are all variables that lead a step of [tool.dbtools] to its database: PGHOST and the like, `env`, and each
    variable that holds the URL of a PostgreSQL database.
    """
    from dbtools.build.environment import database_variables
    from dbtools.clones.run import Url
    from dbtools.config import Project
    from dbtools.db.dsn import Dsn

    project = Project.find(pytestconfig.rootpath)
    variables = database_variables(Dsn.parse(seeded_database), project, os.environ)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield Url(variables["DATABASE_URL"])


@pytest.fixture(scope="session")
def database_factory(pytestconfig: pytest.Config, postgres_server: Server) -> Iterator[DatabaseFactory]:
    """Makes private databases that live until the end of the session, for fixtures of a wider scope.

    Its arguments are those of the marker `dbtools`: `database_factory(profile="uat")` returns a URL.
    """
    from dbtools.clones.keywords import read_keywords

    client = _find_client(pytestconfig, postgres_server)
    made = []

    def make(**keywords: Any) -> str:
        made.append(_ask(lambda: client.take(read_keywords(pytestconfig, keywords))))
        return made[-1].url

    yield make
    for database in made:
        _ask(partial(client.give_back, database))


@pytest.fixture
def race(request: pytest.FixtureRequest) -> Race:
    """Explores the races between functions: `race(work, work)` fails the test unless it held.

    Its schedules run on a throwaway server of its own, each from a copy of what `invoke reset` would install.
    """
    from dbtools.races.fixture import Race

    race = request.node.stash[_race] = Race(request.node)
    return race


@pytest.fixture(scope="session")
def pg_server(postgres_server: Server) -> Server:
    """The same as `postgres_server`."""
    return postgres_server


@pytest.fixture
def pg_database(request: pytest.FixtureRequest, pg_server: Server) -> Iterator[str]:
    """The same as `empty_database`, on `pg_server`."""
    from dbtools.clones.wanted import Wanted

    yield from _lend(request, pg_server, Wanted(empty=True))


@pytest.fixture
def pg_admin(pg_server: Server, pg_database: str) -> str:
    """The URL of a superuser on the same database as `pg_database`. Skips the test if the server gives us none."""
    from dbtools.db.dsn import Dsn

    if pg_server.admin_url is None:
        pytest.skip("needs a superuser, and the server at DBTOOLS_TEST_URL gives us none")
    name = Dsn.parse(pg_database, source="pg_database").dbname
    return Dsn.parse(pg_server.admin_url, source="admin_url").with_database(name).url


def _lend(request: pytest.FixtureRequest, server: Server, wanted: Wanted) -> Iterator[str]:
    client = _find_client(request.config, server)
    database = _ask(lambda: client.take(wanted))
    request.node.stash[_taken].append((client, database))
    yield database.url
    if request.node.stash[_failed] and client.server["lasts"]:
        _ask(lambda: client.keep(database, request.node.nodeid))
    else:
        _ask(lambda: client.give_back(database))


def _find_run(config: pytest.Config) -> Run:
    from dbtools.clones.run import Run

    if _run not in config.stash:
        folder = getattr(config, "workerinput", {}).get("dbtools_run")  # not there if the worker is on another machine
        config.stash[_run] = Run(Path(folder) if folder and Path(folder).is_dir() else None)
    return config.stash[_run]


def _find_client(config: pytest.Config, server: Server | None = None) -> Client:
    """Return the client of the run's keeper, or of the one for a server that the tests brought along."""
    from dbtools.clones.run import OPTION
    from dbtools.server.shared import SharedServer

    run, root = _find_run(config), config.rootpath
    if server is not None and not isinstance(server, SharedServer):
        config.stash[_server] = f"PostgreSQL {server.version} ({server.kind})"
        lasts = server.kind == "existing"
        return _ask(lambda: run.client("postgres_server", root, server.url, server.admin_url, lasts=lasts))
    if wanted := config.getoption(OPTION):
        return _ask(lambda: run.client(OPTION, root, str(wanted)))
    if url := os.environ.get("DBTOOLS_TEST_URL"):
        return _ask(lambda: run.client("DBTOOLS_TEST_URL", root, url))
    kind = _kind(config)
    return _ask(lambda: run.client(kind, root))


def _kind(config: pytest.Config) -> str:
    """Return which of `SERVERS` the tests run on, where nothing else is said."""
    kind = str(config.getini("dbtools_server"))
    if kind not in SERVERS:
        raise pytest.UsageError(f"dbtools_server cannot be {kind!r}. Wanted one of: {', '.join(SERVERS)}.")
    return "project" if config.getoption("keep_databases") else kind


def _ask(question: Callable[[], T]) -> T:
    """Return the answer; where there is none, fail the test with the reason alone."""
    from dbtools.clones.run import KeeperError

    try:
        return question()
    except KeeperError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)  # outside of the block, or the report would show what was caught


def _keywords(mark: pytest.Mark) -> Mapping[str, Any]:
    if mark.args:
        pytest.fail(f"The marker dbtools takes keywords only, and was given {mark.args[0]!r}.\n{MARKER}", pytrace=False)
    return mark.kwargs


def _reach(client: Client, database: Database) -> str:
    if not client.server["lasts"]:
        how = " To keep it: pytest --keep-databases" if client.kind in SERVERS else ""
        return f"{database.name} goes at the end of the run.{how}"
    from dbtools.build.template import MAX_KEPT

    return (
        f"Kept, as are the last {MAX_KEPT} of the project: {database.masked}\n"
        f"To look at it: psql with this URL and its password; on the project's own server or that of DATABASE_URL also"
        f" invoke sandbox.psql {database.name}"
    )
