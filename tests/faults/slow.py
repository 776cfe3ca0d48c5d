"""Resets of a small application that are held up as is wanted, on the server's side or on the client's."""

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
from tests.support.runs import PLAN
from tests.support.sources import sql_source
from tests.support.toy import TABLES, ToyShop

if TYPE_CHECKING:
    from dbtools.chain.copy import CopyData
    from dbtools.chain.phase import Outcome
    from dbtools.chain.prefetch import SeedRows
    from dbtools.chain.target import Target

SHOPS = 3
"""Rows of that table, each of which the server checks while it is loaded."""


def reset(target: Target, folder: Path, *, server: float = 0.0, client: float = 0.0) -> Outcome:
    """Reset; `server` and `client` are the seconds either is at work. A build does not wait: it loads no rows.

    While the client is at work, its transaction is open and idle.
    """
    wait = f"alter table shops add check (pg_sleep({server / SHOPS})::text is not null)"
    source = sql_source(Path(mkdtemp(dir=folder)), TABLES, wait)
    with generate_in_background(ToyShop(), PLAN) as rows:
        late = replace(rows, copy_data=partial(_copy_after, client, rows))
        return chain.reset(target, source, late, NullReport())


def _copy_after(seconds: float, rows: SeedRows) -> CopyData:
    time.sleep(seconds)
    return rows.copy_data()
