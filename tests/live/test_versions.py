"""What newer versions of PostgreSQL have: installed as it was built, twice by each strategy, with the same digest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from dbtools import chain
from dbtools.build.scratch import scratch_database
from dbtools.chain.copy import CopyData
from dbtools.chain.prefetch import SeedRows
from dbtools.chain.target import Target
from dbtools.config import LOCK_KEY
from dbtools.dataset import Dataset
from dbtools.db import connect as connect_module
from dbtools.db.connect import open_session
from dbtools.db.digest import digest
from dbtools.db.dsn import Dsn
from dbtools.errors import ConfigurationError
from dbtools.server import Server
from tests.support.runs import PLAN, Log
from tests.support.servers import major
from tests.support.sessions import Connect
from tests.support.sources import sql_source

NEWS = {
    14: """
        create function next_day(d date) returns date language sql return d + 1;
        create table compressed (t text compression pglz); insert into compressed values (repeat('a', 9000));
        create table spans (s int4multirange); insert into spans values ('{[1,3),[5,7)}');
        """,
    15: """
        create table one_null (a int, b int, unique nulls not distinct (a, b), c int unique nulls not distinct);
        insert into one_null values (1, null, null);
        create view seen_as_caller with (security_invoker = true) as select a from one_null;
        create table parents (id int, kind int, primary key (kind, id));
        create table children (kind int, parent int,
            foreign key (kind, parent) references parents on delete set null (parent));
        insert into parents values (1, 2); insert into children values (2, 1);
        """,
    17: """
        create table kinds (id int generated always as identity primary key, name text) partition by range (id);
        create table kinds_1 partition of kinds for values from (1) to (100); insert into kinds (name) values ('a');
        create view flat as select * from json_table('[{"a": 1}]', '$[*]' columns (a int path '$.a'));
        """,
    18: """
        create table virtual (a int, b int generated always as (a * 2) virtual, c int generated always as (a + 1));
        insert into virtual values (3), (null);
        create table nulls (a int constraint its_own_name not null, b int, c int not null no inherit);
        alter table nulls rename b to renamed; alter table nulls alter renamed set not null;
        insert into nulls values (1, 2, 3); alter table nulls rename c to later;
        create table doubted (a int); insert into doubted values (null);
        alter table doubted add constraint doubt not null a not valid;
        create table bookings (room int4range, during daterange, primary key (room, during without overlaps));
        create table guests (room int4range, during daterange,
            foreign key (room, period during) references bookings (room, period during));
        insert into bookings values ('[1,2)', '[2026-01-01,2026-02-01)');
        insert into guests values ('[1,2)', '[2026-01-03,2026-01-09)');
        create table hopes (a int, constraint hoped check (a > 0) not enforced); insert into hopes values (-1);
        create table ids (id uuid default uuidv7() primary key);
        """,
}
NO_ROWS = SeedRows(PLAN, Dataset(()), CopyData)


def both(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        return digest(connection).both


@pytest.mark.parametrize("since", NEWS)
def test_what_is_new_is_installed_as_it_was_built(pg_database: str, tmp_path: Path, since: int) -> None:
    if major(pg_database) < since:
        pytest.skip(f"the server is older than PostgreSQL {since}")
    target = Target(Dsn.parse(pg_database), LOCK_KEY)
    source = sql_source(tmp_path, NEWS[since])
    with scratch_database(target.dsn, "public") as scratch:
        source.run(scratch)
        wanted = both(scratch.dsn.url)
    for in_place in (False, False, True, True, False):
        chain.reset(replace(target, in_place=in_place), source, NO_ROWS, Log())
        assert both(pg_database) == wanted


PROVIDERS = [
    (14, "encoding 'SQL_ASCII' locale 'C'"),
    (15, "encoding 'UTF8' locale_provider icu icu_locale 'und-u-ks-level2' locale 'C'"),
    (16, "encoding 'UTF8' locale_provider icu icu_locale 'und' icu_rules '&V << w <<< W' locale 'C'"),
    (17, "encoding 'UTF8' locale_provider builtin builtin_locale 'C.UTF-8' locale 'C'"),
]
SORTING = """
select to_jsonb(d) - array['oid', 'datname', 'datdba', 'datfrozenxid', 'datminmxid']
from pg_database d where datname = current_database()
"""


@pytest.fixture
def admin(connect: Connect, pg_admin: str) -> Iterator[psycopg.Connection]:
    """A superuser's session on a server with template0, as all have that dbtools does not start."""
    session = connect(url=pg_admin)
    session.execute("create database template0 is_template true allow_connections false")
    yield session
    session.execute("alter database template0 is_template false")
    session.execute("drop database template0")


@pytest.mark.parametrize(("since", "options"), PROVIDERS, ids=["another encoding", "icu", "icu with rules", "builtin"])
def test_a_scratch_database_sorts_as_the_target_does(
    pg_server: Server, pg_database: str, admin: psycopg.Connection, connect: Connect, since: int, options: str
) -> None:
    if major(pg_database) < since:
        pytest.skip(f"the server is older than PostgreSQL {since}")
    name, role = f"{Dsn.parse(pg_database).dbname}_sorted", Dsn.parse(pg_database).user
    try:
        admin.execute(f"create database {name} template template0 {options} owner {role}".encode())
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("the server was built without ICU")
    try:
        dsn = Dsn.parse(pg_database).with_database(name)
        with scratch_database(dsn, "public") as scratch:
            wanted = connect(url=dsn.url).execute(SORTING).fetchone()
            assert scratch.session.execute(SORTING).fetchone() == wanted
    finally:
        pg_server.drop_database(name)


def test_a_server_that_is_too_old_is_refused(pg_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect_module, "OLDEST_MAJOR", 99)
    dsn = Dsn.parse(pg_database)
    with pytest.raises(ConfigurationError) as caught:
        open_session(dsn, "digest")
    version = caught.value.what.rpartition(" ")[2]
    assert int(version.partition(".")[0]) == major(pg_database)
    assert str(caught.value) == (
        f"The server of {dsn.target} is too old: PostgreSQL {version}\n"
        "dbtools works with PostgreSQL 99 and newer. Nothing was changed.\n"
        "Upgrade the server, or name another one in DATABASE_URL."
    )
