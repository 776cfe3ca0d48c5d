"""Content that takes more locks than the server has room for: what is counted, what a reset says, what helps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from dbtools.chain.lock_room import count_needed
from dbtools.chain.phase import ROLLED_BACK
from dbtools.chain.target import Target
from dbtools.checks.findings import Finding
from dbtools.checks.install import examine_install
from dbtools.config import LOCK_KEY
from dbtools.db.dsn import Dsn
from dbtools.db.lock_room import SETTING, count_locks
from dbtools.errors import ChainFailed
from dbtools.server.embedded import EmbeddedServer
from tests.support.runs import Acting, Runner, query
from tests.support.sources import sql_source
from tests.support.toy import TABLES

KINDS = """
create type mood as enum ('good', 'bad');
create domain price as int check (value >= 0);
create type point as (x int, y int);
create table parts (id bigint generated always as identity, cost price default 1, felt mood, near point,
    shop_id bigint references shops (id), unique (id, cost)) partition by range (id);
create table parts_1 partition of parts for values from (1) to (1000);
create index on parts (cost);
create view seen as select * from parts;
create materialized view kept as select * from shops;
create sequence numbers;
create trigger changed before update on parts for each row execute function suppress_redundant_updates_trigger();
"""
HELD = """
select count(distinct (locktype, relation, classid, objid)) from pg_locks
where pid <> pg_backend_pid() and (relation >= 16384 or locktype = 'object' and classid <> 'pg_namespace'::regclass)
"""
FURTHER = 15
"""Locks of a reset that are not counted: of the mark, of roles, and of what refreshing a materialized view makes."""
VIEWS, FREE = 5_000, 3_000
"""A view is a lock to move, and four to drop."""
MAKE_VIEWS = f"""
do $$ begin for number in 1..{VIEWS} loop
    execute 'create view view_' || number || ' as select';
    if number % 500 = 0 then commit; end if;
end loop; end $$
"""
ALL = "select md5(string_agg(c::text, ' ' order by oid)) from pg_class c where relnamespace = 'public'::regnamespace"
LOCK = "select count(pg_advisory_lock(number)) from generate_series(1, %s) number"
UNLOCK = "select count(pg_advisory_unlock(number)) from generate_series(1, %s) number"
PROMISED = 6400
"""At the default of the setting, which is 64."""


@pytest.mark.parametrize("in_place", [False, True], ids=["swap", "in place"])
def test_what_is_counted_is_what_the_server_shows(pg_database: str, tmp_path: Path, *, in_place: bool) -> None:
    target = Target(Dsn.parse(pg_database), LOCK_KEY, in_place=in_place)
    run, held = Runner(target, tmp_path), list[int]()
    run(TABLES, KINDS)
    with psycopg.connect(pg_database, autocommit=True) as session:
        snapshot = sql_source(tmp_path / "again", TABLES, KINDS).find(session)
        assert snapshot is not None
        needed = sum(count_needed(session, snapshot.manifest, in_place=in_place))
        assert snapshot.manifest.locks == count_locks(session, ["public"]).made
        # A snapshot of an earlier version does not say.
        assert needed == sum(count_needed(session, replace(snapshot.manifest, locks=0), in_place=in_place))
    last = "Seed complete!" if in_place else "All tables and enums replaced"
    run(TABLES, KINDS, log=Acting(last, lambda: held.extend(int(str(count)) for (count,) in query(target, HELD))))
    assert needed <= held[0] <= needed + FURTHER


def test_a_full_lock_table_loses_nothing_and_the_setting_that_is_named_helps(tmp_path: Path) -> None:
    with EmbeddedServer.start() as server:
        target = Target(Dsn.parse(server.url), LOCK_KEY)
        run = Runner(target, tmp_path)
        run()
        query(target, MAKE_VIEWS)
        before = query(target, ALL)
        with psycopg.connect(server.url, autocommit=True) as other:
            with pytest.raises(psycopg.errors.OutOfMemory):
                other.execute(LOCK, (1_000_000,))
            other.execute(UNLOCK, (FREE,))
            for in_place in (False, True):
                with pytest.raises(ChainFailed) as caught:
                    run(in_place=in_place)
                assert str(caught.value) == refusal(in_place=in_place)
                assert query(target, ALL) == before
            assert run.log.lines[-1] == "Dropping all application tables..."
        assert "\n".join(map(str, foreseen(target, tmp_path, in_place=True))) == (
            f"? locks: a reset takes about 20028 at a time\n  {ROOM}.\n  {ADVICE.format(265)}"
        )
        query(Target(Dsn.parse(server.admin_url), LOCK_KEY), f"alter system set {SETTING} = 115")
        with server.at_rest():
            pass
        target = Target(Dsn.parse(server.url), LOCK_KEY)
        assert foreseen(target, tmp_path, in_place=False) == []
        with psycopg.connect(server.url, autocommit=True) as other:
            other.execute(LOCK, (PROMISED,))  # all that was promised before
            Runner(target, tmp_path / "later")()
        assert query(target, "select count(*) from shops") == [(3,)]
        assert query(target, "select count(*) from pg_views where schemaname ~ '^(public|dbtools)'") == [(0,)]


ROOM = "max_locks_per_transaction = 64 promises room for 6400, those of other sessions among them"
ADVICE = (
    "As a superuser: alter system set max_locks_per_transaction = {0}; then restart the server. Where dbtools starts"
    " it: settings = {{ max_locks_per_transaction = {0} }} in [tool.dbtools.server]."
)


def refusal(*, in_place: bool) -> str:
    counts = "20028 locks, 8 on what it makes and 20020 on what it drops"
    if not in_place:
        counts = "5012 locks, 8 on what it makes and 5004 on what it moves aside"
    return (
        "The server's lock table is full: it has no room for all the locks of this reset.\n"
        f"By its commit the reset holds about {counts}; {ROOM}. {ROLLED_BACK}\n"
        f"{ADVICE.format(265 if in_place else 115)}"
    )


def foreseen(target: Target, folder: Path, *, in_place: bool) -> list[Finding]:
    """Return what the doctor says of locks."""
    with psycopg.connect(target.dsn.url, autocommit=True) as session:
        snapshot = sql_source(folder / "seen", TABLES).find(session)
        assert snapshot is not None
        found = examine_install(session, replace(target, in_place=in_place), snapshot, ["public"], None)
        return [finding for finding in found if finding.name == "locks"]
