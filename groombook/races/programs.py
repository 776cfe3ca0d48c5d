"""The programs of the incident, as they were and as they are now. RACE_LOCK says how they are protected:

- unset: as shipped; each run is one transaction, which takes the lock itself;
- "none": every statement commits by itself, without a lock;
- a number: every statement commits by itself, under the session lock with this key.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from dbtools import chain
from dbtools.chain.install import GivenSnapshot
from dbtools.chain.lock import SeedLock
from dbtools.chain.report import NullReport
from dbtools.chain.target import Target, Waits
from dbtools.config import LOCK_KEY
from dbtools.db.connect import open_session
from dbtools.db.dsn import Dsn
from dbtools.db.sessions import Sessions
from groombook.races.till import builder, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

WAITS = Waits(lock=3600.0, first_try=3600.0, longest_try=3600.0)
"""One slice for the whole wait: slices end by the clock, and no outcome in the lab may depend on a clock."""

with rows() as _rows:
    _rows.copy_data()  # generated once, for all programs to load
_started: list[GivenSnapshot] = []
"""What `start` has installed. The lab forks the programs from the process that called it, so they have it at hand."""


def start(url: str) -> None:
    """Make the start state: the till, migrated and seeded."""
    source, dsn = builder(), Dsn.parse(url)
    with open_session(dsn, "race") as session:
        found = source.find(session)
    _started[:] = [GivenSnapshot(found or source.build(dsn), seeds=False)]
    chain.reset(Target(dsn, LOCK_KEY, WAITS), _started[0], _rows, NullReport())


def reset(url: str) -> None:
    """Drop, migrate, seed."""
    with _locked(url) as target:
        chain.reset(target, _started[0], _rows, NullReport())


def seed(url: str) -> None:
    """Empty the tables and load them again."""
    with _locked(url) as target:
        chain.seed(target, _started[0], _rows, NullReport())


@contextmanager
def _locked(url: str) -> Iterator[Target]:
    how = os.environ.get("RACE_LOCK", "")
    target = Target(Dsn.parse(url), LOCK_KEY, WAITS, unprotected=bool(how))
    with _session_lock(target, int(how)) if how.isdigit() else nullcontext():
        yield target


@contextmanager
def _session_lock(target: Target, key: int) -> Iterator[None]:
    with Sessions(target.dsn, target.pool_size, "race").open() as reserved:
        held = SeedLock(reserved, key)
        held.acquire(target.waits, lambda _: None)
        yield
        held.release()
