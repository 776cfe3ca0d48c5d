"""The till: a small version of the sample application's invoices. Two tables, two revisions, three fixed invoices.

It is small because a race is run hundreds of times. The chain that works on it is the one that resets the whole
application.
"""

from __future__ import annotations

import datetime
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.build.builder import Builder
from dbtools.build.store import Store
from dbtools.chain.prefetch import generate_in_background
from dbtools.config import Project, SeedPlan
from dbtools.config.steps import Step
from dbtools.dataset import Dataset, TableRows
from groombook.prng import Mulberry32

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dbtools.application import Invariant
    from dbtools.chain.prefetch import SeedRows

MIGRATIONS = Path(__file__).parent / "till_migrations"
"""Alembic's folder."""
_ROOT = Path(__file__).parents[2]


class Till:
    """The till as an application of dbtools."""

    profiles: Sequence[str] = ("small",)
    invariants: Sequence[Invariant] = ()

    def generate(self, profile: str, seed: int, as_of: datetime.date) -> Dataset:  # noqa: ARG002 - the protocol's
        """Return three invoices with a line each; all ids come from one random stream, as in the application."""
        stream = Mulberry32(seed)
        invoices = [(stream.uuid4(), 1_000 * number) for number in (1, 2, 3)]
        lines = [(stream.uuid4(), invoice, total) for invoice, total in invoices]
        return Dataset(
            (
                TableRows("invoices", ("id", "total_cents"), invoices),
                TableRows("invoice_line_items", ("id", "invoice_id", "total_cents"), lines),
            )
        )

    def environment_users(self, environ: Mapping[str, str], as_of: datetime.date) -> Dataset:  # noqa: ARG002 - the protocol's
        """Return no users: the till has none."""
        return Dataset(())

    known_users = environment_users


def builder() -> Builder:
    """Return what finds and makes the snapshot of the till's tables, without rows."""
    step = Step("call", ("groombook.races.classics:upgrade",), _ROOT)
    project = Project(root=_ROOT, migrate=(step,))
    store = Store(project.cache / "till", project.snapshot_cache_bytes)
    return Builder(project, store, os.environ, note=lambda _: None)


@contextmanager
def rows() -> Iterator[SeedRows]:
    """Yield the rows that a run loads into the till's tables."""
    with generate_in_background(Till(), SeedPlan("small", datetime.date(2026, 1, 1))) as prepared:
        yield prepared
