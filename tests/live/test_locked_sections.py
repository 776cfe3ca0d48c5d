"""The two locked sections by themselves: what is held inside, and what is checked on the way in and out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import psycopg
import pytest

from dbtools import chain
from dbtools.chain import locked_session, locked_transaction
from dbtools.chain.lock import FENCE
from dbtools.chain.locked_session import session_lock
from dbtools.chain.locked_transaction import open_guarded_session, transaction_lock
from dbtools.chain.phase import ROLLED_BACK, Outcome, server_time
from dbtools.chain.target import GuardRules, Target, Waits
from dbtools.config import LOCK_KEY, SeedPlan
from dbtools.db.dsn import Dsn
from dbtools.errors import ChainFailed, ConfigurationError, LockTimeout, ResetRefused
from tests.support.runs import PLAN, TODAY, Log, Runner, holder, query, seed
from tests.support.sessions import TIMEOUTS, Connect, advisory_locks, freed_at_last, shown
from tests.support.sources import sql_source
from tests.support.toy import TABLES
from tests.support.waiting import LIMIT_S, until

VERSIONED = """
create table if not exists alembic_version (version_num text primary key);
insert into alembic_version values ('0001') on conflict do nothing;
"""
SEED_LOCK = (0, LOCK_KEY, "ExclusiveLock")
FENCED = (FENCE >> 32, LOCK_KEY, "ShareLock")


@pytest.fixture
def target(pg_database: str) -> Target:
    return Target(Dsn.parse(pg_database), LOCK_KEY)


Enter: TypeAlias = Callable[[Waits, Log], Outcome]


@dataclass(frozen=True)
class Expiring(Waits):
    """Time enough for the lock, and none left after it, however little was waited."""

    waited: list[float] = field(default_factory=list)

    def after(self, waited: float) -> Waits:
        self.waited.append(waited)
        return Waits(lock=0.0)


def held_by(target: Target, connection: psycopg.Connection) -> list[tuple[object, ...]]:
    with psycopg.connect(target.dsn.url) as watcher:
        return advisory_locks(watcher, connection.info.backend_pid)


def advisory_holders(target: Target) -> int:
    return len(query(target, "select 1 from pg_locks where locktype = 'advisory' and granted"))


def server_clock(target: Target) -> str:
    ((now,),) = query(target, "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')")
    return str(now)


def protected(target: Target) -> Target:
    return Target(target.dsn, LOCK_KEY, rules=GuardRules(protect=("*",)))


def test_a_session_holds_the_lock_and_nothing_else_while_others_work(target: Target, connect: Connect) -> None:
    log, outcome = Log(), Outcome()
    with session_lock(target, "migrate", log, outcome) as lock:
        assert log.lines == ["✓ Acquired seed advisory lock (key=1196576591)"]
        inside = server_clock(target)
        assert held_by(target, lock.connection) == [SEED_LOCK]
        assert query(target, "select application_name, state from pg_stat_activity where pid = "
                     f"{lock.pid}") == [("dbtools migrate", "idle")]  # fmt: skip
        lock.check(connect())
    assert advisory_holders(target) == 0
    assert log.lines[1:] == ["✓ Released seed advisory lock"]
    assert outcome.acquired_at <= inside <= outcome.released_at
    assert set(outcome.seconds) == {"lock", "unlock"}


def test_work_is_checked_against_the_lock(target: Target, connect: Connect) -> None:
    work = connect()
    with session_lock(target, "migrate", Log(), Outcome()) as lock:
        lock.check(work)
        lock.connection.execute("select pg_advisory_unlock_all()")
        with pytest.raises(ChainFailed, match="It is free now"):
            lock.check(work)
        lock.connection.execute("select pg_advisory_lock(1196576591)")


def test_a_lock_that_was_lost_during_the_work_is_noticed_at_its_end(target: Target) -> None:
    log = Log()

    def work() -> None:
        with session_lock(target, "migrate", log, Outcome()) as lock:
            lock.connection.execute("select pg_advisory_unlock_all()")

    with pytest.raises(ChainFailed) as caught:
        work()
    assert caught.value.what == "The seed advisory lock (key=1196576591) was lost before it was released."
    assert caught.value.state == "The work was committed before."
    assert len(log.lines) == 1


def test_an_unprotected_section_has_no_lock_and_no_check(target: Target, connect: Connect) -> None:
    connect().execute("select pg_advisory_lock(1196576591)")
    connect().execute(f"alter database {target.dsn.dbname} set timezone to 'Asia/Tokyo'")
    bare, log = Target(target.dsn, LOCK_KEY, unprotected=True, rules=GuardRules(protect=("*",))), Log()
    with open_guarded_session(target, "seed", PLAN) as work, transaction_lock(work, bare, log, Outcome()):
        assert work.autocommit
        assert held_by(target, work) == []
        assert shown(work, "search_path", "timezone") == ["public", "UTC"]
    assert log.lines == []


def test_the_guard_is_asked_where_data_is_at_stake(target: Target) -> None:
    with session_lock(protected(target), "migrate", Log(), Outcome()):
        assert holder(target) is not None
    with (
        pytest.raises(ResetRefused, match="Refused to truncate database"),
        open_guarded_session(protected(target), "truncate", PLAN),
    ):
        pytest.fail("it was let in")


def test_the_guard_reads_the_plans_environment(target: Target) -> None:
    allowed = SeedPlan("small", TODAY, environ={"ALLOW_RESET": "true"})
    there = Target(target.dsn, LOCK_KEY, rules=GuardRules(protect=("*",)), confirm=target.dsn.dbname)
    with open_guarded_session(there, "seed", allowed) as work:
        assert work.autocommit
        assert query(target, "select count(*) from pg_stat_activity where application_name = 'dbtools seed'") == [(1,)]


def test_a_transaction_holds_the_lock_and_commits_at_the_end(target: Target) -> None:
    query(target, f"create schema shop; alter database {target.dsn.dbname} set timezone to 'Asia/Tokyo'")
    there, log, outcome = Target(target.dsn, LOCK_KEY, Waits(lock=0.0), schema="shop"), Log(), Outcome()
    settings = ("search_path", "timezone", *TIMEOUTS)
    with open_guarded_session(there, "seed", PLAN) as work:
        before = shown(work, *settings)
        with transaction_lock(work, there, log, outcome):
            assert log.lines == ["✓ Acquired seed advisory lock (key=1196576591)"]
            inside = server_clock(target)
            assert held_by(target, work) == [SEED_LOCK, (FENCE >> 32, LOCK_KEY, "ExclusiveLock")]
            assert shown(work, "search_path", "timezone", "lock_timeout") == ["shop, public", "UTC", "10s"]
            work.execute("create table kept ()")
        assert shown(work, *settings) == before  # behind a pooler somebody else is next on this session
    assert advisory_holders(target) == 0
    assert log.lines[1:] == ["✓ Released seed advisory lock"]
    assert query(target, "select schemaname from pg_tables where tablename = 'kept'") == [("shop",)]
    assert outcome.acquired_at <= inside <= outcome.released_at
    assert set(outcome.seconds) == {"lock", "commit"}


def test_a_commit_that_the_server_refuses_changes_nothing(target: Target) -> None:
    log = Log()

    def break_a_key() -> None:
        with open_guarded_session(target, "seed", PLAN) as work, transaction_lock(work, target, log, Outcome()):
            work.execute("create table t (a int primary key deferrable initially deferred)")
            work.execute("insert into t values (1), (1)")

    with pytest.raises(ChainFailed) as caught:
        break_a_key()
    assert caught.value.what == "The commit phase failed."
    assert caught.value.state == ROLLED_BACK
    assert query(target, "select 1 from pg_tables where tablename = 't'") == []
    assert len(log.lines) == 1


@pytest.fixture(params=["session", "transaction"])
def enter(request: pytest.FixtureRequest, target: Target) -> Enter:
    """Go through either section with these waits and return what was written down."""

    def through(waits: Waits, log: Log) -> Outcome:
        there, outcome = Target(target.dsn, LOCK_KEY, waits), Outcome()
        if request.param == "session":
            with session_lock(there, "reset", log, outcome):
                pass
        else:
            with open_guarded_session(there, "reset", PLAN) as work, transaction_lock(work, there, log, outcome):
                pass
        return outcome

    return through


def test_the_time_that_the_lock_took_is_written_down_and_taken_from_the_fences(
    target: Target, enter: Enter, connect: Connect
) -> None:
    other, earlier = connect("holder"), connect("earlier run")
    other.execute("select pg_advisory_lock(1196576591)")
    earlier.execute("select pg_advisory_lock_shared(%s)", (FENCE | LOCK_KEY,))
    log, waits, errors = Log(), Expiring(lock=LIMIT_S), list[LockTimeout]()

    def run() -> None:
        with pytest.raises(LockTimeout) as caught:
            enter(waits, log)
        errors.append(caught.value)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: log.notes != [])
    with freed_at_last(earlier):
        other.close()
        thread.join(LIMIT_S)
    (error,) = errors
    assert error.what.startswith("A run that lost the seed advisory lock is still at work")
    assert "(application 'earlier run', " in error.reason
    assert error.state == "Nothing was changed."
    assert log.lines == []
    assert log.notes[0].startswith("Waiting for the seed advisory lock (key=1196576591), held by pid ")
    assert len(waits.waited) == 1
    assert waits.waited[0] > 0


def test_both_times_are_taken_while_the_lock_is_held(
    target: Target, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two critical sections could seem to overlap, or a third one to lie between."""
    found: list[object] = []

    def look(connection: psycopg.Connection) -> str:
        found.append((held_by(target, connection)[0], len(found)))
        return server_time(connection)

    for module in (locked_session, locked_transaction):
        monkeypatch.setattr(module, "server_time", look)
    outcome = enter(Waits(0), Log())
    assert found == [(SEED_LOCK, 0), (SEED_LOCK, 1)]
    assert "" < outcome.acquired_at < outcome.released_at


def test_a_session_that_is_lost_while_it_waits_changed_nothing(target: Target, enter: Enter, connect: Connect) -> None:
    connect("holder").execute("select pg_advisory_lock(1196576591)")
    log, errors = Log(), list[ChainFailed]()

    def run() -> None:
        with pytest.raises(ChainFailed) as caught:
            enter(Waits(LIMIT_S), log)
        errors.append(caught.value)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: log.notes != [])
    query(target, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dbtools reset'")
    thread.join(LIMIT_S)
    (error,) = errors
    assert (error.what, error.state) == ("The lock phase failed.", "Nothing was changed.")


def test_a_section_that_had_to_wait_says_for_whom_and_how_long(target: Target, enter: Enter, connect: Connect) -> None:
    other, earlier = connect("holder"), connect("earlier run")
    other.execute("select pg_advisory_lock(1196576591)")
    earlier.execute("select pg_advisory_lock_shared(%s)", (FENCE | LOCK_KEY,))
    log, found = Log(), list[Outcome]()
    thread = threading.Thread(target=lambda: found.append(enter(Waits(LIMIT_S), log)))
    thread.start()
    until(lambda: len(log.notes) == 1)
    other.close()
    until(lambda: len(log.notes) == 2)
    freed = server_clock(target)
    earlier.close()
    thread.join(LIMIT_S)
    (outcome,) = found
    assert log.notes[1].startswith("Waiting for the work of a run that lost the lock: pid ")
    assert outcome.waited > 0
    assert outcome.acquired_at >= freed


@pytest.mark.parametrize("table", ["items", "notes"])
def test_seed_waits_for_readers_instead_of_meeting_them_in_a_deadlock(
    target: Target, tmp_path: Path, connect: Connect, table: str
) -> None:
    Runner(target, tmp_path)(TABLES, "create table notes (item int references items (id))")
    reader = connect("report", autocommit=False)
    reader.execute(f"select from {table}")
    quick = Target(target.dsn, LOCK_KEY, Waits(0))
    with freed_at_last(reader), pytest.raises(LockTimeout) as caught:
        seed(quick, tmp_path)
    assert caught.value.what == "The seeded tables are in use and could not be emptied."
    assert "(application 'report', " in caught.value.reason
    # Nothing is emptied where rows are only added.
    assert seed(quick, tmp_path, SeedPlan("small", TODAY, known_users_only=True)).rows == 1


def test_migrate_takes_the_lock_and_does_not_ask_the_guard(target: Target, tmp_path: Path, connect: Connect) -> None:
    upgrade = sql_source(tmp_path / "project", VERSIONED).upgrade
    other = connect("holder")
    other.execute("select pg_advisory_lock(1196576591)")
    with freed_at_last(other), pytest.raises(LockTimeout):
        chain.migrate(Target(target.dsn, LOCK_KEY, Waits(0)), upgrade, Log())
    other.execute("select pg_advisory_unlock(1196576591)")
    log = Log()
    assert chain.migrate(protected(target), upgrade, log) == ([], ["0001"])
    assert "✓ Migrations applied: nothing to 0001" in log.lines
    assert chain.migrate(target, upgrade, log) == (["0001"], ["0001"])
    assert "✓ Already at 0001" in log.lines


def test_migrate_finds_out_that_the_steps_went_elsewhere(target: Target) -> None:
    with pytest.raises(ChainFailed) as caught:
        chain.migrate(target, lambda _dsn, _fence: ("0007",), Log())
    assert str(caught.value) == (
        "The migrate steps ended without an error, but the database is not at the newest revision.\n"
        "It is at nothing; the history ends at 0007. What was committed before stays; invoke doctor shows the"
        " revision.\n"
        "See what env.py connects to, and which table it keeps its revision in."
    )
    until(lambda: advisory_holders(target) == 0)  # the server's process ends after its session


def test_migrate_notices_a_lock_that_was_lost_meanwhile(target: Target) -> None:
    def lose(_dsn: Dsn, _fence: int) -> tuple[str, ...]:
        found = holder(target)
        query(target, f"select pg_terminate_backend({found})")
        until(lambda: holder(target) is None)
        return ()

    with pytest.raises(ChainFailed) as caught:
        chain.migrate(target, lose, Log())
    assert caught.value.what == "The seed advisory lock (key=1196576591) was lost before the work was done."
    assert caught.value.reason == ("It is free now. What was committed before stays; invoke doctor shows the revision.")


def test_migrate_gives_the_steps_the_fence_that_the_next_run_waits_for(target: Target) -> None:
    def work(dsn: Dsn, fence: int) -> tuple[str, ...]:
        assert fence == FENCE | LOCK_KEY
        assert dsn.dbname == target.dsn.dbname
        assert holder(target) is not None
        return ()

    assert chain.migrate(target, work, Log()) == ([], [])


@pytest.mark.parametrize("task", ["reset", "seed"])
def test_a_production_environment_is_refused_before_a_connection_is_opened(task: str, tmp_path: Path) -> None:
    nowhere = Target(Dsn.parse("postgresql://nobody@127.0.0.1:1/nothing"), LOCK_KEY)
    plan = SeedPlan("small", TODAY, environ={"NODE_ENV": "production"})
    start: dict[str, Callable[[], object]] = {
        "seed": lambda: seed(nowhere, tmp_path, plan),
        "reset": lambda: Runner(nowhere, tmp_path)(plan=plan),
    }
    with pytest.raises(ResetRefused, match=f"^Refused to {task}: this is a production environment"):
        start[task]()


def test_a_pool_of_one_is_refused_before_a_connection_is_opened() -> None:
    nowhere = Target(Dsn.parse("postgresql://nobody@127.0.0.1:1/nothing"), LOCK_KEY, pool_size=1)
    with pytest.raises(ConfigurationError), session_lock(nowhere, "migrate", Log(), Outcome()):
        pytest.fail("it was let in")
