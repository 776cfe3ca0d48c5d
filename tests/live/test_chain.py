"""The chain on a live server, in both strategies, with a small application: what it builds, what a failure leaves."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from dbtools import chain
from dbtools.chain.phase import ROLLED_BACK
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.target import Target, Waits
from dbtools.config import LOCK_KEY, SeedPlan
from dbtools.db.dsn import Dsn
from dbtools.errors import UNCHANGED, ChainFailed, LockTimeout, ResetRefused, StepFailed
from tests.support.runs import PLAN, TODAY, Log, Runner, content, holder, query, seed
from tests.support.sources import sql_source
from tests.support.toy import TABLES, ToyShop


@pytest.fixture(params=["swap", "in-place"])
def target(pg_database: str, request: pytest.FixtureRequest) -> Target:
    return Target(Dsn.parse(pg_database), LOCK_KEY, in_place=request.param == "in-place")


@pytest.fixture
def run(target: Target, tmp_path: Path) -> Runner:
    return Runner(target, tmp_path)


def test_text_arrives_as_it_was_generated(run: Runner, target: Target) -> None:
    log = run(TABLES, "create table notes (id int); insert into notes values (1)")
    assert query(target, "select name, note from shops where id = 1") == [("Shop\t1 \\ 42\n", None)]
    assert not any(line.startswith("✓ Loaded") for line in log.lines)  # the application says what it is


def test_a_reset_returns_what_it_did(target: Target, tmp_path: Path) -> None:
    source = sql_source(tmp_path / "project", TABLES)
    plan, log = SeedPlan("small", TODAY, environ={"TOY_SHOP": "Another"}), Log()
    with generate_in_background(ToyShop(), plan) as rows:
        outcome = chain.reset(target, source, rows, log)
    assert outcome.rows == 7
    assert log.lines[log.lines.index("Seed complete!") - 2 :][:2] == [
        "✓ Created 3 shops as of 2026-11-23",
        "✓ Created a shop more",
    ]
    assert "" < outcome.acquired_at < outcome.released_at
    assert {"build", "lock", "migrate", "seed", "commit"} <= set(outcome.seconds)


def test_a_reset_over_a_seeded_database_gives_the_same_content(run: Runner, target: Target) -> None:
    run()
    first = content(target)
    run()
    assert content(target) == first


def test_sequences_stand_past_the_loaded_keys(run: Runner, target: Target) -> None:
    run()
    assert query(target, "insert into shops (name) values ('next') returning id") == [(4,)]
    assert query(target, "insert into items (shop_id) values (1) returning id") == [(4,)]


def test_seed_empties_what_refers_to_its_tables_too(run: Runner, target: Target, tmp_path: Path) -> None:
    run(TABLES, "create table notes (item int references items (id))")
    first = content(target)
    query(target, "insert into notes values (1)")
    query(target, "update shops set name = 'changed'")
    log = Log()
    outcome = seed(target, tmp_path, PLAN, log)
    assert content(target) == first
    assert outcome.rows == 6
    assert log.lines == [
        "✓ Acquired seed advisory lock (key=1196576591)",
        "Seeding database...",
        "✓ Created 3 shops as of 2026-11-23",
        "Seed complete!",
        "✓ Released seed advisory lock",
    ]
    assert log.notes == []


def test_the_known_users_mode_adds_what_is_missing_and_nothing_else(
    run: Runner, target: Target, tmp_path: Path
) -> None:
    run()
    before = query(target, "select * from shops order by id")
    plan = SeedPlan("small", TODAY, known_users_only=True)
    log = Log()
    assert seed(target, tmp_path, plan, log).rows == 1
    assert log.lines[1:4] == ["Seeding database...", "✓ Known shops", "Seed complete!"]
    assert log.notes == ["1 row was missing"]
    assert query(target, "select * from shops order by id") == [*before, (9000, "Known", "here")]
    assert seed(target, tmp_path, plan, log).rows == 0
    assert log.notes == ["1 row was missing", "0 rows were missing"]


def test_seed_without_tables_says_what_to_run(target: Target, tmp_path: Path) -> None:
    with pytest.raises(ChainFailed) as caught:
        seed(target, tmp_path)
    assert caught.value.what == "The seed phase failed."
    assert ROLLED_BACK in caught.value.reason
    assert caught.value.hint == "The tables are not there: run invoke migrate, or invoke reset."


def test_a_step_that_fails_half_way_loses_nothing_and_never_takes_the_lock(run: Runner, target: Target) -> None:
    run()
    before = content(target)
    with psycopg.connect(target.dsn.url, autocommit=True) as other:
        other.execute("select pg_advisory_lock(1196576591)")
        with pytest.raises(StepFailed) as caught:
            run(TABLES, "select 1 / 0", waits=Waits(0))
    assert caught.value.what == "Step migrate 1 of 1 (sql *.sql) failed."
    assert "0002.sql:1: ERROR:  division by zero" in caught.value.why
    assert caught.value.state == UNCHANGED
    assert run.log.lines == []
    assert content(target) == before


def test_a_session_that_is_lost_while_the_content_is_built_is_not_ours(run: Runner, target: Target) -> None:
    run()
    before = content(target)
    with pytest.raises(StepFailed) as caught:
        run(TABLES, "select pg_terminate_backend(pg_backend_pid())")
    assert "terminating connection due to administrator command" in caught.value.why
    assert caught.value.state == UNCHANGED
    assert content(target) == before
    assert holder(target) is None


def test_a_seed_that_fails_loses_nothing(run: Runner, target: Target) -> None:
    run()
    before = content(target)
    with pytest.raises(ChainFailed) as caught:
        run(TABLES, "alter table items add check (price < 300)")
    assert caught.value.what == "The seed phase failed."
    assert "items_price_check" in caught.value.reason
    assert ROLLED_BACK in caught.value.reason
    assert content(target) == before
    assert holder(target) is None


def test_another_program_with_the_same_key_keeps_us_out(run: Runner, target: Target, tmp_path: Path) -> None:
    run()
    before = content(target)
    with psycopg.connect(target.dsn.url, autocommit=True, application_name="old seeder") as other:
        other.execute("select pg_advisory_lock(1196576591)")
        pid = other.info.backend_pid
        for start in (
            run,
            lambda **options: seed(Target(target.dsn, LOCK_KEY, **options), tmp_path),
        ):
            with pytest.raises(LockTimeout) as caught:
                start(waits=Waits(0))
            assert caught.value.exit_code == 4
            assert caught.value.what == "Could not get the seed advisory lock (key=1196576591) at the first try."
            assert caught.value.reason.startswith(f"Held by pid {pid} (application 'old seeder', user ")
            assert caught.value.reason.endswith("Nothing was changed.")
            assert caught.value.hint == (
                f"Wait longer with --lock-timeout SECONDS, or end that session: select pg_terminate_backend({pid});"
            )
    assert content(target) == before
    run(waits=Waits(0))


def test_a_production_marker_in_the_database_needs_both_keys(run: Runner, target: Target) -> None:
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


def test_the_lock_is_free_and_no_session_is_left_afterwards(run: Runner, target: Target) -> None:
    run()
    assert holder(target) is None
    assert query(target, "select count(*) from pg_stat_activity where application_name = 'dbtools reset'") == [(0,)]
