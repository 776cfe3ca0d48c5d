"""The swap strategy on a live server: what it keeps, what readers see, what it refuses and what it finds out."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest

from dbtools.chain import swap
from dbtools.chain.drop import drop_all
from dbtools.chain.phase import NOT_COMMITTED, ROLLED_BACK
from dbtools.chain.shadow import IN_PLACE
from dbtools.chain.target import Target, Waits
from dbtools.config import LOCK_KEY
from dbtools.dataset import Dataset, TableRows
from dbtools.db.catalog import REPLACED_COMMENT, schema_objects
from dbtools.db.dsn import Dsn
from dbtools.errors import ChainFailed, LockTimeout
from tests.live.test_drop import EVERYTHING
from tests.support.runs import PASS_GATE, Acting, Runner, closed_gate, content, query, waits_at_gate
from tests.support.servers import make_vector, need_vector, own_public
from tests.support.sessions import Connect, freed_at_last
from tests.support.toy import TABLES, ToyShop
from tests.support.waiting import LIMIT_S, until

SCHEMAS = "select nspname from pg_namespace where nspname !~ '^(pg_|information_schema|dbtools$)' order by 1"


@pytest.fixture
def target(pg_database: str) -> Target:
    return Target(Dsn.parse(pg_database), LOCK_KEY)


@pytest.fixture
def run(target: Target, tmp_path: Path) -> Runner:
    return Runner(target, tmp_path)


@pytest.fixture
def run_as_admin(target: Target, pg_admin: str, tmp_path: Path) -> Runner:
    return Runner(Target(Dsn.parse(pg_admin), LOCK_KEY), tmp_path)


def test_the_record_of_a_reset(run: Runner, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    vacuumed: list[bool] = []
    monkeypatch.setattr(swap, "vacuum_catalogs", lambda work: vacuumed.append(work.autocommit))
    assert run().lines == [
        "✓ Acquired seed advisory lock (key=1196576591)",
        "Running migrations...",
        "✓ Migrations applied",
        "Seeding database...",
        "✓ Created 3 shops as of 2026-11-23",
        "Seed complete!",
        "✓ All tables and enums replaced",
        "✓ Released seed advisory lock",
        "✓ Reset complete (advisory lock key=0x47524f4f)",
    ]
    assert query(target, SCHEMAS) == [("public",)]
    assert vacuumed == [True]


def test_one_session_at_a_time_does_it_all(run: Runner, target: Target) -> None:
    query(target, f"alter database {target.dsn.dbname} connection limit 1")
    run(TABLES, "comment on table shops is 'built for this test'")
    run(TABLES, "comment on table shops is 'built for this test'")
    assert query(target, "select count(*) from shops") == [(3,)]


def test_objects_of_every_kind_are_built_and_replaced(run_as_admin: Runner) -> None:
    target = run_as_admin.target

    def inventory() -> list[tuple[str, str]]:
        with psycopg.connect(target.dsn.url, autocommit=True) as connection:
            return [(one.kind, one.name) for one in schema_objects(connection, "public")]

    run_as_admin(TABLES, EVERYTHING, in_place=True)
    wanted = inventory()
    for _ in range(2):
        run_as_admin(TABLES, EVERYTHING)
        assert inventory() == wanted
    assert query(target, SCHEMAS) == [("public",)]


def test_the_schema_keeps_its_owner_grants_comment_and_default_privileges(
    run: Runner, target: Target, pg_admin: str
) -> None:
    own_public(pg_admin)
    query(target, "grant usage on schema public to pg_monitor with grant option")
    query(target, "comment on schema public is 'ours'")
    query(target, "alter default privileges in schema public grant select, insert on tables to pg_monitor")
    query(target, "alter default privileges in schema public grant usage on sequences to pg_monitor with grant option")
    query(target, "alter default privileges in schema public grant usage on types to public")
    facts = (
        "select n.oid, n.nspowner, n.nspacl::text, obj_description(n.oid), d.defaclobjtype, d.defaclacl::text"
        " from pg_namespace n left join pg_default_acl d on d.defaclnamespace = n.oid where nspname = 'public'"
        " order by defaclobjtype"
    )
    rights = "select relname, relacl::text from pg_class where relname in ('shops', 'items_id_seq') order by 1"
    before = query(target, facts)
    run(in_place=True)
    wanted = query(target, rights)
    run()
    assert query(target, facts) == before
    assert query(target, rights) == wanted
    assert "pg_monitor=ar/" in str(wanted)
    assert query(target, "select count(*) from pg_default_acl") == [(3,)]


def test_an_extension_of_another_role_stays_and_serves_the_new_tables(
    run: Runner, target: Target, pg_admin: str
) -> None:
    make_vector(pg_admin)
    for _ in range(2):
        run(TABLES + "create table embeddings (one vector(3)); insert into embeddings values ('[1,2,3]')")
        assert query(target, "select one <-> '[1,2,4]' from embeddings") == [(1.0,)]
    assert query(target, "select extnamespace::regnamespace::text from pg_extension where extname = 'vector'") == [
        ("public",)
    ]


def test_an_extension_that_a_migration_makes_arrives_with_the_tables(run_as_admin: Runner, pg_admin: str) -> None:
    need_vector(pg_admin)
    body = f"{TABLES}; create extension if not exists vector; create table embeddings (one vector(3))"
    for _ in range(2):
        run_as_admin(body)
        assert query(run_as_admin.target, "select extnamespace::regnamespace::text from pg_extension") == [
            ("pg_catalog",),
            ("public",),
        ]


ENUMS = """
create type mood as enum ('sad', 'ok'); create type hue as enum ('red'); create type size as enum ('s', 'm');
create type odd as enum ('x'); comment on type hue is 'a colour';
create table things (id int primary key, m mood not null default 'ok', more mood[] default '{sad,ok}', h hue, s size,
                     o odd, check (m <> 'sad' or h = 'red'));
create index happy on things (h) where m = 'ok';
create index by_hue on things (h, (m = 'ok'));
create table parts (s size, m mood default 'ok') partition by list (s);
create table small_parts partition of parts for values in ('s');
create function grow(s size) returns size language sql as 'select s';
insert into things values (1, 'ok', default, 'red', 's', 'x');
"""
FACTS = """
select relname || ' ' || attname || ' ' || format_type(atttypid, null), pg_get_expr(adbin, adrelid)
from pg_attribute a join pg_class c on c.oid = attrelid left join pg_attrdef d on (adrelid, adnum) = (attrelid, attnum)
where relnamespace = 'public'::regnamespace and attnum > 0 and not attisdropped and relkind in ('r', 'p')
union all select pg_get_indexdef(indexrelid), null from pg_index join pg_class c on c.oid = indrelid
where relnamespace = 'public'::regnamespace
union all select conname, pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace
order by 1
"""


def enums(target: Target) -> set[tuple[object, ...]]:
    return set(query(target, "select typname, oid from pg_type where typtype = 'e'"))


def test_enums_that_did_not_change_stay_and_prepared_statements_with_them(run: Runner, target: Target) -> None:
    run(TABLES, ENUMS, in_place=True)
    wanted, before = query(target, FACTS), enums(target)
    with psycopg.connect(target.dsn.url, autocommit=True) as reader:
        read = "select m, more, h from things where id = 1"
        assert reader.execute(read, prepare=True).fetchall() == [("ok", "{sad,ok}", "red")]
        for _ in range(2):
            run(TABLES, ENUMS)
            assert reader.execute(read, prepare=True).fetchall() == [("ok", "{sad,ok}", "red")]
            assert query(target, FACTS) == wanted
    # Even one that a routine takes and that cuts a table into partitions.
    assert before == enums(target)
    assert {name for name, _ in before} == {"mood", "hue", "odd", "size"}


def test_an_enum_that_changed_is_the_new_one(run: Runner, target: Target) -> None:
    run(TABLES, ENUMS)
    before = enums(target)
    changed = ENUMS.replace("('x')", "('x', 'y')").replace("a colour", "a hue")
    run(TABLES, changed, "alter type mood add value 'fine'")
    assert {name for name, _ in before & enums(target)} == {"size"}
    assert query(target, "select enum_range(null::mood)::text, enum_range(null::odd)::text") == [
        ("{sad,ok,fine}", "{x,y}")
    ]


def test_an_enum_of_another_role_or_schema_is_not_ours(run_as_admin: Runner) -> None:
    target = run_as_admin.target
    mine = "create type mood as enum ('sad'); create type hue as enum ('red'); create schema other;"
    run_as_admin(TABLES, f"{mine} create type other.mood as enum ('sad'); create table other.t (m other.mood)")
    before = enums(target)
    query(target, "create role painter; alter type hue owner to painter")
    try:
        run_as_admin(TABLES, f"{mine} create type other.mood as enum ('ok'); create table other.t (m other.mood)")
        assert {name for name, _ in before & enums(target)} == {"mood"}
        assert query(target, "select enum_range(null::other.mood)::text") == [("{ok}",)]
    finally:
        query(target, "drop owned by painter; drop role painter")


def test_another_schema_than_public(run: Runner, target: Target) -> None:
    query(target, "create schema shop; create table public.kept (a int)")
    for _ in range(2):
        run(schema="shop")
    assert query(target, "select count(*) from shop.items") == [(3,)]
    assert query(target, SCHEMAS) == [("public",), ("shop",)]
    assert query(target, "select count(*) from public.kept") == [(0,)]


def test_a_snapshot_older_than_the_commit_finds_the_tables_full(run: Runner, target: Target) -> None:
    with psycopg.connect(target.dsn.url) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select 1 from pg_class limit 1")  # takes the snapshot
        run(f"{TABLES}; create table colours (name text); insert into colours values ('red')")
        for table, rows in (("shops", 3), ("items", 3), ("colours", 1)):
            assert reader.execute(f"select count(*) from {table}").fetchone() == (rows,)


def test_statistics_are_there_at_once(run: Runner, target: Target) -> None:
    run()
    assert query(target, "select relname, reltuples from pg_class where relname in ('shops', 'items') order by 1") == [
        ("items", 3.0),
        ("shops", 3.0),
    ]


def test_readers_go_on_while_the_new_tables_are_built(run: Runner, target: Target) -> None:
    run()
    building = threading.Thread(target=run, args=(TABLES, PASS_GATE))
    with closed_gate(target):
        building.start()
        until(lambda: waits_at_gate(target))
        with psycopg.connect(target.dsn.url) as reader:
            reader.execute("set lock_timeout = 1")
            assert reader.execute("select count(*) from shops join items on shop_id = shops.id").fetchone() == (3,)
            reader.execute("update items set price = price + 1")
    building.join()


def test_a_transaction_that_has_read_an_old_table_reads_only_old_ones(run: Runner, target: Target) -> None:
    run()
    query(target, "update shops set note = 'old'; update items set price = 7")
    with psycopg.connect(target.dsn.url, application_name="report") as reader:
        assert reader.execute("select distinct note from shops").fetchall() == [("old",)]
        resetting = threading.Thread(target=run)
        resetting.start()
        until(lambda: run.log.notes != [])
        assert reader.execute("select distinct price from items").fetchall() == [(7,)]
        pid = reader.info.backend_pid
    resetting.join()
    assert run.log.notes[0].startswith(
        f"Waiting for the tables, used by the open transaction of pid {pid} (application 'report', user "
    )
    assert query(target, "select distinct note from shops") == [(None,)]


def test_a_transaction_that_never_ends_is_named(run: Runner, target: Target) -> None:
    run()
    before = content(target)
    with psycopg.connect(target.dsn.url, application_name="report") as reader:
        reader.execute("select from items")
        pid = reader.info.backend_pid
        with pytest.raises(LockTimeout) as caught:
            run(waits=Waits(0))
    assert run.log.notes == []
    assert caught.value.what == "The new tables are ready, but the old ones are in use and could not be replaced."
    assert caught.value.reason.startswith(f"Used by the open transaction of pid {pid} (application 'report', user ")
    assert caught.value.reason.endswith(" Everything was rolled back: nothing was changed.")
    assert caught.value.hint == (
        f"End that session: select pg_terminate_backend({pid}); or wait longer with --lock-timeout SECONDS."
    )
    assert content(target) == before
    assert query(target, SCHEMAS) == [("public",)]


def test_what_an_earlier_run_left_is_dropped_and_nothing_else(run: Runner, target: Target) -> None:
    query(target, f"create schema dbtools_old_1; comment on schema dbtools_old_1 is '{REPLACED_COMMENT}'")
    query(target, "create table dbtools_old_1.t (a int primary key); create type dbtools_old_1.e as enum ('x')")
    query(target, "create schema dbtools_old_2; create table dbtools_old_2.t (a int)")
    run()
    assert query(target, SCHEMAS) == [("dbtools_old_2",), ("public",)]


def test_old_tables_that_are_still_read_are_left_to_the_next_reset(run: Runner, target: Target) -> None:
    quick = Waits(sweep=0.3)
    run(TABLES, ENUMS)
    # As an exchange leaves it: the old table uses an enum that was kept.
    query(target, "create schema dbtools_old_1; create table dbtools_old_1.t (a mood)")
    query(target, f"comment on schema dbtools_old_1 is '{REPLACED_COMMENT}'")
    with psycopg.connect(target.dsn.url) as reader:
        reader.execute("select from dbtools_old_1.t")
        log = run(TABLES, ENUMS, waits=quick)
        assert log.lines[-1] == "✓ Reset complete (advisory lock key=0x47524f4f)"
        assert log.notes == ["The old tables, in schema dbtools_old_1, are still in use: the next reset drops them"]
    run()
    assert query(target, SCHEMAS) == [("public",)]


FAILS = "alter table shops add check (id < 0)"
"""A history that no rows fit into."""


def replaced(target: Target, name: str) -> None:
    """Leave a schema as an exchange leaves it."""
    query(target, f"create schema {name}; create table {name}.t (a int)")
    query(target, f"comment on schema {name} is '{REPLACED_COMMENT}'")


def test_what_an_earlier_run_left_makes_room_before_the_build(run: Runner, target: Target) -> None:
    replaced(target, "dbtools_old_1")
    with pytest.raises(ChainFailed):
        run(TABLES, FAILS)
    assert query(target, SCHEMAS) == [("public",)]


def test_before_the_build_no_reader_of_it_is_waited_for(run: Runner, target: Target, connect: Connect) -> None:
    replaced(target, "dbtools_old_1")
    reader, errors = connect("reader", autocommit=False), list[ChainFailed]()
    reader.execute("select from dbtools_old_1.t")

    def fail() -> None:
        with pytest.raises(ChainFailed) as caught:
            run(TABLES, FAILS, waits=Waits(sweep=3600.0))
        errors.append(caught.value)

    failing = threading.Thread(target=fail, daemon=True)
    failing.start()
    failing.join(LIMIT_S)
    reader.close()
    failing.join(LIMIT_S)
    assert [error.what for error in errors] == ["The seed phase failed."]
    assert query(target, SCHEMAS) == [("dbtools_old_1",), ("public",)]


def test_after_the_exchange_readers_of_old_tables_are_waited_for(run: Runner, target: Target, connect: Connect) -> None:
    run()
    replaced(target, "dbtools_old_z")
    reader, freed = connect("reader", autocommit=False), threading.Event()
    reader.execute("select from dbtools_old_z.t")
    log = Acting("Released seed advisory lock", freed.set)
    with freed_at_last(reader):
        resetting = threading.Thread(target=run, kwargs={"log": log, "waits": Waits(sweep=LIMIT_S)})
        resetting.start()
        assert freed.wait(LIMIT_S)
        until(lambda: waits_for(target, "dbtools_old_z.t"))
        # What it replaced itself is gone already: each step commits.
        assert query(target, SCHEMAS) == [("dbtools_old_z",), ("public",)]
        until(lambda: not waits_for(target, "dbtools_old_z.t"))
        until(lambda: waits_for(target, "dbtools_old_z.t"))
        reader.close()
        resetting.join(LIMIT_S)
    assert log.notes == []
    assert query(target, SCHEMAS) == [("public",)]


def waits_for(target: Target, table: str) -> bool:
    return query(target, f"select 1 from pg_locks where relation = '{table}'::regclass and not granted") != []


def end_resets(target: Target) -> None:
    resets = "from pg_stat_activity where application_name = 'dbtools reset' and datname = current_database()"
    query(target, f"select pg_terminate_backend(pid) {resets}")


def test_a_failure_after_the_exchange_says_that_the_new_tables_are_there(run: Runner, target: Target) -> None:
    run()

    log = Acting("Released seed advisory lock", lambda: end_resets(target))
    with pytest.raises(ChainFailed) as caught:
        run(TABLES, "create table late ()", log=log)
    assert caught.value.what == "The drop phase failed."
    assert caught.value.reason.endswith("The new tables are in place; the next reset drops the old ones.")
    assert query(target, "select 1 from late") == []
    run()
    assert query(target, SCHEMAS) == [("public",)]


@pytest.mark.parametrize("line", ["Migrations applied", "Seed complete!", "All tables and enums replaced"])
def test_a_session_that_is_lost_at_any_point_loses_nothing(run: Runner, target: Target, line: str) -> None:
    run()
    before = content(target)

    with pytest.raises(ChainFailed) as caught:
        run(TABLES, "create table late ()", log=Acting(line, lambda: end_resets(target)))
    assert caught.value.state in {ROLLED_BACK, NOT_COMMITTED}  # older versions of psycopg pass on no farewell
    assert caught.value.hint == "The connection to the server broke; once it is back, run this again."
    assert content(target) == before
    assert query(target, SCHEMAS) == [("public",)]


def test_the_replaced_tables_wait_for_the_next_sweep_under_a_comment(run: Runner, target: Target) -> None:
    run()
    query(target, "create view old_view as select * from items; create materialized view old_rows as select 1")
    seen: list[object] = []

    def look() -> None:
        with psycopg.connect(target.dsn.url) as connection:
            rows = connection.execute(
                "select nspname like 'dbtools\\_old\\_________\\_0', obj_description(oid, 'pg_namespace')"
                " from pg_namespace where nspname ~ '^dbtools_'"
            )
            seen.extend(rows.fetchall())

    run(log=Acting("Released seed advisory lock", look))
    assert seen == [(True, REPLACED_COMMENT)]
    assert query(target, SCHEMAS) == [("public",)]
    assert query(target, "select viewname from pg_views where schemaname = 'public'") == []


def test_the_shadow_is_gone_and_nobody_saw_it(run: Runner, target: Target) -> None:
    seen: list[object] = []
    run(log=Acting("Seed complete!", lambda: seen.extend(query(target, SCHEMAS))))
    assert seen == [("public",)]


@pytest.mark.parametrize(
    ("sql", "proof"),
    [
        ("create table public.t (); create index concurrently on public.shops (name)", "select count(*) from t"),
        ("create view public.v as select * from public.shops limit 0", "select count(*) from v"),
        (
            "create function public.f() returns bigint language sql as 'select count(*) - 3 from public.shops'",
            "select f()",
        ),
        (
            "alter type public.mood add value 'fine'; create table t (m mood check (m = 'fine'))",
            "select count(*) from t",
        ),
        ("begin; create table t (); commit; begin; drop table t; rollback", "select count(*) from t"),
        (
            "create schema extra; create table extra.t (i bigint references public.items)",
            "select count(*) from extra.t",
        ),
    ],
)
def test_a_history_that_names_its_schema_or_commits_is_installed(
    run: Runner, target: Target, sql: str, proof: str
) -> None:
    for _ in range(2):
        run(TABLES, "create type mood as enum ('sad')", sql)
        assert query(target, proof) == [(0,)]
    assert query(target, "select count(*) from pg_namespace where nspname ~ '^dbtools_'") == [(0,)]


OUTSIDE = """
create table log (shop bigint);
create function note() returns trigger language plpgsql as
    $$ begin insert into {log} values (new.id); return new; end $$;
create trigger noting after insert on shops for each row execute function note();
"""


def test_a_trigger_that_reaches_outside_while_rows_are_loaded_is_found_out(run: Runner, target: Target) -> None:
    run(TABLES, OUTSIDE.format(log="public.log"), in_place=True)
    before = content(target)
    with pytest.raises(ChainFailed) as caught:
        run(TABLES, OUTSIDE.format(log="public.log"))
    assert str(caught.value) == (
        "A trigger reaches outside of the schema that is being built while the rows are loaded.\n"
        f"It used table public.log. {ROLLED_BACK}\n"
        f"Take the schema's name out of its function, and any search_path set for that. {IN_PLACE}"
    )
    assert content(target) == before
    assert query(target, SCHEMAS) == [("public",)]
    run(TABLES, OUTSIDE.format(log="log"))
    assert query(target, "select count(*) from log") == [(3,)]


def test_what_other_sessions_do_meanwhile_is_not_held_against_the_triggers(run: Runner, target: Target) -> None:
    query(target, "create schema other; create table other.t (a int)")
    building = threading.Thread(target=run, args=(TABLES, OUTSIDE.format(log="log"), PASS_GATE))
    with closed_gate(target):
        building.start()
        until(lambda: waits_at_gate(target))
        query(target, "create table other.u (a int); alter table other.t add b int; insert into other.t values (1, 2)")
    building.join()
    assert query(target, "select count(*) from shops") == [(3,)]


@pytest.mark.parametrize("publication", ["for tables in schema public", "for table public.shops", "for all tables"])
def test_a_published_schema_is_refused(run: Runner, target: Target, pg_admin: str, publication: str) -> None:
    run()
    before = content(target)
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        if "in schema" in publication and admin.info.server_version < 150000:
            pytest.skip("PostgreSQL 14 publishes no schemas")
        admin.execute(f"create publication news {publication}")
    with pytest.raises(ChainFailed) as caught:
        run()
    assert str(caught.value) == (
        "Schema public is published for logical replication: news.\n"
        f"Subscribers would not get the rows of tables that are built aside. {ROLLED_BACK}\n"
        f"Drop the publication and make it again afterwards. {IN_PLACE}"
    )
    assert content(target) == before


def test_a_view_of_another_schema_is_refused(run: Runner, target: Target) -> None:
    run()
    query(target, "create schema reports; create view reports.sales as select * from items")
    with pytest.raises(ChainFailed) as caught:
        run()
    assert caught.value.what == (
        "Cannot drop everything in schema public: view reports.sales in another schema depends on it."
    )
    assert query(target, "select count(*) from reports.sales") == [(3,)]


def test_a_role_that_may_not_create_schemas_is_told(run: Runner, target: Target, pg_admin: str) -> None:
    run()
    before, role, name = content(target), target.dsn.user, target.dsn.dbname
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute(f"alter database {name} owner to current_user; grant all on schema public to {role}")
        with pytest.raises(ChainFailed) as caught:
            run()
    assert str(caught.value) == (
        f"Role {role} may not create a schema in database {name}.\n"
        "A reset builds the new tables in a schema of their own before it puts them in place."
        f" {ROLLED_BACK}\n"
        f'As its owner: grant create on database "{name}" to "{role}". {IN_PLACE}'
    )
    assert content(target) == before
    run(in_place=True)


ACROSS = """
create schema extra; create schema before; create type extra.pair as (a int); create table extra.more (m extra.pair);
create function extra.f(s public.shops) returns int language sql as 'select 1';
create function before.g(s extra.pair, t public.shops) returns int language sql as 'select 2';
create function public.h(s extra.more[]) returns int language sql as 'select 3';
create operator before.=== (leftarg = extra.pair, rightarg = public.shops, function = before.g);
"""


def test_schemas_whose_routines_take_each_others_types_are_exchanged(run: Runner, target: Target) -> None:
    for _ in range(3):
        run(TABLES, ACROSS)
        call = "select extra.f(s), row(1)::extra.pair operator(before.===) s, h('{}') from shops s where id = 1"
        assert query(target, call) == [(1, 2, 3)]
    assert query(target, SCHEMAS) == [("before",), ("extra",), ("public",)]


SPAN = "create type span as range (subtype = int); create table days (s span)"


def test_a_range_type_is_refused_to_all_but_superusers(run: Runner, target: Target) -> None:
    run()
    before = content(target)
    with pytest.raises(ChainFailed) as caught:
        run(TABLES, SPAN)
    assert caught.value.what.startswith("Cannot move public.span(integer,integer), ")
    assert caught.value.reason == f"The functions of a range type belong to the server's superuser. {ROLLED_BACK}"
    assert caught.value.hint == f"Connect as a superuser. {IN_PLACE}"
    assert content(target) == before
    run(TABLES, SPAN, in_place=True)
    with psycopg.connect(target.dsn.url, autocommit=True) as connection:
        drop_all(connection, ["public"])


def test_nor_where_the_content_was_built_on_another_server(run: Runner, target: Target, pg_admin: str) -> None:
    """There the role is a superuser, and could move it."""
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute(f"alter role {target.dsn.user} nocreatedb")
        try:
            with pytest.raises(ChainFailed) as caught:
                run(TABLES, SPAN, "comment on table days is 'built elsewhere'")
            run(TABLES, SPAN, "comment on table days is 'built elsewhere'", in_place=True)
        finally:
            admin.execute(f"alter role {target.dsn.user} createdb")
    assert caught.value.what.startswith("Cannot move dbtools_new_47524f4f.span(integer,integer), ")
    assert caught.value.state == ROLLED_BACK
    assert caught.value.hint == f"Connect as a superuser. {IN_PLACE}"


@pytest.mark.parametrize("missing", [False, True], ids=["copied", "missing"])
def test_rows_for_a_table_that_only_the_old_content_has_are_refused(
    run: Runner, target: Target, missing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    before = content(target)
    if missing:
        users = Dataset((TableRows("items", ("id", "price"), [(7, 1)]),))
        monkeypatch.setattr(ToyShop, "environment_users", lambda *_: users)
        monkeypatch.setattr(ToyShop, "generate", lambda *_: Dataset(()))
    with pytest.raises(ChainFailed) as caught:
        run("create table shops (id bigint generated by default as identity primary key, name text, note text)")
    assert caught.value.what == 'The migrations create no table "items", but the application has rows for it.'
    assert content(target) == before
