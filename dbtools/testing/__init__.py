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
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from dbtools.testing.hooks import (
    RACE,
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_configure_node,
    pytest_runtest_call,
    pytest_runtest_makereport,
    pytest_runtest_setup,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
    pytest_unconfigure,
)
from dbtools.testing.lending import SERVER, ask, find_client, keywords_of, lend

if TYPE_CHECKING:
    from collections.abc import Iterator

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


__all__ = [
    "database_factory",
    "database_url",
    "empty_database",
    "pg_admin",
    "pg_database",
    "pg_server",
    "postgres_server",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
    "pytest_unconfigure",
    "race",
    "seeded_database",
]


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Server:
    """The server of all tests and processes of the run. Override this fixture to test on a server of your own."""
    from dbtools.server.shared import SharedServer

    client = find_client(pytestconfig)
    pytestconfig.stash[SERVER] = f"PostgreSQL {client.server['version']} ({client.server['kind']})"
    return SharedServer(**{name: client.server[name] for name in ("kind", "version", "url", "admin_url")})


@pytest.fixture
def seeded_database(request: pytest.FixtureRequest, postgres_server: Server) -> Iterator[str]:
    """The URL of a private database with what `invoke reset` would install, or what the marker `dbtools` says."""
    from dbtools.clones.keywords import read_keywords

    marks = reversed([*request.node.iter_markers("dbtools")])  # the closest one last
    keywords = {name: value for mark in marks for name, value in keywords_of(mark).items()}
    yield from lend(request, postgres_server, read_keywords(request.config, keywords))


@pytest.fixture
def empty_database(request: pytest.FixtureRequest, postgres_server: Server) -> Iterator[str]:
    """The URL of a private, empty database whose owner is not a superuser. It is dropped after the test."""
    from dbtools.clones.wanted import Wanted

    yield from lend(request, postgres_server, Wanted(empty=True))


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

    client = find_client(pytestconfig, postgres_server)
    made = []

    def make(**keywords: Any) -> str:
        made.append(ask(lambda: client.take(read_keywords(pytestconfig, keywords))))
        return made[-1].url

    yield make
    for database in made:
        ask(partial(client.give_back, database))


@pytest.fixture
def race(request: pytest.FixtureRequest) -> Race:
    """Explores the races between functions: `race(work, work)` fails the test unless it held.

    Its schedules run on a throwaway server of its own, each from a copy of what `invoke reset` would install.
    """
    from dbtools.races.fixture import Race

    race = request.node.stash[RACE] = Race(request.node)
    return race


@pytest.fixture(scope="session")
def pg_server(postgres_server: Server) -> Server:
    """The same as `postgres_server`."""
    return postgres_server


@pytest.fixture
def pg_database(request: pytest.FixtureRequest, pg_server: Server) -> Iterator[str]:
    """The same as `empty_database`, on `pg_server`."""
    from dbtools.clones.wanted import Wanted

    yield from lend(request, pg_server, Wanted(empty=True))


@pytest.fixture
def pg_admin(pg_server: Server, pg_database: str) -> str:
    """The URL of a superuser on the same database as `pg_database`. Skips the test if the server gives us none."""
    from dbtools.db.dsn import Dsn

    if pg_server.admin_url is None:
        pytest.skip("needs a superuser, and the server at DBTOOLS_TEST_URL gives us none")
    name = Dsn.parse(pg_database, source="pg_database").dbname
    return Dsn.parse(pg_server.admin_url, source="admin_url").with_database(name).url
