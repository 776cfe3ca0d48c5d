"""The programs of the incident, as it was and as it is now. RACE_LOCK says how they are locked:

- unset: the chain as it is shipped, each run one transaction with the lock in it;
- "none": every statement commits by itself, and nothing is locked;
- a number: every statement commits by itself, under the session lock of this key.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

# Paid once, before the lab forks the programs: each would import it again.
import alembic.command
import sqlalchemy.dialects.postgresql.psycopg

from dbtools import chain
from dbtools.chain import lock
from dbtools.chain.target import Target
from dbtools.checks.worker import Silent
from dbtools.config import LOCK_KEY
from dbtools.db.dsn import Dsn
from dbtools.db.sessions import Pool
from groombook.races.till import MIGRATIONS, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["alembic", "reset", "seed", "sqlalchemy", "start"]

# A wait is cut into slices by the clock; in the lab nothing is to depend on a clock.
lock.SLICE = lock.LONGEST = 3600.0

with rows() as _rows:
    _rows.bulk()  # kept: the programs only copy it in
_cache = Path(__file__).parents[2] / ".dbtools" / "cache" / "till"


def start(url: str) -> None:
    """Make the start state: the till, migrated and seeded."""
    chain.reset(Target(Dsn.parse(url), LOCK_KEY), MIGRATIONS, _cache, _rows, Silent())


def reset(url: str) -> None:
    """Drop, migrate, seed."""
    with _locked(url) as target:
        chain.reset(target, MIGRATIONS, _cache, _rows, Silent())


def seed(url: str) -> None:
    """Empty the tables, load them again."""
    with _locked(url) as target:
        chain.seed(target, _rows, Silent())


@contextmanager
def _locked(url: str) -> Iterator[Target]:
    how = os.environ.get("RACE_LOCK", "")
    target = Target(Dsn.parse(url), LOCK_KEY, unprotected=bool(how))
    with _session_lock(target, int(how)) if how.isdigit() else nullcontext():
        yield target


@contextmanager
def _session_lock(target: Target, key: int) -> Iterator[None]:
    with Pool(target.dsn, target.pool_size, "race").session() as reserved:
        held = lock.SeedLock(reserved, key)
        held.acquire(3600.0, lambda _: None)
        yield
        held.release()
