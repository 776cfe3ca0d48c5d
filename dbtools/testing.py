"""A pytest plugin: every test gets its own empty database on a real server.

    pytest_plugins = ["dbtools.testing"]

    def test_something(pg_database: str) -> None: ...

The server is a throwaway PostgreSQL with what [tool.dbtools.server] asks for; with --pg-server, of another version. Or
it is the one that DBTOOLS_TEST_URL names, as a role that may create databases. Where that role is a superuser, tests
get a role of their own, which is none and is dropped at the end, and `pg_admin` is the superuser.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.server import Server
    from dbtools.server.requirements import Requirements


_server = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take --pg-server."""
    parser.addoption(
        "--pg-server", default="", help="start this PostgreSQL: a major version, or a folder with its programs"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print which server the tests ran on."""
    if _server in config.stash:
        terminalreporter.write_line(config.stash[_server])


@pytest.fixture(scope="session")
def pg_server(pytestconfig: pytest.Config) -> Iterator[Server]:
    """The server of all tests of the run. Override this fixture to test on a server of your own."""
    from dbtools.server.borrowed import BorrowedServer, is_superuser
    from dbtools.server.external import ExternalServer
    from dbtools.server.sources import narrowed
    from dbtools.server.throwaway import start_throwaway

    wanted = pytestconfig.getoption("--pg-server", default="")
    url = "" if wanted else os.environ.get("DBTOOLS_TEST_URL")
    server: Server
    if url:
        server = ExternalServer(url, source="DBTOOLS_TEST_URL")
        server = BorrowedServer(server) if is_superuser(server) else server
    else:
        server = start_throwaway(narrowed(_requirements(pytestconfig), wanted))
    with server:
        pytestconfig.stash[_server] = f"PostgreSQL {server.version} ({server.kind})"
        yield server


def _requirements(pytestconfig: pytest.Config) -> Requirements:
    from dbtools.config import NoProject, Project
    from dbtools.server.requirements import NONE

    try:
        return Project.find(pytestconfig.rootpath).server
    except NoProject:
        return NONE


@pytest.fixture
def pg_database(pg_server: Server) -> Iterator[str]:
    """The URL of a new database whose owner is not a superuser. It is dropped after the test.

    It is empty but for the extensions of [tool.dbtools.server].
    """
    name = f"test_{secrets.token_hex(6)}"
    yield pg_server.create_database(name)
    pg_server.drop_database(name)


@pytest.fixture
def pg_admin(pg_server: Server, pg_database: str) -> str:
    """The URL of a superuser on the same database as `pg_database`. Skips the test if the server gives us none."""
    from dbtools.db.dsn import Dsn

    if pg_server.admin_url is None:
        pytest.skip("needs a superuser, and the server at DBTOOLS_TEST_URL gives us none")
    name = Dsn.parse(pg_database, source="pg_database").dbname
    return Dsn.parse(pg_server.admin_url, source="admin_url").with_database(name).url
