"""The chain on a live server, with a small application: what it builds, and what a failure leaves."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from dbtools import chain
from dbtools.chain import Target
from dbtools.config import LOCK_KEY, SeedPlan
from dbtools.digest import digest
from dbtools.dsn import Dsn
from dbtools.errors import ChainFailed, ConfigurationError, LockTimeout, ResetRefused
from dbtools.rows import prepare
from tests.toy import TABLES, ToyShop, execute, write_history

TODAY = dt.date(2026, 11, 23)
PLAN = SeedPlan("small", TODAY)
ROLLED_BACK = "The transaction was rolled back: the database is as it was before."
AUTOCOMMIT = (
    "with op.get_context().autocommit_block():\n    op.execute('create index concurrently byprice on items (price)')"
)


class Log:
    """A report that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.notes: list[str] = []

    def doing(self, text: str) -> None:
        self.lines.append(text)

    def done(self, text: str) -> None:
        self.lines.append(f"✓ {text}")

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def target(pg_database: str) -> Target:
    return Target(Dsn.parse(pg_database), LOCK_KEY)


@pytest.fixture
def run(target: Target, tmp_path: Path) -> Callable[..., Log]:
    """Run a reset over a history of these upgrades."""
    count = iter(range(100))

    def reset(*bodies: str, plan: SeedPlan = PLAN, **options: object) -> Log:
        log = Log()
        history = write_history(tmp_path / f"migrations{next(count)}", *(bodies or [execute(TABLES)]))
        changed = Target(**{**target.__dict__, **options})
        with prepare(ToyShop(), plan) as rows:
            chain.reset(changed, history, tmp_path / "cache", rows, log)
        return log

    return reset


def seed(target: Target, plan: SeedPlan = PLAN, log: Log | None = None) -> chain.Outcome:
    with prepare(ToyShop(), plan) as rows:
        return chain.seed(target, rows, log or Log())


def query(target: Target, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(target.dsn.url, autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


def content(target: Target) -> str:
    with psycopg.connect(target.dsn.url, autocommit=True) as connection:
        return digest(connection).sha256


def test_the_record_of_a_reset(run: Callable[..., Log], target: Target) -> None:
    assert run().lines == [
        "✓ Acquired seed advisory lock (key=1196576591)",
        "Dropping all application tables...",
        "✓ All tables and enums dropped",
        "Running migrations...",
        "✓ Migrations applied",
        "Seeding database...",
        "✓ Created 3 shops as of 2026-11-23",
        "Seed complete!",
        "✓ Released seed advisory lock",
        "✓ Reset complete (advisory lock key=0x47524f4f)",
    ]
    assert query(target, "select count(*) from items") == [(3,)]
    assert query(target, "select version_num from alembic_version") == [("0001",)]


def test_text_arrives_as_it_was_generated(run: Callable[..., Log], target: Target) -> None:
    run()
    assert query(target, "select name, note from shops where id = 1") == [("Shop\t1 \\ 42\n", None)]


def test_a_reset_over_a_seeded_database_gives_the_same_content(run: Callable[..., Log], target: Target) -> None:
    run()
    first = content(target)
    run()
    assert content(target) == first


def test_sequences_stand_past_the_loaded_keys(run: Callable[..., Log], target: Target) -> None:
    run()
    assert query(target, "insert into shops (name) values ('next') returning id") == [(4,)]
    assert query(target, "insert into items (shop_id) values (1) returning id") == [(4,)]


def test_seed_empties_what_refers_to_its_tables_too(run: Callable[..., Log], target: Target) -> None:
    run(execute(TABLES), execute("create table notes (item int references items (id))"))
    first = content(target)
    query(target, "insert into notes values (1)")
    query(target, "update shops set name = 'changed'")
    log = Log()
    outcome = seed(target, PLAN, log)
    assert content(target) == first
    assert outcome.rows == 6
    assert log.lines == [
        "✓ Acquired seed advisory lock (key=1196576591)",
        "Seeding database...",
        "✓ Created 3 shops as of 2026-11-23",
        "Seed complete!",
        "✓ Released seed advisory lock",
    ]


def test_the_known_users_mode_adds_what_is_missing_and_nothing_else(run: Callable[..., Log], target: Target) -> None:
    run()
    before = query(target, "select * from shops order by id")
    plan = SeedPlan("small", TODAY, known_users_only=True)
    assert seed(target, plan).rows == 1
    assert query(target, "select * from shops order by id") == [*before, (9000, "Known", "here")]
    assert seed(target, plan).rows == 0


def test_seed_without_tables_says_what_to_run(target: Target) -> None:
    with pytest.raises(ChainFailed) as caught:
        seed(target)
    assert caught.value.what == "The seed phase failed."
    assert ROLLED_BACK in caught.value.why
    assert caught.value.hint == "The tables are not there: run invoke migrate, or invoke reset."


@pytest.mark.parametrize(
    ("bodies", "what"),
    [
        ([execute(TABLES), execute("select 1 / 0")], "Migration 0002 failed."),
        (
            ["op.get_bind()", execute(TABLES), execute("select 1 / 0")],
            "Migration 0003 failed.",
        ),
    ],
    ids=["rendered", "through Alembic"],
)
def test_a_migration_that_fails_half_way_loses_nothing(
    run: Callable[..., Log], target: Target, bodies: list[str], what: str
) -> None:
    run()
    before = content(target)
    if "get_bind" in bodies[0]:
        bodies[0] = "op.get_bind().execute(__import__('sqlalchemy').text('select 1')).scalar_one()"
    with pytest.raises(ChainFailed) as caught:
        run(*bodies)
    assert caught.value.what == what
    assert caught.value.why == f"division by zero. {ROLLED_BACK}"
    assert content(target) == before
    assert holders(target) == []


def test_a_revision_that_raises_anything_is_named(run: Callable[..., Log], target: Target) -> None:
    run()
    before = content(target)
    with pytest.raises(ChainFailed) as caught:
        run(execute(TABLES), "{}['no such key']")
    assert str(caught.value) == (
        f"Migration 0002 failed.\n'no such key'. {ROLLED_BACK}\nCorrect that revision and run this again."
    )
    assert content(target) == before


def test_a_role_without_rights_is_told_before_anything_is_dropped(
    run: Callable[..., Log], target: Target, pg_admin: str
) -> None:
    run()
    before, role = content(target), target.dsn.user
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute(
            f"alter database {target.dsn.dbname} owner to current_user; revoke create on schema public from {role}"
        )
        with pytest.raises(ChainFailed) as caught:
            run()
    assert str(caught.value) == (
        f"Role {role} may not create anything in schema public.\n"
        f"It would drop what it cannot build again. {ROLLED_BACK}\n"
        f'As its owner: grant create, usage on schema "public" to "{role}"; or connect as the owner.'
    )
    assert content(target) == before


def test_a_seed_that_fails_loses_nothing(run: Callable[..., Log], target: Target) -> None:
    run()
    before = content(target)
    with pytest.raises(ChainFailed) as caught:
        run(execute(TABLES), execute("alter table items add check (price < 300)"))
    assert caught.value.what == "The seed phase failed."
    assert "items_price_check" in caught.value.why
    assert ROLLED_BACK in caught.value.why
    assert content(target) == before


def test_a_history_that_asks_the_database_runs_through_alembic(run: Callable[..., Log], target: Target) -> None:
    run()
    first = content(target)
    run("op.get_bind().execute(__import__('sqlalchemy').text('select 1')).scalar_one()", execute(TABLES))
    assert content(target) == first
    assert query(target, "select version_num from alembic_version") == [("0002",)]


def test_a_history_that_commits_by_itself_runs_in_phases(run: Callable[..., Log], target: Target) -> None:
    run(execute(TABLES), AUTOCOMMIT)
    first = content(target)
    run(execute(TABLES), AUTOCOMMIT)
    assert content(target) == first
    assert query(target, "select count(*) from pg_indexes where indexname = 'byprice'") == [(1,)]


def test_a_failure_in_phases_says_what_is_left(run: Callable[..., Log], target: Target) -> None:
    run()
    with pytest.raises(ChainFailed) as caught:
        run(execute(TABLES), AUTOCOMMIT, execute("select 1 / 0"))
    assert caught.value.what == "Migration 0003 failed."
    assert caught.value.why == ("division by zero. The schema is dropped and only partly rebuilt: run reset again.")
    run()


def test_a_pool_of_one_is_refused_at_once(run: Callable[..., Log]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        run(pool_size=1)
    assert str(caught.value) == (
        "A pool of 1 cannot run the chain.\n"
        "One connection is reserved for the lock, so a pool of 1 leaves none for the work and would hang."
        " Nothing was changed.\n"
        "Set --pool-size, DBTOOLS_POOL_SIZE or [tool.dbtools] pool-size to 2 or more."
    )


def test_a_pool_of_two_is_enough(run: Callable[..., Log], target: Target) -> None:
    run(pool_size=2)
    assert query(target, "select count(*) from shops") == [(3,)]


def test_another_program_with_the_same_key_keeps_us_out(run: Callable[..., Log], target: Target) -> None:
    run()
    before = content(target)
    with psycopg.connect(target.dsn.url, autocommit=True, application_name="old seeder") as other:
        other.execute("select pg_advisory_lock(1196576591)")
        pid = other.info.backend_pid
        for start in (
            run,
            lambda **options: seed(Target(target.dsn, LOCK_KEY, **options)),
        ):
            with pytest.raises(LockTimeout) as caught:
                start(lock_timeout=0)
            assert caught.value.exit_code == 4
            assert caught.value.what == "Could not get the seed advisory lock (key=1196576591) at the first try."
            assert caught.value.why.startswith(f"Held by pid {pid} (application 'old seeder', user ")
            assert caught.value.why.endswith("Nothing was changed.")
            assert caught.value.hint == (
                f"Wait longer with --lock-timeout SECONDS, or end that session: select pg_terminate_backend({pid});"
            )
    assert content(target) == before
    run(lock_timeout=0)


def test_a_production_marker_in_the_database_needs_both_keys(run: Callable[..., Log], target: Target) -> None:
    run()
    before, name = content(target), target.dsn.dbname
    query(target, f"comment on database {name} is 'environment=production owner=ops'")
    allowed = SeedPlan("small", TODAY, environ={"ALLOW_RESET": "true"})
    for plan, confirm in ((PLAN, None), (PLAN, name), (allowed, None), (allowed, "other")):
        with pytest.raises(ResetRefused) as caught:
            run(plan=plan, confirm=confirm)
        assert str(caught.value) == (
            f"Refused to reset database {name}: it is marked as a production database.\n"
            "Its comment is 'environment=production owner=ops'. Nothing was changed.\n"
            f"If it may really be destroyed: ALLOW_RESET=true and --confirm {name}"
        )
    assert content(target) == before
    run(plan=allowed, confirm=name)


def test_the_lock_is_free_and_no_session_is_left_afterwards(run: Callable[..., Log], target: Target) -> None:
    run()
    assert holders(target) == []
    assert query(target, "select count(*) from pg_stat_activity where application_name = 'dbtools reset'") == [(0,)]


def test_a_run_that_loses_its_lock_stops_and_the_next_waits_for_its_work(
    run: Callable[..., Log], target: Target
) -> None:
    """Only the lock's backend is ended while the work goes on and another chain waits."""
    run()
    before = content(target)
    errors: list[ChainFailed] = []
    logs: list[Log] = []

    def lose() -> None:
        with pytest.raises(ChainFailed) as caught:
            run(execute(TABLES), execute("select pg_sleep(1.5)"))
        errors.append(caught.value)

    first = threading.Thread(target=lose)
    first.start()
    sleeping = "select pid from pg_stat_activity where query like '%pg_sleep(1.5)%' and pid <> pg_backend_pid()"
    until(lambda: query(target, sleeping) != [])
    second = threading.Thread(target=lambda: logs.append(run()))
    second.start()
    until(lambda: query(target, "select pid from pg_stat_activity where wait_event = 'advisory'") != [])
    (holder,) = holders(target)
    query(target, f"select pg_terminate_backend({holder[0]})")
    # The second has the lock now, and has changed nothing as long as the first one's work is there.
    until(lambda: holders(target) not in ([], [holder]))
    assert query(target, sleeping) != []
    assert content_is_locked(target)
    first.join(30)
    second.join(30)
    (error,) = errors
    assert error.what == "The seed advisory lock (key=1196576591) was lost before the work was done."
    assert error.why.startswith("It is held by pid ")
    assert error.why.endswith(ROLLED_BACK)
    (log,) = logs
    assert any(note.startswith("Waiting for the work of a run that lost the lock: pid ") for note in log.notes)
    assert content(target) == before


def content_is_locked(target: Target) -> bool:
    """Whether the first run's transaction still holds the tables it dropped."""
    with psycopg.connect(target.dsn.url) as connection:
        try:
            connection.execute("lock table shops in access share mode nowait")
        except psycopg.errors.LockNotAvailable:
            return True
    return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


def holders(target: Target) -> list[tuple[object, ...]]:
    return query(
        target,
        "select pid from pg_locks where locktype = 'advisory' and granted and classid = 0 and objid = 1196576591"
        " and database = (select oid from pg_database where datname = current_database())",
    )
