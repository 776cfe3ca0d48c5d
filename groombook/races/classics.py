"""Programs with races from the textbooks, each with a cure that RACE_CURE=off takes away."""

from __future__ import annotations

import os

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from groombook.races.till import MIGRATIONS

ATTEMPTS = 5


def cured() -> bool:
    """Return whether the cure is on."""
    return os.environ.get("RACE_CURE") != "off"


def upgrade(url: str) -> None:
    """Run `alembic upgrade head`; the cure: an advisory lock around it."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        if cured():
            connection.execute(text("select pg_advisory_xact_lock(1196576591)"))
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def redeem(url: str) -> None:
    """Take one visit off a card by reading, computing and writing; the cure: SELECT FOR UPDATE."""
    with psycopg.connect(url) as connection:
        row = connection.execute(f"select visits from cards where id = 1{' for update' if cured() else ''}").fetchone()
        assert row is not None
        connection.execute("update cards set visits = %s where id = 1", (row[0] - 1,))


def go_home(url: str) -> None:
    """Leave the salon if another groomer stays; the cure: SERIALIZABLE, with retries."""
    level = psycopg.IsolationLevel.SERIALIZABLE if cured() else psycopg.IsolationLevel.REPEATABLE_READ
    with psycopg.connect(url) as connection:
        connection.isolation_level = level
        for _ in range(ATTEMPTS):
            try:
                with connection.transaction():
                    row = connection.execute("select count(*) from groomers where here").fetchone()
                    assert row is not None
                    if row[0] > 1:
                        connection.execute("update groomers set here = false where name = %s", (os.environ["GROOMER"],))
                return
            except psycopg.errors.SerializationFailure:
                pass
    raise SystemExit(f"not serializable in {ATTEMPTS} attempts")


def get_or_create(url: str) -> None:
    """Add a client unless one of that name exists; the cure: a unique key and ON CONFLICT."""
    with psycopg.connect(url) as connection:
        if cured():
            connection.execute("insert into clients (name) values ('Bella') on conflict do nothing")
        elif connection.execute("select from clients where name = 'Bella'").fetchone() is None:
            connection.execute("insert into clients (name) values ('Bella')")


def transfer(url: str) -> None:
    """Move money from the till FROM to the till TO; the cure: first lock both, always in the same order."""
    source, target = os.environ["FROM"], os.environ["TO"]
    with psycopg.connect(url) as connection:
        if cured():
            connection.execute("select from tills order by id for update")
        connection.execute("update tills set cents = cents - 100 where id = %s", (source,))
        connection.execute("update tills set cents = cents + 100 where id = %s", (target,))


def reserve(url: str) -> None:
    """Take the lock on one connection of a pool and work on another; the cure: a pool of two."""
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"),
        pool_size=2 if cured() else 1,
        max_overflow=0,
        pool_timeout=3600,
    )
    with engine.connect() as lock:
        lock.execute(text("select pg_advisory_lock(1196576591)"))
        with engine.begin() as work:
            work.execute(text("update tills set cents = cents + 100 where id = 1"))
        lock.execute(text("select pg_advisory_unlock(1196576591)"))
        lock.commit()
