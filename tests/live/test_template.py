"""Template databases and their copies: who owns what, what is left alone, and what a sweep drops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from dbtools.build import template as templates
from dbtools.build.template import Content, Owner
from dbtools.clones.wanted import Wanted, make_template
from dbtools.config import Project
from dbtools.db.databases import drop_database
from dbtools.db.dsn import Dsn
from dbtools.errors import ServerError
from dbtools.server import Server
from tests.support.suites import SCHEMA
from tests.support.waiting import until

OWN = """
import os, sys, time
from dbtools.build import template as templates
from dbtools.build.template import Owner
from dbtools.db.dsn import Dsn
owner = Owner(Dsn.parse(sys.stdin.readline().strip()))
name = owner.new_name()
templates.copy(owner.session, "template1", name)
print(name, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def owner(pg_server: Server) -> Iterator[Owner]:
    with Owner(Dsn.parse(pg_server.url)) as owner:
        yield owner
        for name, comment in every(owner):
            if '"mine"' in comment:
                drop_database(owner.session, name)
        owner.drop_all()


def every(owner: Owner) -> list[tuple[str, str]]:
    return owner.session.execute(
        "select datname, coalesce(shobj_description(oid, 'pg_database'), '') from pg_database order by 1"
    ).fetchall()


def names(owner: Owner) -> set[str]:
    return {name for name, _ in every(owner)}


def new_database(owner: Owner) -> str:
    name = owner.new_name()
    templates.copy(owner.session, "template1", name)
    return name


def test_what_a_killed_owner_has_left_is_dropped_and_nothing_else(owner: Owner) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", OWN],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert program.stdin is not None
    assert program.stdout is not None
    with program:
        program.stdin.write(f"{owner.dsn.url}\n")
        program.stdin.flush()
        left = program.stdout.readline().strip()
        own, alike, kept = new_database(owner), "dbtools_test_drive", new_database(owner)
        templates.copy(owner.session, "template1", alike)
        templates.keep(owner.session, kept, "mine", "test_it")
        user = psycopg.connect(owner.dsn.with_database(left).url)  # a test that goes on after its run
        templates.sweep(owner.session, "mine")
        assert left in names(owner)  # its owner lives
        os.kill(program.pid, signal.SIGKILL)
        program.wait()
        there = "select from pg_stat_activity where application_name = %s"
        until(lambda: not owner.session.execute(there, (f"dbtools databases {left.split('_')[2]}",)).fetchall())
        templates.sweep(owner.session, "mine")
        user.close()
    assert left not in names(owner)
    assert {own, alike, kept} <= names(owner)
    drop_database(owner.session, alike)
    owner.drop_all()
    assert own not in names(owner)
    assert kept in names(owner)


def test_the_oldest_kept_databases_give_way(owner: Owner) -> None:
    kept = [new_database(owner) for _ in range(templates.MAX_KEPT + 1)]
    for age, name in enumerate(kept):
        templates.keep(owner.session, name, "mine", "test_it")
        comment = {"kind": "kept", "project": "mine", "test": "test_it", "used": 1000 + age}
        templates.describe(owner.session, name, comment)
    another = new_database(owner)
    templates.keep(owner.session, another, "mine", "test_it")
    assert set(kept) & names(owner) == set(kept[-templates.MAX_KEPT + 1 :])
    assert another in names(owner)


def test_templates_that_are_old_or_too_many_are_dropped(owner: Owner, pg_admin: str) -> None:
    (now,) = owner.session.execute("select extract(epoch from now())::bigint").fetchall()[0]
    made = [f"{templates.TEMPLATE}{number:024x}" for number in range(templates.MAX_TEMPLATES + 2)]
    for number, name in enumerate(made):
        templates.copy(owner.session, "template1", name)
        used = now - number if number else now - templates.MAX_UNUSED_DAYS * 86400 - 60
        templates.describe(owner.session, name, {"kind": "template", "project": "mine", "used": used})
    unsaid, stuck, theirs, admins = (f"{templates.TEMPLATE}{number:024x}" for number in range(90, 94))
    with Owner(Dsn.parse(pg_admin)) as admin:
        for name in (unsaid, stuck, theirs):
            templates.copy(owner.session, "template1", name)
        templates.describe(owner.session, theirs, {"kind": "template", "project": "theirs", "used": now})
        templates.copy(admin.session, "template1", admins)
        templates.describe(admin.session, admins, {"kind": "template", "project": "mine", "used": now})
        admin.session.execute(f"alter database {stuck} is_template true".encode())  # it cannot be dropped
        try:
            templates.sweep(owner.session, "mine")
            assert set(made) & names(owner) == set(made[1:-1])
            assert {unsaid, stuck, theirs, admins} & names(owner) == {stuck, theirs, admins}
        finally:
            admin.session.execute(f"alter database {stuck} is_template false".encode())
            for name in (unsaid, stuck, theirs, admins):
                drop_database(admin.session, name)


def test_other_comments_are_none_of_ours() -> None:
    assert templates.description('{"dbtools": 1, "kind": "kept"}') == {"dbtools": 1, "kind": "kept"}
    for comment in ("", "a database", "[1]", '"dbtools"', '{"kind": "kept"}'):
        assert templates.description(comment) == {}


def test_an_owner_needs_the_right_to_create_and_no_timeout_ends_it(pg_admin: str, pg_database: str) -> None:
    dsn = Dsn.parse(pg_database)
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute(f"alter role {dsn.user} nocreatedb; alter role {dsn.user} set idle_session_timeout to 900000")
        try:
            with pytest.raises(ServerError) as caught:
                Owner(dsn)
            assert str(caught.value) == (
                f"Role {dsn.user} may not create databases on {dsn.host}:{dsn.port}.\n"
                "Each test, and each sandbox, gets a database of its own. Nothing was changed.\n"
                f'As a superuser: alter role "{dsn.user}" createdb;'
            )
            owned = "select from pg_stat_activity where application_name ~ '^dbtools databases' and datname = %s"
            until(lambda: not admin.execute(owned, (dsn.dbname,)).fetchall())
            admin.execute(f"alter role {dsn.user} createdb")
            with Owner(dsn) as owner:
                assert owner.session.execute("show idle_session_timeout").fetchone() == ("0",)
                owner.session.execute(f"alter database {dsn.dbname} set work_mem to '1MB'")
                name = new_database(owner)
                with psycopg.connect(owner.dsn.with_database(name).url) as session:
                    assert session.execute("show work_mem").fetchone() == ("1MB",)
                owner.drop_all()
                assert admin.execute(owned, (dsn.dbname,)).fetchall() != []
            until(lambda: not admin.execute(owned, (dsn.dbname,)).fetchall())
        finally:
            admin.execute(f"alter role {dsn.user} createdb; alter role {dsn.user} reset all")


def test_content_is_made_once_by_whoever_asks_first(
    owner: Owner, tmp_path: Path, pg_database: str, pg_admin: str
) -> None:
    project = write_project(tmp_path, SCHEMA)
    manifest = make_template(owner, project, Wanted(), lambda _: None).manifest
    filled, names_made, waiting = list[str](), list[str](), threading.Event()
    held = "select from pg_locks where locktype = 'advisory' and not granted and classid = %s"

    def ask(mine: Owner, fill: Callable[[psycopg.Connection], None]) -> None:
        names_made.append(templates.prepare(mine, Content("once", "mine", manifest, fill)))

    def first(_: psycopg.Connection) -> None:
        filled.append("first")
        waiting.set()
        with psycopg.connect(pg_admin, autocommit=True) as admin:
            until(lambda: admin.execute(held, (templates.TEMPLATE_LOCK,)).rowcount == 1)

    with Owner(owner.dsn) as other:
        thread = threading.Thread(target=ask, args=(owner, first))
        thread.start()
        waiting.wait(60)
        ask(other, lambda _: filled.append("second"))
        thread.join()
        (comment,) = (comment for name, comment in every(owner) if name == names_made[0])
        assert templates.description(comment)["used"] > 1_700_000_000
    assert (filled, len({*names_made})) == (["first"], 1)
    # Advisory locks are those of a database: from another one it may be made at the same time.
    with Owner(Dsn.parse(pg_database)) as elsewhere, Owner(Dsn.parse(pg_admin)) as admin:
        meanwhile = Content("twice", "mine", manifest, lambda _: None)
        before, at_once = names(owner), list[str]()
        twice = replace(meanwhile, fill=lambda _: at_once.append(templates.prepare(elsewhere, meanwhile)))
        assert [templates.prepare(owner, twice)] == at_once
        assert names(owner) - before == {*at_once}
        assert templates.prepare(admin, meanwhile) not in at_once  # it belongs to another role
        for name, comment in every(owner):
            if '"mine"' in comment:
                drop_database(admin.session, name)


def test_several_that_want_a_template_make_one(owner: Owner, tmp_path: Path) -> None:
    project = write_project(tmp_path, SCHEMA)
    made: list[str] = []

    def make() -> None:
        with Owner(owner.dsn) as other:
            made.append(make_template(other, project, Wanted(), lambda _: None).name)

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1
    copied = owner.new_name()
    templates.copy(owner.session, made[0], copied)
    with psycopg.connect(owner.dsn.with_database(copied).url) as session:
        session.execute("insert into items (name) values ('one')")
    with pytest.raises(psycopg.OperationalError, match="is not currently accepting connections"):
        psycopg.connect(owner.dsn.with_database(made[0]).url)
    drop_database(owner.session, made[0])


def test_other_content_is_another_template_and_a_failure_leaves_nothing(owner: Owner, tmp_path: Path) -> None:
    project = write_project(tmp_path, SCHEMA)
    one = make_template(owner, project, Wanted(), lambda _: None)
    (project.root / "schema.sql").write_text(SCHEMA + "insert into items (name) values ('a row');", "utf-8")
    two = make_template(owner, project, Wanted(), lambda _: None)
    assert one.name != two.name
    before = names(owner)
    for template in (one, two):
        assert template.name in before

    def fail(work: psycopg.Connection) -> None:
        work.execute("create table half (id int)")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        templates.prepare(owner, Content("another key", "mine", one.manifest, fail))
    assert names(owner) == before
    for template in (one, two):
        drop_database(owner.session, template.name)


def test_a_superuser_creates_the_extensions_that_the_role_may_not(
    owner: Owner, tmp_path: Path, pg_database: str, pg_admin: str
) -> None:
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        if not admin.execute("select from pg_available_extensions where name = 'vector'").fetchall():
            pytest.skip("needs the extension vector on the server")
        admin.execute(
            "create schema place; create extension vector schema place; grant usage on schema place to public"
        )
    with Owner(Dsn.parse(pg_database)) as here:  # the database says that its projects are given the extension
        project = write_project(tmp_path, "create table points (id int primary key, place place.vector(3));")
        template = make_template(here, project, Wanted(), lambda _: None, Dsn.parse(pg_admin))
        name = here.new_name()
        templates.copy(here.session, template.name, name)
        with psycopg.connect(here.dsn.with_database(name).url) as session:
            session.execute("insert into points values (1, '[1,2,3]')")
            owner_of = "select pg_get_userbyid(nspowner) = current_user from pg_namespace where nspname = 'place'"
            assert session.execute(owner_of).fetchone() == (True,)
        here.drop_all()
        drop_database(here.session, template.name)


def write_project(folder: Path, schema: str) -> Project:
    root = folder / "mine"
    root.mkdir()
    (root / "pyproject.toml").write_text('[tool.dbtools]\nmigrate = { sql = "schema.sql" }\n', "utf-8")
    (root / "schema.sql").write_text(schema, "utf-8")
    return Project.find(root)
