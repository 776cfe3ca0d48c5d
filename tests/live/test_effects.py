"""What counts as an effect of a step, and what does not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dbtools.build.effects import Effects
from dbtools.build.replay import restore
from dbtools.build.scratch import scratch_database
from dbtools.db.connect import open_session
from dbtools.db.dsn import Dsn
from dbtools.errors import StepFailed
from tests.support.sources import sql_source
from tests.support.toy import TABLES
from tests.support.waiting import until

OTHERS = "select from pg_stat_activity where datname = current_database() and application_name = 'dbtools test'"
REPORT_S = 1.5
"""A server counts what a session has done at most once a second."""


def test_rows_that_were_restored_before_the_step_are_not_its_own(pg_database: str, tmp_path: Path) -> None:
    dsn = Dsn.parse(pg_database)
    source = sql_source(tmp_path / "project", TABLES, "insert into shops (name) values ('one')")
    with open_session(dsn, "test") as session:
        snapshot = source.find(session) or source.build(dsn)
    with scratch_database(dsn, "public") as scratch:
        restore(scratch.session, snapshot)

        def take_long() -> None:
            with Effects(scratch, "a slow one"):
                for _ in range(2):
                    time.sleep(REPORT_S)
                    scratch.session.execute("select 1")

        with pytest.raises(StepFailed, match="changed nothing"):
            take_long()
        with Effects(scratch, "one that adds a row"), open_session(scratch.dsn, "test") as other:
            other.execute("insert into shops (name) values ('two')")


@pytest.mark.parametrize(
    "statement",
    [
        "insert into shops (name) values ('two')",
        "update shops set name = 'other'",
        "delete from shops",
        "delete from shops; insert into shops (name) values ('two')",
    ],
    ids=["insert", "update", "delete", "exchange"],
)
def test_a_step_that_changes_nothing_but_a_row_has_done_something(pg_database: str, statement: str) -> None:
    with scratch_database(Dsn.parse(pg_database), "public") as scratch:
        with open_session(scratch.dsn, "test") as step:
            step.execute(f"{TABLES}; insert into shops (name) values ('one')".encode())
        until(lambda: scratch.session.execute(OTHERS).rowcount == 0)  # its rows are counted when it has ended
        with Effects(scratch, "the row's"), open_session(scratch.dsn, "test") as step:
            step.execute(statement.encode())
        with (
            pytest.raises(StepFailed, match="changed nothing"),
            Effects(scratch, "one that rolls back"),
            open_session(scratch.dsn, "test") as step,
        ):
            step.execute(f"begin; {statement}; rollback".encode())
