"""What drop_all takes, what it leaves, and what it refuses."""

from __future__ import annotations

import psycopg
import pytest

from dbtools.chain.drop import drop_all, find_owned
from dbtools.errors import ChainFailed
from tests.support.servers import make_vector, own_public

EVERYTHING = """
create type mood as enum ('sad', 'ok');
create type pair as (a int, b mood);
create domain positive as int check (value > 0);
create type span as range (subtype = int);
create sequence lonely;
create function twice(n int) returns int language sql immutable as 'select n * 2';
create table parent (id serial primary key, m mood default 'ok', n positive, d int default twice(2));
create table "odd ""name" (id int references parent, p pair, s span);
create table parted (id int) partition by range (id);
create table parted_1 partition of parted for values from (0) to (10);
create view seen as select id, m from parent;
create materialized view kept as select * from seen;
create function rowed(p parent) returns int language sql as 'select p.id';
create procedure act() language sql as 'select 1';
create aggregate total (int) (sfunc = int4pl, stype = int);
alter table parent add foreign key (id) references parent;
create function touch() returns trigger language plpgsql as 'begin return new; end';
create trigger touching before insert on parent for each row execute function touch();
create collation plain from "C";
create operator === (leftarg = int, rightarg = int, function = int4eq);
create text search configuration words (copy = simple);
create text search dictionary dull (template = simple);
create statistics both_ways (dependencies) on id, n from parent;
create table numbered (id int generated always as identity);
create table heir () inherits (numbered);
create cast (pair as mood) with inout;
"""


def left(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "select relname::text from pg_class where relnamespace = 'public'::regnamespace"
        " union all select typname from pg_type where typnamespace = 'public'::regnamespace"
        " union all select proname from pg_proc where pronamespace = 'public'::regnamespace order by 1"
    )
    return [str(name) for (name,) in rows]


def test_everything_the_application_owns_goes(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute(EVERYTHING)
        assert drop_all(connection, ["public"]) == 21
        assert left(connection) == []


def test_an_empty_schema_is_nothing_to_do(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        assert drop_all(connection, ["public"]) == 0


def test_the_schema_its_grants_and_comment_stay(pg_database: str, pg_admin: str) -> None:
    own_public(pg_admin)
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute("grant usage on schema public to pg_monitor; comment on schema public is 'ours'")
        connection.execute("alter default privileges in schema public grant select on tables to pg_monitor")
        facts = (
            "select n.nspacl::text, obj_description(n.oid), d.defaclacl::text"
            " from pg_namespace n left join pg_default_acl d on d.defaclnamespace = n.oid where nspname = 'public'"
        )
        before = connection.execute(facts).fetchall()
        connection.execute(EVERYTHING)
        drop_all(connection, ["public"])
        assert connection.execute(facts).fetchall() == before


def test_other_schemas_stay(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute("create schema other; create table other.t (a int); create table mine (a int)")
        drop_all(connection, ["public"])
        assert connection.execute("select count(*) from other.t").fetchone() == (0,)
        assert left(connection) == []


@pytest.mark.parametrize(
    ("sql", "outsider"),
    [
        ("create view other.v as select * from mine", "view other.v"),
        ("create table other.t (a int references mine)", "constraint t_a_fkey on table other.t"),
        ("create table other.t (a int default nextval('counter'))", "default value for column a of table other.t"),
        ("create table other.t (a colour)", "column a of table other.t"),
        ("create table other.t partition of parted for values in (1)", "table other.t"),
        (
            "create table other.t (a int); create trigger g after insert on other.t execute function fires()",
            "trigger g on table other.t",
        ),
        (
            "create table other.t (a int); create policy p on other.t using (a in (select id from mine))",
            "policy p on table other.t",
        ),
        ("create function other.f(c colour) returns int language sql as 'select 1'", "function other.f(colour)"),
    ],
)
def test_what_others_depend_on_is_refused_by_name(pg_database: str, sql: str, outsider: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute("create table mine (id int primary key); create sequence counter")
        connection.execute("create type colour as enum ('red'); create schema other")
        connection.execute("create function fires() returns trigger language plpgsql as 'begin return null; end'")
        connection.execute("create table parted (a int) partition by list (a)")
        connection.execute(sql)
        with pytest.raises(ChainFailed) as caught:
            drop_all(connection, ["public"])
        assert str(caught.value) == (
            f"Cannot drop everything in schema public: {outsider} in another schema depends on it.\n"
            "Dropping it too would go beyond the application's own schema. Nothing was changed.\n"
            "Drop that object first, or move it into the application's schema."
        )
        assert "mine" in left(connection)


def test_a_table_of_another_role_is_refused_by_name(pg_database: str, pg_admin: str) -> None:
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute("create table theirs (a int)")
        owner = admin.info.user
    with psycopg.connect(pg_database, autocommit=True) as connection:
        with pytest.raises(ChainFailed) as caught:
            find_owned(connection, ["public"])
        assert str(caught.value) == (
            f"Cannot drop everything in schema public: table public.theirs (owner {owner}) belongs to another role.\n"
            "Nothing was changed.\n"
            "Connect as the owner, or have it given to this role: alter table public.theirs owner to"
            f' "{connection.info.user}";'
        )


def test_extensions_and_what_belongs_to_them_stay(pg_database: str, pg_admin: str) -> None:
    make_vector(pg_admin)
    with psycopg.connect(pg_database, autocommit=True) as connection:
        connection.execute("create table items (embedding vector(3))")
        drop_all(connection, ["public"])
        assert connection.execute("select '[1,2,3]'::vector::text").fetchone() == ("[1,2,3]",)
        assert "items" not in left(connection)


def test_thousands_of_tables_go_in_batches(pg_database: str) -> None:
    with psycopg.connect(pg_database, autocommit=True) as connection:
        for start in range(0, 600, 100):
            connection.execute(
                f"do $$ begin for i in {start}..{start + 99} loop"
                " execute format('create table t%s (id int primary key)', i); end loop; end $$"
            )
        assert drop_all(connection, ["public"], batch=100) == 600
        assert left(connection) == []
