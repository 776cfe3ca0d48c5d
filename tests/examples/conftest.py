"""A walked copy of each example, with a database of its own and another one that its settings name."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import psycopg
import pytest

from dbtools.db.dsn import Dsn
from tests.support.examples import EXAMPLES, Copy
from tests.support.pages import STACKS, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.server import Server


@pytest.fixture(scope="module", params=EXAMPLES, ids=str)
def walked(
    request: pytest.FixtureRequest, pg_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Copy]:
    """A copy of an example in which the commands of its page were run, from the first reset on."""
    example = request.param
    if pg_server.admin_url is None:
        pytest.skip("needs a superuser, and the server at DBTOOLS_TEST_URL gives us none")
    name, other = f"test_{secrets.token_hex(6)}", f"{example.role}_production"
    url = pg_server.create_database(name)
    with psycopg.connect(pg_server.admin_url, autocommit=True) as admin:
        admin.execute(f"create role {example.role} login password 'not-a-password'")
        admin.execute(f"create database {other} owner {example.role}")
    elsewhere = Dsn.parse(url).changed(dbname=other, user=example.role, password="not-a-password").url
    try:
        copy = Copy.make(example, tmp_path_factory.mktemp("walked"), url, elsewhere)
        walk(STACKS[example.name], copy.folder, **copy.environ)
        yield copy
    finally:  # a server that DBTOOLS_TEST_URL names would keep them
        pg_server.drop_database(name)
        pg_server.drop_database(other)
        with psycopg.connect(pg_server.admin_url, autocommit=True) as admin:
            admin.execute(f"drop role {example.role}")
