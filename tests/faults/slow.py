"""Resets of a small application that are held up as is wanted, on the server's side or on the client's."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import psycopg

from dbtools import chain
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from tests.support.runs import GATE, PASS_GATE, PLAN
from tests.support.toy import TABLES, ToyShop, execute, write_history

if TYPE_CHECKING:
    from collections.abc import Callable

    from dbtools.chain.phase import Outcome
    from dbtools.chain.prefetch import CopyData, SeedRows
    from dbtools.chain.target import Target

PHASES = ("migrate", "seed")
"""In which a run can be held up at the gate."""


def reset(target: Target, folder: Path, *bodies: str, server: float = 0.0, client: float = 0.0) -> Outcome:
    """Reset through migrations with these bodies; `server` and `client` are the seconds either is at work.

    While the client is, its transaction is open and idle.
    """
    return _reset(target, folder, f"select pg_sleep({server})", *bodies, before_copy=partial(time.sleep, client))


def reset_through_gate(target: Target, folder: Path, phase: str, *bodies: str) -> Outcome:
    """Reset, and wait at the gate in a migration or before the rows are copied in."""
    assert phase in PHASES
    if phase == "migrate":
        return _reset(target, folder, "select", PASS_GATE, *bodies)
    return _reset(target, folder, "select", *bodies, before_copy=partial(_pass_gate, target.dsn.url))


def _reset(
    target: Target, folder: Path, sql: str, *bodies: str, before_copy: Callable[[], None] = lambda: None
) -> Outcome:
    place = Path(mkdtemp(dir=folder))
    history = write_history(place / "migrations", execute(f"{TABLES}; {sql}"), *bodies)
    with generate_in_background(ToyShop(), PLAN) as rows:
        late = replace(rows, copy_data=partial(_copy_after, before_copy, rows))
        return chain.reset(target, history, place / "cache", late, NullReport())


def _copy_after(action: Callable[[], None], rows: SeedRows) -> CopyData:
    action()
    return rows.copy_data()


def _pass_gate(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("select pg_advisory_xact_lock_shared(%s)", (GATE,))
