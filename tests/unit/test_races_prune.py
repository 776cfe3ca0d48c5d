"""Which requests only wait, and which schedules such a wait stands for."""

import pytest

from dbtools.races.content import Content
from dbtools.races.pruning import Wait, idle_waits, may_change_isolation, only_takes_a_lock
from dbtools.races.run import RunResult
from dbtools.races.schedule import SchedulingPoint
from dbtools.races.trace import Step
from tests.support.traces import Tape

LOCK = "select pg_advisory_lock(7)"


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


def begun(first: str = "I", sql: str = LOCK, *, session: str = "b", choice: bool = True) -> tuple[Tape, Step]:
    """A takes the lock, and B begins; then B asks for the lock and has to wait."""
    tape = Tape("a", "b")
    tape.run("a", LOCK)
    tape.run("b", "BEGIN", state=first, choice=False)
    step = tape.start(session, sql, choice=choice)
    tape.block(step, "advisory lock 7", "a")
    return tape, step


def waits(tape: Tape, *, both: tuple[int, ...] = (), plain: bool = True) -> list[Wait]:
    """Find the waits of a run; at the choices `both`, B could have gone on too."""
    actors = ["ab".index(step.actor) for step in tape.trace.steps if step.choice]
    points = [SchedulingPoint(at, (0, 1) if at in both else (0,), None) for at in range(len(actors))]
    return idle_waits(RunResult(tape.trace, tuple(zip(points, actors, strict=True)), Content(), plain=plain))


def go_on(tape: Tape, step: Step, *statements: str) -> None:
    """A takes some steps; with the end of the last one, B has the lock."""
    for sql in statements[:-1]:
        tape.run("a", sql)
    last = tape.start("a", statements[-1])
    tape.wake(step)
    tape.answer(last)


def test_a_wait_could_have_begun_after_each_step_that_only_the_other_one_could_take() -> None:
    tape, step = begun()
    go_on(tape, step, "insert", "update", "commit")
    tape.run("a", "select 1")
    assert waits(tape) == [Wait((0,), 1, (0, 0), frozenset({1, 2}))]
    assert waits(tape, both=(0, 1, 2)) == [Wait((0,), 1, (0, 0), frozenset({1, 2}))]
    assert waits(tape, both=(3,)) == [Wait((0,), 1, (0, 0), frozenset({2}))]
    assert waits(tape, both=(4,)) == [Wait((0,), 1, (0,), frozenset({1}))]
    assert waits(tape, both=(3, 4)) == []


def test_a_wait_that_does_not_end_counts_too_and_one_that_ends_at_once_does_not() -> None:
    tape, _ = begun()
    tape.run("a", "insert")
    assert waits(tape) == []
    tape.run("a", "update")
    tape.run("a", "begin", choice=False)
    assert waits(tape) == [Wait((0,), 1, (0,), frozenset({1}))]


@pytest.mark.parametrize(
    "sql", ["select * from pg_locks", "select pg_try_advisory_lock(7)", "select pg_blocking_pids(1)"]
)
def test_a_step_that_may_see_the_wait_ends_it(sql: str) -> None:
    tape, step = begun()
    go_on(tape, step, "insert", sql, "update", "commit")
    assert waits(tape) == [Wait((0,), 1, (0,), frozenset({1}))]


def test_a_step_that_blocks_ends_the_waits_and_begins_its_own_only_where_it_blocked_at_once() -> None:
    for sql, lengths in ((LOCK, {1}), ("lock table t", {1, 2})):
        tape, step = begun()
        tape.run("a", "insert")
        late = tape.start("a#2", sql)
        tape.run("a", "update")
        tape.block(late, "advisory lock 7", "a")
        go_on(tape, step, "delete", "insert", "commit")
        assert waits(tape) == [Wait((0,), 1, (0,) * len(lengths), frozenset(lengths))]


def test_only_a_lone_request_that_was_a_choice_is_idle() -> None:
    for tape, step in (begun(sql="lock table t"), begun(choice=False)):
        go_on(tape, step, "insert", "update", "commit")
        assert waits(tape) == []


def test_a_snapshot_that_is_held_meanwhile_makes_a_difference() -> None:
    for first, session, plain, expected in [
        ("T", "b", True, 1), ("T", "b", False, 0), ("E", "b", False, 0), ("I", "b", False, 1), ("T", "b#2", False, 1),
    ]:  # fmt: skip
        tape, step = begun(first, session=session)
        go_on(tape, step, "insert", "update", "commit")
        assert len(waits(tape, plain=plain)) == expected, (first, session, plain)
    tape = Tape("a", "b")
    for sql, state in (("BEGIN", "T"), ("COMMIT", "I")):
        tape.run("b", sql, state=state, choice=False)
    tape.run("a", LOCK)
    step = tape.start("b", LOCK)
    tape.block(step, "advisory lock 7", "a")
    go_on(tape, step, "insert", "update", "commit")
    assert len(waits(tape, plain=False)) == 1
    tape, step = begun("T")
    go_on(tape, step, "insert", "set transaction isolation level serializable", "commit")
    assert waits(tape) == []
