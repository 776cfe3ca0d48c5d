"""The rows of a run, computed in a process of their own while this one connects, waits, drops and migrates."""

from __future__ import annotations

import functools
import os
import pickle
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtools.chain.copy import Encoded, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbtools.application import Application
    from dbtools.config import SeedPlan
    from dbtools.dataset import Dataset

Bulk = tuple[tuple[Encoded, ...], tuple[str, ...]]
"""The tables as COPY text, and the summary."""


@dataclass(frozen=True)
class Rows:
    """What a run puts into the database."""

    plan: SeedPlan
    missing: Dataset
    """Rows to insert where they are missing, after the bulk."""
    bulk: Callable[[], Bulk]
    """Return the rows to copy in, each time the same. Waits for them; raises what the application raised."""


@contextmanager
def prepare(application: Application, plan: SeedPlan) -> Iterator[Rows]:
    """Begin to compute the rows of `plan`; at the end of the block nothing of that is left running.

    Raises:
        ConfigurationError: The environment asks for users that cannot be.
    """
    if plan.known_users_only:
        yield Rows(plan, application.known_users(plan.environ, plan.as_of), lambda: ((), ()))
        return

    def generate() -> Bulk:
        dataset = application.generate(plan.profile, plan.seed, plan.as_of)
        return encode(dataset), dataset.summary

    missing = application.environment_users(plan.environ, plan.as_of)
    with _ahead(generate) as bulk:
        yield Rows(plan, missing, functools.cache(bulk))


@contextmanager
def _ahead(compute: Callable[[], Bulk]) -> Iterator[Callable[[], Bulk]]:
    """Run `compute` in a forked child, and yield what waits for its result.

    A second core then works on the rows while this process imports its driver and waits for the server. Where forking
    is not safe, because other threads run, it is computed when asked for.
    """
    if not hasattr(os, "fork") or threading.active_count() > 1:
        yield compute
        return
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)  # or its own end would keep it writing for ever after the parent's death
        _compute_and_exit(compute, write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:

        def result() -> Bulk:
            text = pipe.read()
            if not text:
                return compute()  # the child was killed; what it would have said is ours to find out
            outcome: Bulk | Exception = pickle.loads(text)  # noqa: S301 - our own child's
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        try:
            yield result
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _compute_and_exit(compute: Callable[[], Bulk], write_end: int) -> None:
    try:
        outcome: object = compute()
    except Exception as error:  # noqa: BLE001 - it is raised again in the parent
        outcome = error
    # Ended without the interpreter's farewell: buffers and clean-up are the parent's.
    try:
        with os.fdopen(write_end, "wb") as pipe:
            pickle.dump(outcome, pipe)
    finally:
        os._exit(0)
