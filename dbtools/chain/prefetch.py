"""The rows of a run, computed in a child process while this one connects, waits and migrates."""

from __future__ import annotations

import functools
import os
import pickle
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from dbtools.application import HasKnownUsers
from dbtools.chain.copy import EncodedTable, encode
from dbtools.dataset import Dataset
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbtools.application import Application
    from dbtools.config import SeedPlan


class CopyData(NamedTuple):
    """The rows to copy in."""

    tables: tuple[EncodedTable, ...] = ()
    summary: tuple[str, ...] = ()
    """What a person is told once they are in, a line each."""


@dataclass(frozen=True)
class SeedRows:
    """The rows that a run puts into the database."""

    plan: SeedPlan
    missing: Dataset
    """Rows to insert where they are missing, after the others were copied in."""
    copy_data: Callable[[], CopyData]
    """Return the rows to copy in, the same ones each time. Waits for them; raises what the application raised."""


@contextmanager
def generate_in_background(application: Application | None, plan: SeedPlan) -> Iterator[SeedRows]:
    """Compute the rows of `plan` in a child process, which is gone at the end of the block.

    A project without an application has no rows but those of its snapshot.

    Raises:
        ConfigurationError: The variables that name users contradict each other; or the known users are asked for, and
            the application has none.
    """
    if application is None:
        yield SeedRows(plan, Dataset(()), CopyData)
        return
    if plan.known_users_only:
        if not isinstance(application, HasKnownUsers):
            raise ConfigurationError(
                "There are no known users.",
                f"{type(application).__name__} has no method known_users.",
                "Seed without --known-users-only; and unset SEED_KNOWN_USERS_ONLY.",
                UNCHANGED,
            )
        yield SeedRows(plan, application.known_users(plan.environ, plan.as_of), CopyData)
        return

    def generate() -> CopyData:
        dataset = application.generate(plan.profile, plan.seed, plan.as_of)
        return CopyData(encode(dataset), dataset.summary)

    missing = Dataset(())
    if isinstance(application, HasKnownUsers):
        missing = application.environment_users(plan.environ, plan.as_of)
    with _compute_in_child(generate) as copy_data:
        yield SeedRows(plan, missing, functools.cache(copy_data))


@contextmanager
def _compute_in_child(compute: Callable[[], CopyData]) -> Iterator[Callable[[], CopyData]]:
    """Run `compute` in a forked child, and yield a function that waits for its result.

    A second core then works on the rows while this process imports its driver and waits for the server. Where forking
    is not safe, because other threads run, the rows are computed when they are asked for.
    """
    if not hasattr(os, "fork") or threading.active_count() > 1:
        yield compute
        return
    read_end, write_end = os.pipe()
    # A signal that arrives between the two processes must reach the parent, and never the child's copy of its code.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    child = os.fork()
    if child == 0:
        os.close(read_end)  # else its own copy would keep it writing for ever after the parent's death
        _compute_and_exit(compute, write_end)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:

        def result() -> CopyData:
            text = pipe.read()
            if not text:
                return compute()  # the child was killed
            outcome: CopyData | BaseException = pickle.loads(text)  # noqa: S301 - our own child's
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        try:
            yield result
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _compute_and_exit(compute: Callable[[], CopyData], write_end: int) -> None:
    # Whatever happens, this process ends here, without the interpreter's clean-up: the stack above, buffers and exit
    # handlers belong to the parent.
    try:
        try:
            outcome: object = compute()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the parent
            outcome = error
        with os.fdopen(write_end, "wb") as pipe:
            pickle.dump(outcome, pipe)
    finally:
        os._exit(0)
