"""Programs that send pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable


def pipeline(*statements: str, begin: bool = False) -> Callable[[str], None]:
    """A pipeline of psycopg's, which waits for no answer. With `begin` it is a transaction of its own."""

    def run(url: str) -> None:
        with psycopg.connect(url, autocommit=not begin) as connection, connection.pipeline():
            for statement in statements:
                connection.execute(statement.encode(), prepare=False)

    return run
