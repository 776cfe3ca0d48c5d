"""Run a whole isolation spec on a database, and write what PostgreSQL's isolation tester prints.

What the tester writes to standard error is part of the output, where it would have appeared on a terminal.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dbtools.errors import VerificationFailed
from dbtools.isolation.connection import (
    SessionConnection,
    connection_parameters,
    open_control,
    without_libpq_variables,
)
from dbtools.isolation.libpq import SpecAborted, StepLimit
from dbtools.isolation.permutation import PermutationRunner
from dbtools.isolation.spec import ENCODING, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.isolation.spec import Spec

STEP_TIMEOUT_S = 360.0
"""Seconds after which a step is cancelled, as in the tester (max_step_wait); after twice that the spec is aborted."""


def run(
    spec: Spec,
    url: str,
    write: Callable[[bytes], object],
    *,
    step_timeout: float = STEP_TIMEOUT_S,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Run every permutation of the spec on a database and return how many there were.

    `url` is a URL or a conninfo string. Its role must be a superuser, because the run sets lc_messages. Each piece of
    output is written as soon as it is there. A step is cancelled after `step_timeout` seconds, as `clock` tells them.

    Raises:
        VerificationFailed: A connection or a set-up failed, or a step did not end even when cancelled. The output up
            to there was written, and ends with the reason.
    """
    connections: list[SessionConnection] = []
    control = None
    try:
        for name in spec.unused_steps():
            write(encode(f"unused step name: {name}\n"))
        write(b"Parsed test spec with %d sessions\n" % len(spec.sessions))
        parameters = connection_parameters(spec, url)
        with without_libpq_variables():
            control = open_control(parameters)
            for number, session in enumerate(spec.sessions, 1):
                connections.append(SessionConnection(session.name, number, parameters, write))
        runner = PermutationRunner(spec, control, connections, StepLimit(step_timeout, clock), write)
        count = 0
        for permutation in spec.permutations_to_run():
            runner.run(permutation)
            count += 1
        return count
    except SpecAborted as abort:
        write(abort.text)
        raise VerificationFailed(
            f"The spec {spec.name} could not be run to its end.",
            f"{' '.join(abort.text.decode(*ENCODING).split()).rstrip('.')}.",
            "Correct what the reason names; the output ends with it too.",
            "The output up to there was written.",
        ) from None
    finally:
        for connection in connections:
            connection.pgconn.finish()
        if control is not None:
            control.close()
