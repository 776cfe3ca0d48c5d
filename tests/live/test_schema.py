"""The schema that the migrations make: equal to the reference text, to the models, and reversible at every step."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, pool

from dbtools.build.builder import Builder
from dbtools.build.replay import restore
from dbtools.chain import reset
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.chain.target import Target
from dbtools.config import LOCK_KEY, SeedPlan
from dbtools.db.connect import open_session
from dbtools.db.digest import digest
from dbtools.db.dsn import Dsn
from groombook.application import application
from groombook.models import Base
from tests.support.migrations import configure
from tests.support.schema_text import describe
from tests.support.sources import sample_source, store

ROOT = Path(__file__).resolve().parent.parent.parent
REFERENCE = (ROOT / "tests" / "data" / "groombook-schema.txt").read_text("utf-8")


@pytest.fixture
def engine(pg_database: str) -> Iterator[Connection]:
    """A SQLAlchemy connection to the test's database."""
    with create_engine(Dsn.parse(pg_database).sqlalchemy_url, poolclass=pool.NullPool).connect() as connection:
        yield connection


def migrate(connection: Connection, revision: str) -> None:
    """Go to a revision, whichever way it lies, and commit."""
    config = configure(connection)
    revisions = [one.revision for one in ScriptDirectory.from_config(config).walk_revisions()]
    here = MigrationContext.configure(connection).get_current_revision()
    up = revision == "head" or (
        revision != "base" and (here is None or revisions.index(revision) < revisions.index(here))
    )
    (command.upgrade if up else command.downgrade)(config, revision)
    connection.commit()


def catalogue(url: str, schema: str = "public") -> str:
    with psycopg.connect(url) as connection:
        connection.execute(f"set search_path to {schema}")
        return describe(connection, schema)


def assert_reference(made: str) -> None:
    """Compare with the reference; indexes come in the order of their making, which only the migrations decide."""
    lines, wanted = made.splitlines(), REFERENCE.splitlines()
    assert [line for line in lines if not line.startswith("index ")] == [
        line for line in wanted if not line.startswith("index ")
    ]
    assert sorted(lines) == sorted(wanted)


def test_the_head_is_the_reference_name_for_name(engine: Connection, pg_database: str) -> None:
    migrate(engine, "head")
    assert catalogue(pg_database) == REFERENCE


def test_the_snapshot_makes_the_same_schema(pg_database: str) -> None:
    """Once more with a type of its own for each enum: nothing is there that could serve."""
    with open_session(Dsn.parse(pg_database), "test") as connection:
        source = sample_source()
        snapshot = source.find(connection) or source.build(Dsn.parse(pg_database))
        restore(connection, snapshot)
    assert_reference(catalogue(pg_database))


@pytest.mark.parametrize("strategy", ["swap", "in-place"])
def test_a_reset_leaves_the_same_schema_every_time(pg_database: str, strategy: str) -> None:
    target = Target(Dsn.parse(pg_database), LOCK_KEY, in_place=strategy == "in-place")
    source = sample_source()
    with generate_in_background(application, SeedPlan("dev", dt.date(2026, 11, 23))) as rows:
        for _ in range(3):
            reset(target, source, rows, NullReport())
            assert_reference(catalogue(pg_database))


def test_the_models_are_the_schema(engine: Connection) -> None:
    migrate(engine, "head")
    context = MigrationContext.configure(engine, opts={"compare_type": True, "compare_server_default": True})
    assert compare_metadata(context, Base.metadata) == []
    command.check(configure(engine))


def test_the_models_make_the_reference_by_themselves(engine: Connection, pg_database: str) -> None:
    Base.metadata.create_all(engine)
    engine.commit()
    # Enum values, the order of columns and the predicates of indexes are what Alembic does not compare.
    assert_reference(catalogue(pg_database))


def test_the_history_is_one_line_of_at_least_ten_revisions() -> None:
    scripts = ScriptDirectory.from_config(configure())
    assert len(scripts.get_heads()) == 1
    assert len(list(scripts.walk_revisions())) >= 10


def test_every_revision_goes_down_and_up_again(engine: Connection, pg_database: str) -> None:
    revisions = [one.revision for one in ScriptDirectory.from_config(configure()).walk_revisions()][::-1]
    seen: dict[str, str] = {"base": catalogue(pg_database)}
    for before, revision in zip(["base", *revisions], revisions, strict=False):
        migrate(engine, revision)
        seen[revision] = catalogue(pg_database)
        migrate(engine, before)
        assert catalogue(pg_database) == seen[before], f"{revision} does not go down to what was there before"
        migrate(engine, revision)
        assert catalogue(pg_database) == seen[revision], f"{revision} does not come up again"
    for revision in ["base", *revisions][-2::-1]:
        migrate(engine, revision)
        assert catalogue(pg_database) == seen[revision], f"the way down from head differs at {revision}"
    with psycopg.connect(pg_database) as connection:
        left = connection.execute("select relname from pg_class where relnamespace = 'public'::regnamespace").fetchall()
    assert sorted(left) == [("alembic_version",), ("alembic_version_pkc",)]


@pytest.mark.parametrize("strategy", ["swap", "in-place"])
def test_it_runs_in_another_schema(pg_database: str, strategy: str) -> None:
    project = replace(sample_source().project, schema="Odd schema")
    source = Builder(project, store(), dict(os.environ), note=lambda _: None)
    target = Target(Dsn.parse(pg_database), LOCK_KEY, schema="Odd schema", in_place=strategy == "in-place")
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute('create schema "Odd schema"')
        with generate_in_background(application, SeedPlan("dev", dt.date(2026, 11, 23))) as rows:
            reset(target, source, rows, NullReport())
        assert describe(connection) == "# enums\n"
    assert_reference(catalogue(pg_database, '"Odd schema"'))


def test_confirmations_are_filled_in_for_appointments_that_were_there(engine: Connection, pg_database: str) -> None:
    migrate(engine, "0007_client_status")
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(
            "insert into clients (id, name) values (gen_random_uuid(), 'Ann');"
            " insert into pets (client_id, name, species) select id, 'Rex', 'Dog' from clients;"
            " insert into services (name, base_price_cents, duration_minutes) values ('Bath', 1, 1);"
            " insert into appointments (client_id, pet_id, service_id, status, start_time, end_time, updated_at)"
            " select c.id, p.id, s.id, one, '2024-01-01', '2024-01-01', '2024-02-03 04:05:06'"
            " from clients c, pets p, services s, unnest(enum_range(null::appointment_status)) one"
        )
    migrate(engine, "0008_confirmations")
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        rows = connection.execute(
            "select status::text, confirmation_status, confirmed_at::text, cancelled_at::text from appointments"
            " order by appointments.status"
        ).fetchall()
    then = "2024-02-03 04:05:06+00"
    assert rows == [
        ("scheduled", "pending", None, None),
        ("confirmed", "confirmed", then, None),
        ("completed", "confirmed", then, None),
        ("cancelled", "cancelled", None, then),
        ("no_show", "confirmed", then, None),
    ]


def test_what_is_in_progress_counts_as_confirmed_one_revision_earlier(engine: Connection, pg_database: str) -> None:
    migrate(engine, "head")
    insert = (
        "insert into clients (name) values ('Ann'); insert into pets (client_id, name, species)"
        " select id, 'Rex', 'Dog' from clients; insert into services (name, base_price_cents, duration_minutes)"
        " values ('Bath', 1, 1); insert into appointments (client_id, pet_id, service_id, status, start_time, end_time)"
        " select c.id, p.id, s.id, 'in_progress', now(), now() from clients c, pets p, services s"
    )
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(insert)
    migrate(engine, "0008_confirmations")
    with psycopg.connect(pg_database) as connection:
        assert connection.execute("select status::text from appointments").fetchall() == [("confirmed",)]


def test_services_with_one_name_are_told_apart_before_it_becomes_unique(engine: Connection, pg_database: str) -> None:
    migrate(engine, "0016_photos")
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(
            "insert into services (name, base_price_cents, duration_minutes, created_at) values"
            " ('Bath', 1, 1, '2024-01-02'), ('Bath', 2, 1, '2024-01-01'), ('Trim', 3, 1, '2024-01-01'),"
            " ('Bath (2)', 4, 1, '2024-01-01');"
            # A service in use: renaming it queues a foreign key check in the transaction that then alters the table.
            " insert into clients (name) values ('Ann');"
            " insert into pets (client_id, name, species) select id, 'Rex', 'Dog' from clients;"
            " insert into appointments (client_id, pet_id, service_id, start_time, end_time)"
            " select c.id, p.id, s.id, now(), now() from clients c, pets p, services s"
        )
    migrate(engine, "head")
    with psycopg.connect(pg_database) as connection:
        rows = connection.execute("select name from services order by base_price_cents").fetchall()
    assert rows == [("Bath (2) (2)",), ("Bath",), ("Trim",), ("Bath (2)",)]


def test_an_upgrade_in_a_transaction_that_is_rolled_back_leaves_nothing(engine: Connection, pg_database: str) -> None:
    engine.begin()
    command.upgrade(configure(engine), "head")
    engine.rollback()
    assert catalogue(pg_database) == "# enums\n"
    with psycopg.connect(pg_database, autocommit=True) as connection:
        assert digest(connection).tables == ()
