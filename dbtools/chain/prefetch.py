"""The rows of a run: kept from an earlier one, or computed in a child process while this one connects and migrates."""

from __future__ import annotations

import functools
import os
import pickle
import signal
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from dbtools.application import HasKnownUsers
from dbtools.chain.copy import CopyData, encode
from dbtools.dataset import Dataset
from dbtools.errors import UNCHANGED, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbtools.application import Application
    from dbtools.chain.kept_rows import KeptRows
    from dbtools.config import SeedPlan


@dataclass(frozen=True)
class SeedRows:
    """The rows that a run puts into the database."""

    plan: SeedPlan
    missing: Dataset
    """Rows to insert where they are missing, after the others were copied in."""
    copy_data: Callable[[], CopyData]
    """Return the rows to copy in, the same ones each time. Waits for them; raises what the application raised."""
    in_snapshot: bool = True
    """Whether the snapshot may have rows of a seed as well, and not those of the migrations alone."""


class _Generated(NamedTuple):
    """What `generate` has made, and what was read for it."""

    rows: CopyData
    seen: set[tuple[str, str]] | None


@contextmanager
def generate_in_background(
    application: Application | None, plan: SeedPlan, kept: KeptRows | None = None
) -> Iterator[SeedRows]:
    """Compute the rows of `plan` in a child process, which is gone at the end of the block.

    A project without an application has no rows but those of its snapshot. With `kept`, rows that an earlier run has
    kept are taken instead, and new ones are kept once the block has used them. It must have watched the import of the
    application.

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

    missing = Dataset(())
    if isinstance(application, HasKnownUsers):
        missing = application.environment_users(plan.environ, plan.as_of)
    if kept and (found := kept.find(plan)):
        yield SeedRows(plan, missing, lambda: found)
        return

    def generate() -> _Generated:
        with kept.watch() if kept else nullcontext():
            dataset = application.generate(plan.profile, plan.seed, plan.as_of)
        return _Generated(CopyData(encode(dataset), dataset.summary), kept.seen if kept else None)

    with _compute_in_child(generate) as wait:
        result = functools.cache(wait)
        yield SeedRows(plan, missing, lambda: result().rows)
        if kept and result.cache_info().currsize and (seen := result().seen) is not None:
            kept.keep(plan, result().rows, seen)


@contextmanager
def _compute_in_child(compute: Callable[[], _Generated]) -> Iterator[Callable[[], _Generated]]:
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

        def result() -> _Generated:
            text = pipe.read()
            if not text:
                return compute()  # the child was killed
            outcome: _Generated | BaseException = pickle.loads(text)  # noqa: S301 - our own child's
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        try:
            yield result
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _compute_and_exit(compute: Callable[[], _Generated], write_end: int) -> None:
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
