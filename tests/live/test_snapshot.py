"""A snapshot of forty kinds of objects, installed again and again: the structure is that of the scratch database."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from dbtools import chain
from dbtools.build.programs import find_program
from dbtools.build.scratch import scratch_database
from dbtools.build.snapshot import MANIFEST, PARTS, Snapshot, SnapshotDamaged
from dbtools.chain.copy import CopyData
from dbtools.chain.install import GivenSnapshot
from dbtools.chain.prefetch import SeedRows
from dbtools.chain.target import Target
from dbtools.config import LOCK_KEY
from dbtools.dataset import Dataset
from dbtools.db.digest import digest
from dbtools.db.dsn import Dsn
from dbtools.errors import ChainFailed
from dbtools.server import Server
from tests.live.test_drop import EVERYTHING
from tests.support.runs import PLAN, Log
from tests.support.servers import major, without_vector
from tests.support.sources import sql_source

NO_ROWS = SeedRows(PLAN, Dataset(()), CopyData)
ZOO = """
insert into parent (m, n) values ('sad', 3); refresh materialized view kept;
create extension vector;
create schema ledger; create table ledger.migrations (id serial primary key, hash text);
insert into ledger.migrations (hash) values ('a'), ('b');
create type colour as enum ('red', 'green');
create table coloured (id int primary key, c colour default 'red', cs colour[] default '{red}', check (c <> 'green'));
create index on coloured (c);
create view red as select c from coloured where c = 'red';
insert into coloured values (1, 'red', '{red,green}');
create table embedded (id bigint primary key, e vector(3));
create index on embedded using hnsw (e vector_l2_ops) with (m = 8);
insert into embedded values (1, '[1,2,3]');
create table generated (a int, b int generated always as (a * 2) stored); insert into generated values (4);
create table counted (id int generated always as identity (start with 7 increment by -3 minvalue -100 maxvalue 100));
insert into counted default values;
create table without_columns (); insert into without_columns default values;
create table "wEird ""q"" \u00fc\t" ("c 1" text, "c""2" bytea);
insert into "wEird ""q"" \u00fc\t" values (E'a\\tb\\\\c\\n', '\\x00ff'), (null, null), ('', '');
create function body() returns int language plpgsql as $$begin
-- Name: fake; Type: TABLE; Schema: public
SET default_tablespace = '';
return (select count(*) from public.parent); end$$;
create function body_of_sql() returns int begin atomic select count(*)::int from coloured; end;
create table child (p int references coloured deferrable initially deferred, constraint named check (p > 0) not valid);
comment on constraint child_p_fkey on child is 'why';
alter table child enable row level security; alter table child force row level security;
create policy own on child using (true) with check (p > 1); insert into child values (1);
create rule noted as on insert to without_columns do also select 1;
create sequence down increment by -2 minvalue -50 maxvalue -1; select nextval('down'), nextval('down');
create sequence unused start 5;
create unlogged table unlogged (a int);
create table parted_2 partition of parted for values from (10) to (20); insert into parted values (1), (11);
insert into heir (id) overriding system value values (9);
create materialized view filled as select count(*) n from coloured; create unique index on filled (n);
create materialized view hollow as select 1 as q with no data;
grant select on coloured to pg_monitor; grant usage on type colour to pg_monitor;
revoke execute on function body() from public;
alter default privileges in schema public grant select on tables to pg_monitor;
comment on table coloured is 'c'; comment on column coloured.c is 'cc'; comment on type colour is 'kinds';
create trigger noting after insert on coloured for each row execute function touch();
alter table coloured disable trigger noting;
create index on parent (twice(n)) where id > 0;
alter table coloured alter column c set statistics 500; alter table coloured set (fillfactor = 70);
alter table coloured cluster on coloured_pkey; alter table coloured replica identity full;
create operator class whole for type int using btree as operator 1 <, function 1 btint4cmp(int, int);
create conversion plainly for 'UTF8' to 'LATIN1' from utf8_to_iso8859_1;
create function alike(coloured, coloured) returns bool language sql immutable return ($1).id = ($2).id;
create operator <==> (leftarg = coloured, rightarg = coloured, function = alike);
create domain no_green as colour check (value <> 'green'); create table of_domain (d no_green);
create table typed of pair;
"""


def structure(url: str) -> list[str]:
    """Return what pg_dump says of a database without its rows, the mark of an install left out."""
    command = [str(find_program("pg_dump", major(url))), "--schema-only", "--exclude-schema=dbtools", "--no-owner", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def content(url: str) -> list[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        return [digest(connection, schema).both for schema in ("public", "ledger")]


def test_what_is_installed_is_what_was_built(pg_server: Server, pg_admin: str, tmp_path: Path) -> None:
    target = Target(Dsn.parse(pg_admin), LOCK_KEY)
    source = sql_source(tmp_path, EVERYTHING, without_vector(ZOO, pg_admin))
    with scratch_database(target.dsn, "public") as scratch:
        source.run(scratch)
        wanted, wanted_content = structure(scratch.dsn.url), content(scratch.dsn.url)
    for in_place in (False, False, False, True, True, False):
        chain.reset(replace(target, in_place=in_place), source, NO_ROWS, Log())
        assert structure(pg_admin) == wanted
        assert content(pg_admin) == wanted_content


def test_a_change_of_one_object_would_be_seen(pg_admin: str, tmp_path: Path) -> None:
    chain.reset(
        Target(Dsn.parse(pg_admin), LOCK_KEY),
        sql_source(tmp_path, EVERYTHING, without_vector(ZOO, pg_admin)),
        NO_ROWS,
        Log(),
    )
    before, before_content = structure(pg_admin), content(pg_admin)
    with psycopg.connect(pg_admin, autocommit=True) as connection:
        connection.execute("alter table coloured set (fillfactor = 71)")
        assert structure(pg_admin) != before
        connection.execute("alter table coloured set (fillfactor = 70); select nextval('down')")
        assert structure(pg_admin) == before
        assert content(pg_admin) != before_content


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("create publication news for all tables", "publication news"),
        (
            "create function f() returns event_trigger language plpgsql as 'begin end';"
            " create event trigger watch on ddl_command_start execute function f()",
            "event trigger watch",
        ),
    ],
)
def test_what_no_schema_holds_is_refused(pg_admin: str, tmp_path: Path, sql: str, named: str) -> None:
    with pytest.raises(ChainFailed) as caught:
        chain.reset(
            Target(Dsn.parse(pg_admin), LOCK_KEY), sql_source(tmp_path, "create table t (a int)", sql), NO_ROWS, Log()
        )
    assert caught.value.what.startswith(f"The steps made something that no schema holds: {named}.")
    assert caught.value.state == "Nothing was changed."


def test_large_objects_are_refused(pg_database: str, tmp_path: Path) -> None:
    with pytest.raises(ChainFailed) as caught:
        chain.reset(
            Target(Dsn.parse(pg_database), LOCK_KEY),
            sql_source(tmp_path, "create table t (o oid); insert into t values (lo_create(0))"),
            NO_ROWS,
            Log(),
        )
    assert str(caught.value) == (
        "The steps made 1 large object.\n"
        "Large objects belong to the database as a whole, and a snapshot does not hold them. Nothing was changed.\n"
        "Keep such data in a bytea column, or load it after a reset."
    )


SMALL = f"""
create table t (a int primary key); insert into t values ({os.getpid()}); create table u (t int references t)
"""


@pytest.fixture
def stored(pg_database: str, tmp_path: Path) -> Snapshot:
    source = sql_source(tmp_path / "project", SMALL)
    with psycopg.connect(pg_database, autocommit=True) as connection:
        found = source.find(connection)
    return found or source.build(Dsn.parse(pg_database))


@pytest.mark.parametrize("part", [MANIFEST, *PARTS, "000-t.copy"])
@pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
def test_a_damaged_snapshot_is_never_installed_and_built_again(
    pg_database: str, tmp_path: Path, stored: Snapshot, part: str, damage: str
) -> None:
    file = stored.folder / part
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.write_bytes(file.read_bytes() + b" ")
    if not (part == MANIFEST and damage == "changed"):  # a blank more in JSON is no change
        with pytest.raises(SnapshotDamaged):
            Snapshot(stored.folder).check()
    target, notes = Target(Dsn.parse(pg_database), LOCK_KEY), list[str]()
    source = sql_source(tmp_path / "project", SMALL)
    source.note = notes.append
    chain.reset(target, source, NO_ROWS, Log())
    with psycopg.connect(pg_database) as connection:
        assert connection.execute("select a from t").fetchall() == [(os.getpid(),)]
    Snapshot(stored.folder).check()


def test_a_snapshot_of_another_format_or_server_is_refused(pg_database: str, stored: Snapshot) -> None:
    manifest = stored.manifest
    target = Target(Dsn.parse(pg_database), LOCK_KEY)
    (stored.folder / MANIFEST).write_text(replace(manifest, server="13.4").to_json(), "utf-8")
    with pytest.raises(ChainFailed) as caught:
        chain.reset(target, GivenSnapshot(Snapshot(stored.folder)), NO_ROWS, Log())
    assert caught.value.what.startswith("The snapshot was made on PostgreSQL 13, and this server is PostgreSQL ")
    (stored.folder / MANIFEST).write_text(replace(manifest, format=99).to_json(), "utf-8")
    with pytest.raises(SnapshotDamaged) as damaged:
        Snapshot(stored.folder).check()
    assert damaged.value.why == "Its manifest cannot be read: format 99, not 1."
    (stored.folder / MANIFEST).write_text(manifest.to_json(), "utf-8")


def test_the_schema_of_the_mark_is_not_for_steps(pg_database: str, tmp_path: Path) -> None:
    with pytest.raises(ChainFailed) as caught:
        chain.reset(
            Target(Dsn.parse(pg_database), LOCK_KEY),
            sql_source(tmp_path, "create table t (a int); create schema dbtools; create table dbtools.t (a int)"),
            NO_ROWS,
            Log(),
        )
    assert caught.value.what == "The steps made something in the schema dbtools."


def test_parts_of_two_snapshots_are_never_mixed(stored: Snapshot, tmp_path: Path) -> None:
    reader = Snapshot(stored.folder)
    reader.check()
    copy = tmp_path / "copy"
    shutil.copytree(stored.folder, copy)
    stored.folder.rename(tmp_path / "old")
    copy.rename(stored.folder)
    with pytest.raises(SnapshotDamaged) as caught:
        reader.sql("before.sql", str)
    assert caught.value.why == "Another one was put in its place meanwhile."
    Snapshot(stored.folder).check()
    shutil.rmtree(stored.folder)
    with pytest.raises(SnapshotDamaged, match=r"before\.sql: No such file or directory\."):
        reader.sql("before.sql", str)
