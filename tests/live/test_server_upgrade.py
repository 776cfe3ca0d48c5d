"""The project's own server, brought from one major version to the next: all of it, or nothing happened."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg
import pytest

from dbtools.db.dsn import Dsn
from dbtools.errors import ConfigurationError, DbtoolsError, ServerError, VerificationFailed
from dbtools.server import run_as
from dbtools.server.binaries import Binaries
from dbtools.server.carry import check_programs
from dbtools.server.folders import SHARED_MEMORY
from dbtools.server.project import ProjectServer, find_server, folder_of, start_server, stop_server
from dbtools.server.project_data import State, known_state, store_state
from dbtools.server.requirements import Requirements
from dbtools.server.sources import narrowed, sources
from dbtools.server.upgrade import upgrade_server
from tests.support.projects import ROOT

DEBIAN = next((binaries for binaries in sources() if not binaries.wheel and binaries.major == 15), None)
ZOO = """
create role reader password 'secret' connection limit 3; comment on role reader is 'reads'; grant reader to app;
alter role app set work_mem = '5MB'; alter role app in database app set statement_timeout = '7s';
alter database app set search_path = public, extra; alter database app connection limit 40;
alter database postgres connection limit 50
create database "other db" owner reader template template0
comment on database "other db" is 'of others';
revoke connect on database "other db" from public; grant connect on database "other db" to app;
select lo_from_bytea(4711, 'large'); comment on large object 4711 is 'big'; grant select on large object 4711 to reader;
create schema extra authorization app; grant usage on schema extra to reader; grant create on schema public to reader;
create type extra.mood as enum ('a', 'B'); create sequence extra.s; select nextval('extra.s'), nextval('extra.s');
create table extra.t (id int generated always as identity primary key, m extra.mood default 'B', f float8);
alter table extra.t owner to app; grant select (id) on extra.t to reader; comment on column extra.t.m is 'mm';
insert into extra.t (m, f) select 'a', 1.0 / g from generate_series(1, 1000) g;
create materialized view extra.moment as select clock_timestamp();
create view extra.seen as select t.id, t.m from extra.t t where t.id < 5;
create function extra.f(a int) returns int language sql as 'select a'; revoke execute on function extra.f from public;
alter default privileges for role app in schema extra grant select on tables to reader;
create table alembic_version (version_num text); insert into alembic_version values ('abc');

alter system set work_mem = '6MB';
"""
LIES = """
create function once() returns int immutable language sql as 'select 1';
create table sworn (id int, n int generated always as (once()) stored); insert into sworn values (1);
create or replace function once() returns int immutable language sql as 'select 1 / 0';
create function throw() returns float immutable language sql as 'select random()';
""" + "\n".join(
    f"create table dice{n} (id int, thrown float generated always as (throw()) stored); insert into dice{n} values (1);"
    for n in range(1, 8)
)
CUT = """
import os, signal, sys
from pathlib import Path
from dbtools.server.requirements import Requirements
from dbtools.server.upgrade import upgrade_server

root, moment = Path(sys.argv[1]), sys.argv[2]
rename = Path.rename

def cut(path, target):
    result = rename(path, target)
    if path.name.endswith(moment):
        os.kill(os.getpid(), signal.SIGKILL)
    return result

def report(line):
    if moment in line:
        os.kill(os.getpid(), signal.SIGKILL)

Path.rename = cut
upgrade_server(root, Requirements(18), report=report)
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """The folder of a project; in shared memory where there is one, because servers flush a lot to the disk."""
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else tmp_path) as place:
        yield Path(place)
        stop_server(Path(place))


def started(root: Path, major: int, sql: str = "") -> ProjectServer:
    server = start_server(root, Requirements(major))
    if sql:
        execute(server.admin_url, sql)
    return server


def change(root: Path, major: int, **values: str) -> None:
    """Change what the state file of a server says."""
    store_state(folder(root, major), replace(known_state(folder(root, major)), **values))  # type: ignore[arg-type]


def execute(url: str, sql: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statements in filter(None, sql.split("\n")):
            connection.execute(statements)


def ask(url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(sql).fetchall()


def folder(root: Path, major: int) -> Path:
    return folder_of(root, run_as.choose(), major)


def refused(
    root: Path, major: int, kind: type[DbtoolsError] = ServerError, *, source: int | None = None
) -> DbtoolsError:
    with pytest.raises(kind) as caught:
        upgrade_server(root, Requirements(major), source=source)
    return caught.value


def unchanged(root: Path, major: int) -> str:
    return f"The server of PostgreSQL {major} is stopped; its data in {folder(root, major)} are as they were."


def test_everything_is_carried_over_from_version_to_version(root: Path) -> None:
    first = 15 if DEBIAN else 16
    old = started(root, first, ZOO)
    secrets = old.password, old.admin_password, old.port
    # A server of the new version that was only started gives way, and its first start offers the upgrade.
    told: list[str] = []
    start_server(root, Requirements(18, ("vector",)), report=told.append)
    assert told[1:] == [
        f"It is new and empty; what a server of PostgreSQL {first} held stays in {folder(root, first) / 'data'}"
        " (invoke server.upgrade brings it here)"
    ]
    if first == 15:
        done = upgrade_server(root, Requirements(16))
        assert (done.major, done.old, done.carried) == (15, folder(root, 15), True)
    execute(started(root, 16).admin_url, "create extension vector; create table near (v vector); insert into near"
            " values ('[1,2]')")  # fmt: skip

    def unreachable(line: str) -> None:
        assert line.removeprefix("Carrying over database ") in ("app", "other db", "postgres")
        assert find_server(root) is None
        with pytest.raises(psycopg.OperationalError, match="refused"):
            psycopg.connect(old.url)

    done = upgrade_server(root, Requirements(18), source=16, report=unreachable)
    assert not [path for path in (root / ".dbtools").iterdir() if path.suffix == ".empty"]
    assert done.rows == {"app": (2, 1001), "other db": (0, 0), "postgres": (0, 0), "template1": (0, 0)}
    new = started(root, 18)
    assert new.version.startswith("18.")
    assert (new.password, new.admin_password, new.port) == secrets
    assert ask(new.admin_url, "select version_num from alembic_version") == [("abc",)]
    assert ask(new.admin_url, "select lo_get(4711), nextval('extra.s')") == [(b"large", 3)]
    assert ask(new.admin_url, "select v <-> '[1,2]' from near") == [(0.0,)]
    assert ask(new.url, "show work_mem") == [("5MB",)]
    reader = Dsn.parse(new.url).changed(user="reader", password="secret").url
    execute(new.admin_url, "alter role reader login")
    assert ask(reader, "select count(id) from extra.t") == [(1000,)]
    # Once more: it is all there, although the version before is there too.
    stop_server(root)
    execute(started(root, 16).admin_url, "alter role reader login; select nextval('extra.s')")
    again = upgrade_server(root, Requirements(18), source=16)
    assert (again.carried, again.rows) == (False, done.rows)
    # The two go their ways, and neither takes the place of the other.
    execute(started(root, 18).admin_url, "insert into near values ('[3,4]')")
    own = refused(root, 18, ConfigurationError, source=16)
    assert str(own) == (
        "PostgreSQL 18 has data of its own.\n"
        f"They are in {folder(root, 18)}: an earlier upgrade or a reset has put them there, and they differ from those"
        f" in {folder(root, 16)}. {unchanged(root, 16)}\n"
        f"To keep them, go on. To have the others in their place: move {folder(root, 18)} away, and run this again."
    )


def test_a_kill_at_any_point_leaves_the_old_server_and_the_next_upgrade_goes_through(root: Path) -> None:
    started(root, 16, "create table kept (id int); insert into kept values (1)\ndrop database postgres")
    started(root, 18)
    stop_server(root)
    change(
        root, 18, prepared="x", admin_password="x"
    )  # as a first start that was cut off: it gives way, whatever it holds
    newest = next(binaries for binaries in sources() if binaries.major == 18)
    for moment, left in (
        ("Carrying over database app", {"server-16", "server-18", "server-18.upgrade"}),
        ("server-18", {"server-16", "server-18.empty", "server-18.upgrade"}),
        ("server-18.upgrade", {"server-16", "server-18"}),
    ):
        # The programs that ran on the data last are gone, or are of another version by now.
        change(root, 16, programs=str(newest.bin) if moment == "server-18" else "/nowhere")
        done = subprocess.run([sys.executable, "-c", CUT, str(root), moment], cwd=ROOT, check=False)
        assert done.returncode == -signal.SIGKILL
        assert {path.name for path in (root / ".dbtools").iterdir() if path.is_dir()} >= left
        if moment == "server-18":
            started(root, 18)  # another empty one, beside the one that had given way
        assert ask(started(root, 16).admin_url, "select id from kept") == [(1,)]
    assert upgrade_server(root, Requirements(18)).carried is False
    state = known_state(folder(root, 18))
    assert (state.version.partition(".")[0], state.programs) == ("18", str(newest.bin))
    assert ask(started(root, 18).admin_url, "select id from kept") == [(1,)]
    assert ask(started(root, 18).admin_url, "select datname from pg_database order by 1") == [
        ("app",),
        ("template0",),
        ("template1",),
    ]
    assert not [path for path in (root / ".dbtools").iterdir() if path.suffix in (".upgrade", ".empty")]


def test_what_cannot_be_carried_over_is_named(root: Path, tmp_path: Path) -> None:
    assert str(refused(root, 18, ConfigurationError)) == (
        "There is nothing to upgrade.\n"
        "The project's own server has no data of a version before 18. Nothing was changed.\n"
        "Set the version to upgrade to: major = ... in [tool.dbtools.server]"
    )
    old = started(root, 16)
    assert str(refused(root, 18, ConfigurationError)) == (
        "There is nothing to upgrade.\n"
        f"The server of PostgreSQL 16 holds nothing that a new one has not. {unchanged(root, 16)}\n"
        "To start a new one: invoke server.start"
    )
    assert str(refused(root, 15, ConfigurationError)) == (
        "The data of PostgreSQL 16 cannot be brought to PostgreSQL 15.\n"
        "A dump is for the version that it was made from, and for later ones. Nothing was changed.\n"
        "To go on with them: major = 16 in [tool.dbtools.server]"
    )
    old = started(root, 16, "create table kept (id int)")
    with psycopg.connect(old.url, application_name="shop") as used:
        used.execute("select 1")
        assert str(refused(root, 18)) == (
            "The project's own server is in use.\n"
            f"What these sessions write while it is copied would be lost: pid {used.info.backend_pid} (shop, app, in"
            " app, idle in transaction). Nothing was changed.\n"
            "End them; or, to end them with the server: invoke server.stop; then run this again."
        )
        used.execute("select 1")
    place = tmp_path / "elsewhere"
    place.mkdir()
    execute(old.admin_url, f"create tablespace far location '{place}'\ncreate database closed allow_connections false")
    assert str(refused(root, 18)) == (
        "The server of PostgreSQL 16 has tablespaces: far.\n"
        f"They are folders outside of the server's own. {unchanged(root, 16)}\n"
        "Move what is in them: alter table ... set tablespace pg_default; and drop them; then run this again."
    )
    execute(started(root, 16).admin_url, "drop tablespace far")
    assert str(refused(root, 18)) == (
        "The server of PostgreSQL 16 has databases that let nobody in: closed.\n"
        f"What they hold cannot be read. {unchanged(root, 16)}\n"
        "Open each: alter database ... allow_connections true; or drop it; then run this again."
    )
    execute(started(root, 16).admin_url, "drop database closed")
    # A row that cannot be restored: the server's words, by way of the program that failed.
    execute(started(root, 16).admin_url, LIES)
    assert str(refused(root, 18)) == (
        "Database app could not be carried over.\n"
        'pg_restore: error: could not execute query: ERROR: division by zero CONTEXT: SQL function "once"'
        f" statement 1. {unchanged(root, 16)}\n"
        "Mend that on the server of the older version, and run this again."
    )
    # A value that comes out differently when it is computed again: the comparison sees it.
    execute(started(root, 16).admin_url, "drop table sworn")
    dice = ", ".join(f"rows of public.dice{n} in database app" for n in range(1, 6))
    assert str(refused(root, 18, VerificationFailed)) == (
        "PostgreSQL 18 does not hold what PostgreSQL 16 does.\n"
        f"Different: {dice}, and 2 more. {unchanged(root, 16)}\n"
        "Look at them on the server of the older version, and run this again."
    )
    execute(started(root, 16).admin_url, ", ".join(["drop table dice1", *(f"dice{n}" for n in range(2, 8))]))
    for error in (OSError("no\nroom."), psycopg.Error("no\nroom.")):
        with pytest.raises(ServerError) as stopped:
            upgrade_server(root, Requirements(18), report=partial(fail, error))
        assert str(stopped.value) == (
            "The upgrade from PostgreSQL 16 to 18 failed.\n"
            f"no room. {unchanged(root, 16)}\n"
            "Once that is mended, run this again."
        )
    # An interruption: the old server is whole, nothing is left of the new one.
    with pytest.raises(KeyboardInterrupt) as caught:
        upgrade_server(root, Requirements(18), report=partial(fail, KeyboardInterrupt()))
    assert caught.value.__notes__ == [unchanged(root, 16)]
    assert sorted(path.name for path in (root / ".dbtools").iterdir() if path.is_dir()) == ["server-16"]
    assert ask(started(root, 16).admin_url, "select count(*) from kept") == [(0,)]


def test_what_the_folders_and_the_machine_lack_is_named(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for major in (14, 16):
        (folder(root, major) / "data").mkdir(parents=True)
    assert str(refused(root, 18, ConfigurationError)) == (
        "There are data of PostgreSQL 14 and 16.\n"
        "An upgrade to PostgreSQL 18 takes those of one. Nothing was changed.\n"
        "Name it: invoke server.upgrade --from 16"
    )
    assert str(refused(root, 18, ConfigurationError, source=15)) == (
        "There is nothing to upgrade.\n"
        "The project's own server has no data of PostgreSQL 15. Nothing was changed.\n"
        "Set the version to upgrade to: major = ... in [tool.dbtools.server]"
    )
    assert refused(root, 18, source=16).what == f"The state file {folder(root, 16) / 'state.json'} is lost."
    store_state(folder(root, 16), State("16.1", 1, "", "", prepared="x"))  # its first start was cut off
    assert str(refused(root, 18, ConfigurationError, source=16)) == (
        "There is nothing to upgrade.\n"
        "The server of PostgreSQL 16 holds nothing that a new one has not. Nothing was changed.\n"
        "To start a new one: invoke server.start"
    )
    store_state(folder(root, 16), State("16.1", 1, "", ""))
    bare = tmp_path / "bin"  # the server without what dumps and restores
    bare.mkdir()
    newest = next(binaries for binaries in sources() if binaries.major == 18)
    for name in ("postgres", "initdb", "pg_ctl", "pg_config"):
        if (newest.bin / name).exists():
            (bare / name).symlink_to(newest.bin / name)
    with pytest.raises(ServerError) as lacking:
        upgrade_server(root, narrowed(Requirements(), str(bare)), source=16)
    assert str(lacking.value).startswith("An upgrade to PostgreSQL 18 needs pg_dumpall, psql, pg_dump, pg_restore.\n")
    usage = type(shutil.disk_usage(root))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _path: usage(10, 9, 1))
        assert str(refused(root, 18, source=16)) == (
            "There is not enough room on the disk for an upgrade.\n"
            f"{folder(root, 16)} has 0 MB, the new server needs about as much, and 0 MB are free."
            " Nothing was changed.\n"
            "Free some disk space, and run this again."
        )
    (root / "psql").touch()
    with pytest.raises(ServerError) as caught:
        check_programs(Binaries(17, root, root))
    assert str(caught.value) == (
        "An upgrade to PostgreSQL 17 needs pg_dumpall, pg_dump, pg_restore.\n"
        f"Its programs are those in {root}, and what dumps and restores is not among them.\n"
        "Install all of PostgreSQL 17 (Debian: postgresql-17), and name its folder:"
        " --server /usr/lib/postgresql/17/bin"
    )


def fail(error: BaseException, _line: str) -> None:
    raise error


@pytest.mark.skipif(DEBIAN is None, reason="no PostgreSQL 15 is installed: scripts/system_postgres")
def test_an_extension_that_the_new_programs_lack_is_named(root: Path) -> None:
    started(root, 15, "create extension citext; set max_parallel_workers = 0")
    wheel = next(binaries for binaries in sources() if binaries.major == 16)
    assert str(refused(root, 16)) == (
        "PostgreSQL 16 has no extension citext, and database app uses it.\n"
        f"Its programs are those in {wheel.where}. {unchanged(root, 15)}\n"
        'To have others looked for: extensions = ["citext"] in [tool.dbtools.server]; or, where it is not needed, in'
        ' that database: drop extension "citext";'
    )
