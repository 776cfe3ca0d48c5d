"""The reader beside the processes of a round: it sees what fails, and what has to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtools.checks.reader import reader
from dbtools.db.dsn import Dsn
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.sessions import Connect

TABLES = [("public", "a"), ("public", "b c")]
MADE = 'create table a (id int); create table "b c" (id int)'


def test_reads_end_with_the_block_and_none_fails(pg_database: str, connect: Connect) -> None:
    connect("owner").execute(MADE)
    with reader(Dsn.parse(pg_database), TABLES) as reads:
        assert reads.number >= 1
        until(lambda: reads.number > 10)
    number = reads.number
    assert reads.errors == []
    assert (
        connect("later").execute("select from pg_stat_activity where application_name = 'dbtools reader'").rowcount == 0
    )
    assert reads.number == number


def test_a_read_that_has_to_wait_shows_how_long(pg_database: str, connect: Connect) -> None:
    owner = connect("owner", autocommit=False)
    owner.execute(MADE)
    owner.commit()
    with reader(Dsn.parse(pg_database), TABLES) as reads:
        owner.execute("truncate a")
        waits = "select from pg_stat_activity where application_name = 'dbtools reader' and wait_event_type = 'Lock'"
        look = connect("look")
        until(lambda: look.execute(waits).rowcount == 1)
        held = "select extract(epoch from clock_timestamp() - query_start)::float8 from pg_stat_activity"
        (seconds,) = look.execute(f"{held} where application_name = 'dbtools reader'").fetchone() or (0.0,)
        owner.commit()
    assert reads.errors == []
    assert reads.longest > seconds


def test_a_read_that_fails_is_counted_and_the_next_one_goes_on(pg_database: str, connect: Connect) -> None:
    owner = connect("owner")
    owner.execute(MADE)
    with reader(Dsn.parse(pg_database), TABLES) as reads:
        owner.execute("drop table a")
        until(lambda: len(reads.errors) > 1)
        owner.execute("create table a (id int)")
        seen = len(reads.spans)
        until(lambda: len(reads.spans) > seen)
    assert set(reads.errors) == {'42P01 relation "public.a" does not exist'}
    assert reads.number == len(reads.spans) + len(reads.errors)
