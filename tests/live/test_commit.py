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
from tests.support.runs import Runner, content, query, seed
from tests.support.toy import TABLES

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
    for mark in ("'new'", "'old'"):  # the new content is built already: a build commits too
        run(MARKED.format(mark))
    with pytest.raises(ChainFailed) as caught:
        run(MARKED.format("'new'"), dsn=cutter.dsn, in_place=in_place)
    assert cutter.cut == 1
    assert caught.value.what == "The commit phase failed."
    assert caught.value.state == COMMIT_UNKNOWN
    assert caught.value.hint == "The connection to the server broke; once it is back, run this again."
    assert query(target, "select mark from marks") == [("new",)]


def test_nor_after_a_seed(target: Target, cutter: Cutter, tmp_path: Path) -> None:
    Runner(target, tmp_path)()
    query(target, "update shops set note = 'changed'")
    with pytest.raises(ChainFailed) as caught:
        seed(Target(cutter.dsn, LOCK_KEY), tmp_path)
    assert caught.value.state == COMMIT_UNKNOWN
    assert query(target, "select distinct note from shops") == [(None,)]


REFUSING = """
create function refuse() returns trigger language plpgsql as $$ begin
    if exists (select from items) then raise exception 'refused'; end if; return new;
end $$;
create constraint trigger refused after insert on {} deferrable initially deferred for each row
    execute function refuse();
"""


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("table", ["items", "shops"])
def test_a_deferred_refusal_is_rolled_back(target: Target, tmp_path: Path, table: str, in_place: bool) -> None:
    run = Runner(target, tmp_path)
    run()
    before = content(target)
    with pytest.raises(ChainFailed, match="refused") as caught:
        run(f"{TABLES}; {REFUSING.format(table)}", in_place=in_place)
    assert caught.value.state == ROLLED_BACK
    assert content(target) == before
