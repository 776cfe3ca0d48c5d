"""Fixtures of the tests on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.sessions import Connect

LONG = ("test_verify.py", "test_passwords.py")
"""Modules whose tests take longest: they run first, so that no worker is left alone with them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long modules first; everything else keeps its order."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture
def connect(pg_database: str) -> Iterator[Connect]:
    """Opens sessions, by default in autocommit on the test's database; they are closed at the end."""
    opened: list[psycopg.Connection] = []

    def open_one(name: str = "test", *, autocommit: bool = True, url: str = pg_database) -> psycopg.Connection:
        opened.append(psycopg.connect(url, autocommit=autocommit, application_name=name))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()
