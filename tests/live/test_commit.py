"""What is said of the database when its answer to COMMIT is lost, or is a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dbtools.chain.phase import COMMIT_UNKNOWN, ROLLED_BACK
from dbtools.chain.target import Target
from dbtools.config import LOCK_KEY
from dbtools.db.dsn import Dsn
from dbtools.errors import ChainFailed
from tests.support.relay import Cutter
from tests.support.runs import AUTOCOMMIT, Runner, content, query, seed
from tests.support.toy import TABLES, execute

MARKED = f"{TABLES}; create table marks as select {{}} as mark"


@pytest.fixture
def cutter(pg_database: str) -> Iterator[Cutter]:
    with Cutter(pg_database) as found:
        yield found


@pytest.fixture
def target(pg_database: str) -> Target:
    return Target(Dsn.parse(pg_database), LOCK_KEY)


@pytest.mark.parametrize("in_place", [False, True])
def test_nobody_knows_when_the_answer_is_lost(target: Target, cutter: Cutter, tmp_path: Path, in_place: bool) -> None:
    run = Runner(target, tmp_path)
    run(execute(MARKED.format("'old'")))
    with pytest.raises(ChainFailed) as caught:
        run(execute(MARKED.format("'new'")), dsn=cutter.dsn, in_place=in_place)
    assert cutter.cut == 1
    assert caught.value.what == "The commit phase failed."
    assert caught.value.state == COMMIT_UNKNOWN
    assert caught.value.hint == "The connection to the server broke; once it is back, run this again."
    assert query(target, "select mark from marks") == [("new",)]


def test_nor_after_a_seed(target: Target, cutter: Cutter, tmp_path: Path) -> None:
    Runner(target, tmp_path)()
    query(target, "update shops set note = 'changed'")
    with pytest.raises(ChainFailed) as caught:
        seed(Target(cutter.dsn, LOCK_KEY))
    assert caught.value.state == COMMIT_UNKNOWN
    assert query(target, "select distinct note from shops") == [(None,)]


REFUSING = """
create table items2 (id int); insert into items2 values (1);
create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$;
create constraint trigger refused after insert on items2 deferrable initially deferred
    for each row execute function refuse();
"""


def test_a_refused_commit_is_rolled_back(target: Target, tmp_path: Path) -> None:
    run = Runner(target, tmp_path)
    run()
    before = content(target)
    with pytest.raises(ChainFailed, match="refused") as caught:
        run(execute(f"{TABLES}; {REFUSING} insert into items2 values (2)"), in_place=True)
    assert caught.value.state == ROLLED_BACK
    assert content(target) == before


def test_in_phases_the_state_is_that_of_the_phase(target: Target, tmp_path: Path, cutter: Cutter) -> None:
    run = Runner(target, tmp_path)
    run(execute(TABLES), AUTOCOMMIT, in_place=True)
    refusing = f"create or replace {REFUSING[REFUSING.index('function') : REFUSING.index('create constraint')]}"
    trigger = "create constraint trigger refused after insert on items deferrable initially deferred for each row"
    with pytest.raises(ChainFailed, match="refused") as caught:
        run(execute(f"{TABLES}; {refusing} {trigger} execute function refuse()"), AUTOCOMMIT, in_place=True)
    assert caught.value.what == "The commit phase failed."
    assert caught.value.state == "The schema is migrated and holds no data: run seed."
    assert query(target, "select count(*) from items") == [(0,)]
