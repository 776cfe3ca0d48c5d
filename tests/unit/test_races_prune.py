"""Which requests only wait, and which schedules such a wait stands for."""

import pytest

from dbtools.races.pruning import Wait, may_change_isolation, only_takes_a_lock


@pytest.mark.parametrize(
    "sql",
    [
        "select pg_advisory_lock(1)", "SELECT pg_advisory_xact_lock($1::bigint);",
        "select pg_advisory_lock(1, -2) as l",
        "select pg_catalog.pg_advisory_lock_shared(7)::text", "\n select pg_advisory_xact_lock ( hashtext('a b') )",
        "select pg_advisory_lock(hashtextextended('groombook', 0))", "select pg_advisory_lock(hashtext($1)::bigint)",
    ],
)  # fmt: skip
def test_a_request_that_does_nothing_but_wait(sql: str) -> None:
    assert only_takes_a_lock(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "select pg_try_advisory_lock(1)", "select pg_advisory_lock(1), count(*) from t", "lock table t",
        "select pg_advisory_lock(id) from t", "select pg_advisory_lock((select max(id) from t))",
        "select pg_advisory_lock(1); insert into t values (1)", "select pg_advisory_lock(f(1))", "select f(1)",
        "select pg_advisory_unlock(1)", "with l as (select pg_advisory_lock(1)) select 1 from l",
    ],
)  # fmt: skip
def test_a_request_that_may_do_more(sql: str) -> None:
    assert not only_takes_a_lock(sql)


def test_what_speaks_of_another_isolation_level() -> None:
    for sql in ("begin isolation level serializable", "select set_config('default_transaction_isolation', $1, true)",
                "set transaction\nisolation level repeatable read"):  # fmt: skip
        assert may_change_isolation(sql)
    for sql in ("show transaction isolation level", "set transaction isolation level read committed, read write",
                " SHOW default_transaction_isolation", "begin"):  # fmt: skip
        assert not may_change_isolation(sql)


def test_a_wait_covers_the_schedules_that_begin_it_later() -> None:
    # A went twice, B asked and waited while A went on three times; after two of them, another could have gone instead.
    wait = Wait((0, 0), 1, (0, 0, 0), frozenset({1, 3}))
    assert wait.covers([0, 0, 0, 1])
    assert wait.covers([0, 0, 0, 0, 0, 1])
    assert not wait.covers([0, 0, 0, 0, 1])
    assert not wait.covers([0, 0, 1])  # the run itself
    assert not wait.covers([0, 1])  # earlier
    assert not wait.covers([0, 0, 0, 0, 0, 0, 1])  # too late: it may have been free by then
    assert not wait.covers([0, 0, 2, 1])  # somebody else went meanwhile
    assert not wait.covers([0, 0, 0, 2])  # somebody else asks
    assert not wait.covers([1, 0, 0, 1])
