"""Resets of a small application that take as long as is wanted, on the server's side or on the client's."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from dbtools import chain
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from tests.runs import PLAN
from tests.toy import TABLES, ToyShop, execute, write_history

if TYPE_CHECKING:
    from dbtools.application import Application
    from dbtools.chain.phase import Outcome
    from dbtools.chain.prefetch import CopyData, SeedRows
    from dbtools.chain.target import Target


def reset(target: Target, folder: Path, *bodies: str, server: float = 0.0, client: float = 0.0) -> Outcome:
    """Reset through migrations with these bodies; `server` and `client` are the seconds either is at work.

    While the client is, its transaction is open and idle.
    """
    application: Application = ToyShop()
    tables = execute(f"{TABLES}; select pg_sleep({server})")
    place = Path(mkdtemp(dir=folder))
    history = write_history(place / "migrations", tables, *bodies)
    with generate_in_background(application, PLAN) as rows:
        slow = replace(rows, copy_data=partial(_dawdle, rows, client))
        return chain.reset(target, history, place / "cache", slow, NullReport())


def _dawdle(rows: SeedRows, seconds: float) -> CopyData:
    time.sleep(seconds)
    return rows.copy_data()
