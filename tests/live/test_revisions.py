"""Which revisions a database is at, wherever they are kept; and that our mark is no part of what others compare."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from alembic import command
from sqlalchemy import create_engine, pool

from dbtools import chain
from dbtools.chain.mark import read_mark
from dbtools.chain.ownership import check_ours
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.target import Target
from dbtools.config import LOCK_KEY, SeedPlan
from dbtools.db.digest import digest
from dbtools.db.dsn import Dsn
from dbtools.db.revisions import current_revisions
from dbtools.errors import ResetRefused
from groombook.application import application
from tests.support.migrations import configure
from tests.support.runs import TODAY, Log, Runner, content, query
from tests.support.sessions import Connect
from tests.support.sources import sample_source
from tests.support.toy import TABLES


def test_revisions_are_found_in_every_table_and_schema(connect: Connect, pg_admin: str) -> None:
    session = connect()
    assert current_revisions(session) == set()
    session.execute("create table alembic_version (version_num varchar(32)); insert into alembic_version values ('a')")
    session.execute('create schema "Odd one"; create table "Odd one"."my version" (version_num text)')
    session.execute("insert into \"Odd one\".\"my version\" values ('b'), ('c')")
    session.execute("create schema dbtools_old_1; create table dbtools_old_1.alembic_version (version_num text)")
    session.execute("insert into dbtools_old_1.alembic_version values ('replaced')")
    session.execute("create table dropped (version_num text, a int); insert into dropped values ('d')")
    session.execute("alter table dropped drop version_num; create view seen as select 'v' as version_num")
    admin = connect(url=pg_admin)
    admin.execute("create table theirs (version_num text); insert into theirs values ('t')")
    assert current_revisions(session) == {"a", "b", "c"}
    assert current_revisions(admin) == {"a", "b", "c", "t"}


def test_a_schema_of_others_that_may_not_be_used_is_passed_over(connect: Connect, pg_admin: str) -> None:
    admin = connect(url=pg_admin)
    admin.execute("create schema hidden; create table hidden.v (version_num text); grant select on hidden.v to public")
    assert current_revisions(connect()) == set()


@pytest.fixture
def target(pg_database: str) -> Target:
    return Target(Dsn.parse(pg_database), LOCK_KEY)


def upgrade(target: Target, revision: str = "head") -> None:
    with create_engine(target.dsn.sqlalchemy_url, poolclass=pool.NullPool).begin() as connection:
        command.upgrade(configure(connection), revision)


def reset(target: Target) -> None:
    with generate_in_background(application, SeedPlan("dev", TODAY)) as rows:
        chain.reset(target, sample_source(), rows, Log())


@pytest.mark.parametrize("revision", ["head", "0008_confirmations"])
def test_what_the_projects_own_alembic_made_may_be_replaced(target: Target, revision: str) -> None:
    upgrade(target, revision)
    reset(target)
    assert query(target, "select count(*) from invoices") == [(1000,)]


def test_a_revision_of_another_history_is_refused(target: Target) -> None:
    upgrade(target)
    query(target, "update alembic_version set version_num = 'of_others'")
    with pytest.raises(ResetRefused) as caught:
        reset(target)
    assert "table alembic_version has of_others, which is unknown to this project's history." in caught.value.why


@pytest.mark.parametrize("line", [("hash", "__drizzle_migrations"), ("name", "django_migrations")])
def test_the_ledger_of_another_tool_is_refused(target: Target, tmp_path: Path, line: tuple[str, str]) -> None:
    column, table = line
    query(target, f"create table {table} (id serial, {column} text); insert into {table} ({column}) values ('0001')")
    with pytest.raises(ResetRefused) as caught:
        Runner(target, tmp_path)()
    assert f"table {table} has 0001, which is unknown to this project's history." in caught.value.why


def test_an_empty_schema_needs_no_mark(target: Target, connect: Connect) -> None:
    session = connect()
    source = sample_source()
    snapshot = source.find(session) or source.build(target.dsn)
    check_ours(session, target, snapshot)
    query(target, "create function one() returns int language sql as 'select 1'; create type e as enum ('x')")
    check_ours(session, target, snapshot)


def test_neither_digest_nor_alembic_sees_the_mark(target: Target, connect: Connect) -> None:
    reset(target)
    session = connect()
    mark = read_mark(session, "public")
    assert mark is not None
    assert str(mark).endswith(f"by {target.dsn.user}")
    before, whole = content(target), digest(session).both
    with create_engine(target.dsn.sqlalchemy_url, poolclass=pool.NullPool).begin() as connection:
        command.check(configure(connection))
    query(target, "drop schema dbtools cascade")
    assert (content(target), digest(session).both) == (before, whole)


def test_the_mark_goes_back_with_a_reset_that_fails(target: Target, tmp_path: Path, connect: Connect) -> None:
    run = Runner(target, tmp_path)
    run()
    before = read_mark(connect(), "public")
    with pytest.raises(Exception, match="items_price_check"):
        run(TABLES, "alter table items add check (price < 300)")
    assert read_mark(connect(), "public") == before
    with psycopg.connect(target.dsn.url) as connection:
        assert connection.execute("select schema from dbtools.installed").fetchall() == [("public",)]
