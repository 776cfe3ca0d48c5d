"""Whose tables a reset may replace: those with our mark, and those that a ledger shows to be of this history."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from dbtools.chain.mark import marked_schemas, read_mark, write_mark
from dbtools.chain.ownership import check_ours, unmarked_tables
from dbtools.chain.target import Target
from dbtools.config import LOCK_KEY
from dbtools.db.dsn import Dsn
from dbtools.errors import ResetRefused
from tests.support.runs import Runner, query
from tests.support.sessions import Connect
from tests.support.sources import sql_source
from tests.support.toy import TABLES

LEDGER = "create table knex_migrations (id int primary key, name text, batch int);"
ENTRIES = "insert into knex_migrations values (1, '1.js', 1), (2, '2.js', 1);"
OURS = f"{TABLES} {LEDGER} {ENTRIES}"
"""A history that keeps a ledger of another tool."""


@pytest.fixture(params=[False, True], ids=["swap", "in place"])
def target(request: pytest.FixtureRequest, pg_database: str) -> Target:
    return Target(Dsn.parse(pg_database), LOCK_KEY, in_place=request.param)


@pytest.fixture
def run(target: Target, tmp_path: Path) -> Runner:
    return Runner(target, tmp_path)


def refusal(run: Runner, *history: str, confirm: str | None = None) -> str:
    """Return why a reset is refused. What is there stays."""
    before = query(run.target, "select oid from pg_class where relnamespace = 'public'::regnamespace order by 1")
    with pytest.raises(ResetRefused) as caught:
        run(*history, confirm=confirm)
    after = query(run.target, "select oid from pg_class where relnamespace = 'public'::regnamespace order by 1")
    assert (after, caught.value.state) == (before, "Nothing was changed.")
    assert caught.value.what == (
        f"Refused to reset database {run.target.dsn.dbname}: schema public holds tables that this project did not make."
    )
    return caught.value.why


def test_tables_of_strangers_are_refused_until_their_database_is_confirmed(run: Runner, target: Target) -> None:
    query(target, "create table accounts (); create table orders ()")
    why = "accounts, orders are there, without a mark of an earlier reset or a ledger of migrations."
    assert refusal(run) == why
    assert refusal(run, confirm="another") == why
    run(confirm=target.dsn.dbname)
    assert query(target, "select to_regclass('accounts'), count(*) from shops") == [(None, 3)]


def test_what_a_reset_has_installed_may_be_replaced_whatever_was_added(
    run: Runner, target: Target, connect: Connect
) -> None:
    run()
    query(target, "create table added ()")
    first = read_mark(connect(), "public")
    assert first is not None
    assert (first.project, first.installed_by) == ("project1", target.dsn.user)
    run(TABLES, "comment on table shops is 'another history'")
    second = read_mark(connect(), "public")
    assert second is not None
    assert second.project == "project2"
    assert second.key != first.key
    assert read_mark(connect(), "elsewhere") is None


def test_tables_of_an_own_database_without_a_mark_are_known_by_their_ledger(run: Runner, target: Target) -> None:
    query(target, f"{LEDGER} insert into knex_migrations values (1, '1.js', 1); create table people ()")
    run(OURS)
    assert query(target, "select to_regclass('people'), count(*) from shops") == [(None, 3)]


def test_an_unknown_entry_in_the_ledger_is_named(run: Runner, target: Target) -> None:
    query(target, f"{LEDGER} {ENTRIES} insert into knex_migrations values (3, '3.js', 2)")
    assert refusal(run, OURS) == (
        "knex_migrations is there, without a mark of an earlier reset, and table knex_migrations has 3.js, which is"
        " unknown to this project's history."
    )


def test_a_ledger_without_entries_shows_nothing(run: Runner, target: Target) -> None:
    query(target, LEDGER)
    assert refusal(run, OURS) == (
        "knex_migrations is there, without a mark of an earlier reset or a ledger of migrations."
    )


def test_a_table_that_only_has_such_a_column_is_no_ledger(run: Runner, target: Target) -> None:
    query(target, "create table people (name text, version text); insert into people values ('1.js', '1')")
    assert refusal(
        run, f"{OURS} create table people (name text, version text); insert into people values ('1.js', '1')"
    ) == ("people is there, without a mark of an earlier reset or a ledger of migrations.")


def test_alembics_ledger_may_have_any_name(run: Runner, target: Target) -> None:
    ledger = "create table revisions_here (version_num text); insert into revisions_here values"
    query(target, f"{ledger} ('0001')")
    run(TABLES, f"{ledger} ('0001')")
    assert query(target, "select count(*) from shops") == [(3,)]


def test_an_earlier_revision_of_alembics_history_is_known(target: Target, tmp_path: Path, connect: Connect) -> None:
    ledger = "create table alembic_version (version_num text); insert into alembic_version values"
    snapshot = sql_source(tmp_path, TABLES, f"{ledger} ('0002')").build(target.dsn)
    work = connect()
    work.execute(f"{ledger} ('0001')")
    with pytest.raises(ResetRefused, match="0001, which is unknown"):
        check_ours(work, target, snapshot)
    snapshot.__dict__["manifest"] = replace(snapshot.manifest, revisions=("0001", "0002"))
    check_ours(work, target, snapshot)


def test_a_ledger_in_a_schema_of_its_own_speaks_for_the_others_and_for_no_other_ledger(
    pg_database: str, pg_admin: str, tmp_path: Path, connect: Connect
) -> None:
    target, work = Target(Dsn.parse(pg_database), LOCK_KEY), connect()
    ledger = "create schema ledger; create table ledger.knex_migrations (name text)"
    entry = "insert into ledger.knex_migrations values ('1.js')"
    snapshot = sql_source(tmp_path, TABLES, ledger, entry).build(target.dsn)
    turned = [replace(table, schema=1 - table.schema) for table in snapshot.manifest.tables]
    manifests = [snapshot.manifest, replace(snapshot.manifest, schemas=("ledger", "public"), tables=tuple(turned))]
    assert snapshot.manifest.schemas == ("public", "ledger")

    def refusals() -> set[str]:
        found = set()
        for manifest in manifests:  # whichever schema is asked first
            snapshot.__dict__["manifest"] = manifest
            try:
                check_ours(work, target, snapshot)
            except ResetRefused as refused:
                found.add(refused.why.partition(", without a mark of an earlier reset")[2])
        return found

    work.execute("create table people (name text)")
    assert refusals() == {" or a ledger of migrations."}
    work.execute(f"{ledger}; {entry}")
    assert refusals() == set()
    work.execute("drop table people; alter table ledger.knex_migrations add version_num text default '0009'")
    assert refusals() == {", and table knex_migrations has 0009, which is unknown to this project's history."}
    work.execute("alter table ledger.knex_migrations drop version_num; create table knex_migrations (name text)")
    assert refusals() == set()
    work.execute("insert into knex_migrations values ('1.js')")  # of this name, there is none in this schema
    assert refusals() == {", and table knex_migrations has 1.js, which is unknown to this project's history."}
    work.execute("drop schema ledger cascade; drop table knex_migrations; create view v as select 1")
    assert refusals() == set()
    connect(url=pg_admin).execute("create table public.spatial (); alter extension plpgsql add table public.spatial")
    assert refusals() == set()


def test_marks_are_of_one_project_and_of_schemas_that_are_there(
    pg_database: str, tmp_path: Path, connect: Connect
) -> None:
    work, dsn = connect(), Dsn.parse(pg_database)
    manifest = replace(sql_source(tmp_path, TABLES).build(dsn).manifest, project="ours")
    assert (marked_schemas(work, "ours"), unmarked_tables(work, "public")) == ([], [])
    work.execute("create schema b; create schema a; create table one (); create table another ()")
    assert unmarked_tables(work, "public") == ["another", "one"]
    write_mark(work, ["public", "b", "gone", "a"], manifest)
    write_mark(work, ["a"], replace(manifest, project="theirs", key="f" * 64))
    assert marked_schemas(work, "ours") == ["b", "public"]
    write_mark(work, ["a"], manifest)
    assert marked_schemas(work, "ours") == ["a", "b", "public"]
    assert unmarked_tables(work, "public") == []
    mark = read_mark(work, "a")
    assert mark is not None
    assert (mark.project, mark.key, mark.installed_by) == ("ours", manifest.key, dsn.user)


def test_a_role_that_cannot_keep_a_mark_leaves_none(run: Runner, target: Target, pg_admin: str) -> None:
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute("create schema dbtools")  # of the superuser
        run()
        assert read_mark(admin, "public") is None
        admin.execute(
            "create table dbtools.installed (schema name primary key, project text not null, key text not null,"
            " installed_at timestamptz not null, installed_by text not null)"
        )
        rights = [
            "usage on schema dbtools",
            *(f"{right} on dbtools.installed" for right in ("select", "insert", "update")),
        ]
        for withheld in rights:
            admin.execute("; ".join(f"grant {right} to {target.dsn.user}" for right in rights))
            admin.execute(f"revoke {withheld} from {target.dsn.user}")
            run(confirm=target.dsn.dbname)
            assert read_mark(admin, "public") is None
        admin.execute("; ".join(f"grant {right} to {target.dsn.user}" for right in rights))
        run(confirm=target.dsn.dbname)
        assert read_mark(admin, "public") is not None
        run()
