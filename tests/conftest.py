"""What every test relies on: the fixtures of dbtools.testing, and an environment without settings of the developer."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from dbtools.chain.markers import names_environment
from dbtools.server import Server

pytest_plugins = ["dbtools.testing"]

_OURS = ("DATABASE_URL", "ALLOW_RESET", "COLUMNS", "LINES")  # pytest-xdist sets the last two
_KEPT = ("DBTOOLS_TEST_URL", "DBTOOLS_POSTGRES_IMAGE", "DBTOOLS_ISOLATION")
for _name in list(os.environ):
    if (
        _name in _OURS
        or names_environment(_name)
        or (_name.startswith(("SEED_", "PG", "DBTOOLS_")) and _name not in _KEPT)
    ):
        del os.environ[_name]

# Neither a clock nor a die decides a test: pytest-timeout ends a hang, and every run tries the same examples.
settings.register_profile("dbtools", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=5000)  # pytest tests/unit --hypothesis-profile=explore
settings.load_profile("dbtools")


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[Server]:
    """A server for each worker of pytest-xdist: tests look at what is on the whole server, and change its roles."""
    from dbtools.server.borrowed import BorrowedServer, is_superuser
    from dbtools.server.external import ExternalServer
    from dbtools.server.requirements import NONE
    from dbtools.server.sources import narrowed
    from dbtools.server.throwaway import start_throwaway

    wanted = pytestconfig.getoption("--pg-server")
    url = "" if wanted else os.environ.get("DBTOOLS_TEST_URL")
    server: Server
    if url:
        found = ExternalServer(url, source="DBTOOLS_TEST_URL")
        server = BorrowedServer(found) if is_superuser(found) else found
    else:
        server = start_throwaway(narrowed(NONE, wanted))
    with server:
        yield server
