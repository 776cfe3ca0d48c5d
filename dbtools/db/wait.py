"""Wait until the target database answers."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from dbtools.db.connect import WAIT_FOR_IT, connect, diagnose, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.db.dsn import Dsn

SECOND_QUERY_S = 0.2
"""Between the two queries. A container's first server, which only runs the init scripts, is gone by then or betrays
itself by another start time."""
YOUNG_S = 10.0
"""A server that has been up for longer is asked once."""

_QUERY = """
select current_setting('server_version'), pg_postmaster_start_time()::text,
       clock_timestamp() - pg_postmaster_start_time() > make_interval(secs => %s)
"""
WAIT_LONGER = "wait longer with --timeout SECONDS."
LONGEST_TRY_S = 10.0
"""For one try, from the look-up of the name to the answer."""


def wait_for_db(dsn: Dsn, *, timeout: float = 60.0, note: Callable[[str], None] | None = None) -> str:
    """Return the server's version once the *target* database has answered a query.

    A server that has just started must answer twice: it may be one that only prepares the database, and is gone soon.

    Retries transient failures only, with a pause that grows from 0.05 to 1 s; `note` is told each new reason once.
    `timeout` is in seconds; 0 tries once.

    Raises:
        DatabaseUnreachable: At once for a permanent failure (wrong password, unknown role or database), else after
            `timeout`, with the number of tries and the last reason.
    """
    import psycopg

    started = time.monotonic()
    deadline = started + timeout
    tries, pause, said, seen = 0, 0.05, "", ""
    while True:
        tries += 1
        left = deadline - time.monotonic()
        try:
            limit = min(LONGEST_TRY_S, max(left, 1.0))
            began = time.monotonic()
            with (
                connect(dsn, "wait-for-db", autocommit=True, timeout=limit) as connection,
                connection.answering_within(max(SECOND_QUERY_S, limit - (time.monotonic() - began))),
            ):
                row = connection.execute(_QUERY, (YOUNG_S,)).fetchone()
            assert row is not None
            version, start, is_settled = row
            if is_settled or start == seen:
                return str(version)
            seen, delay = start, SECOND_QUERY_S
        except psycopg.OperationalError as error:
            diagnosis, seen = diagnose(error, dsn.password), ""
            if not diagnosis.transient:
                raise unreachable(dsn, diagnosis) from None
            if time.monotonic() >= deadline:
                took = f" ({tries} tries in {time.monotonic() - started:.1f} s)"
                # Not "wait with wait-for-db", out of wait-for-db.
                diagnosis = replace(diagnosis, hint=diagnosis.hint.replace(WAIT_FOR_IT, WAIT_LONGER))
                raise unreachable(dsn, diagnosis, tried=took) from None
            if note and diagnosis.reason != said:
                said = diagnosis.reason
                note(f"Waiting for {dsn.target}: {said}")
            # Jitter keeps many waiters from connecting in step.
            delay = pause * random.uniform(0.7, 1.3)  # noqa: S311 - not for cryptography
            pause = min(pause * 1.6, 1.0)
        time.sleep(min(delay, max(deadline - time.monotonic(), SECOND_QUERY_S)))
