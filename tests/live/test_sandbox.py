"""Sandboxes: made by name, used as any database, dropped by name, and nothing else is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dbtools.build import template as templates
from dbtools.build.template import Owner
from dbtools.clones import sandbox
from dbtools.clones.wanted import Wanted
from dbtools.config import Project
from dbtools.db.databases import drop_database
from dbtools.db.dsn import Dsn
from dbtools.errors import ConfigurationError
from dbtools.server import Server
from tests.support.suites import SCHEMA, Suite


@pytest.fixture
def project(tmp_path: Path, pg_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Suite]:
    monkeypatch.setenv("DATABASE_URL", pg_server.url)
    yield Suite(tmp_path)
    with psycopg.connect(pg_server.url, autocommit=True) as connection:
        for (name,) in connection.execute(
            "select datname from pg_database where shobj_description(oid, 'pg_database') like '%%\"shop\"%%'"
        ).fetchall():
            connection.execute(f'drop database "{name}"')


def query(url: str, text: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(text).fetchall()


def test_the_life_of_a_sandbox(project: Suite, pg_server: Server) -> None:
    made = project.invoke("sandbox", "mine")
    url = made.stdout.strip()
    assert made.returncode == 0, made.stderr
    assert url == pg_server.url.rpartition("/")[0] + "/sandbox_shop_mine"  # nothing else is on standard output
    assert query(url, "insert into items (name) values ('a row of mine') returning id") == [(6,)]

    again = project.invoke("sandbox", "mine")
    assert again.stdout.strip() == url
    assert "Sandbox mine is there already; --replace makes it anew" in again.stderr
    assert query(url, "select count(*) from items") == [(6,)]

    listed = json.loads(project.invoke("sandbox.list", "--json").stdout)["sandboxes"]
    assert [(each["name"], each["database"], each["sessions"]) for each in listed] == [("mine", "sandbox_shop_mine", 0)]
    shown = project.invoke("sandbox.psql", "mine", "--", "-Atc", "select count(*) from items")
    assert shown.stdout == "6\n", shown.stderr

    reset = project.invoke("reset", DATABASE_URL=url)  # it is known to be the project's own
    assert reset.returncode == 0, reset.stderr
    assert query(url, "select count(*) from items") == [(5,)]

    query(url, "insert into items (name) values ('a row of mine') returning id")
    replaced = json.loads(project.invoke("sandbox", "mine", "--replace", "--profile", "2", "--json").stdout)
    assert replaced == {"name": "mine", "url": url, "made": True}
    assert query(url, "select count(*) from items") == [(2,)]

    with psycopg.connect(url):  # its sessions are ended
        assert project.invoke("sandbox.drop", "mine").stdout == "✓ Dropped sandbox mine\n"
    gone = project.invoke("sandbox.drop", "mine")
    assert gone.returncode == 2
    assert gone.stderr == (
        "There is no sandbox mine.\nNothing was changed.\nSee them: invoke sandbox.list; make it: invoke sandbox mine\n"
    )


@pytest.mark.parametrize("program", ["invoke", "dbtools"])
def test_a_branch_has_a_sandbox(project: Suite, program: str) -> None:
    run = project.invoke if program == "invoke" else project.dbtools
    for words in (["init", "-q"], ["checkout", "-q", "-b", "feature/Log-in"]):
        subprocess.run(["git", *words], cwd=project.root, check=True)
    made = run("sandbox", "--branch", "--schema-only")
    assert made.stdout.strip().endswith("/sandbox_shop_feature_log_in"), made.stderr
    assert query(made.stdout.strip(), "select count(*) from items") == [(0,)]
    assert run("sandbox.drop", "--all").stdout == "✓ Dropped sandbox feature_log_in\n"
    none_left = run("sandbox.drop", "--all")
    assert (none_left.returncode, none_left.stdout, none_left.stderr) == (0, "", "No sandboxes.\n")


def test_a_database_that_is_no_sandbox_is_left_alone(project: Suite, pg_server: Server) -> None:
    pg_server.create_database("sandbox_shop_theirs")
    try:
        for task in ("sandbox.drop", "sandbox", "sandbox.psql"):
            refused = project.invoke(task, "theirs")
            assert refused.returncode == 2
            assert refused.stderr == (
                "Database sandbox_shop_theirs is no sandbox of shop.\n"
                "It has no comment, and that of a sandbox says what it is. Nothing was changed.\n"
                "It was left alone. Choose another name.\n"
            )
        assert project.invoke("sandbox", "theirs", "--replace").returncode == 2
        assert query(pg_server.url, "select count(*) from pg_database where datname = 'sandbox_shop_theirs'") == [(1,)]
    finally:
        pg_server.drop_database("sandbox_shop_theirs")


def write_project(folder: Path) -> Project:
    root = folder / "shop"
    root.mkdir()
    (root / "pyproject.toml").write_text('[tool.dbtools]\nmigrate = { sql = "schema.sql" }\n', "utf-8")
    (root / "schema.sql").write_text(SCHEMA, "utf-8")
    return Project.find(root)


def test_what_a_sandbox_is_and_what_making_one_leaves(
    tmp_path: Path, pg_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = write_project(tmp_path)

    def make(name: str) -> str:
        return sandbox.create(owner, project, name, Wanted(), lambda _: None, None)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with Owner(Dsn.parse(pg_server.url)) as owner:
        session = owner.session

        def everything() -> set[object]:
            return {name for (name,) in session.execute("select datname from pg_database").fetchall()}

        session.execute("create database dbtools_test_00000000_1")  # of an owner that is gone
        database = make("mine")
        assert database == "sandbox_shop_mine"
        template = next(name for name in everything() if str(name).startswith("dbtools_template_"))
        try:
            before = everything()
            assert "dbtools_test_00000000_1" not in before
            marked = query(owner.dsn.with_database(database).url, "select to_regnamespace('dbtools') is not null")
            assert marked == [(True,)]
            assert make("mine") == database  # another process has made it meanwhile
            assert everything() == before
            with monkeypatch.context() as patch:
                patch.setattr(sandbox, "write_mark", fail)
                with pytest.raises(KeyboardInterrupt):
                    make("other")
            assert everything() == before
            (found,) = sandbox.list_all(session, "shop")
            assert (found.name, found.database, found.sessions, len(found.key)) == ("mine", database, 0, 64)
            assert sandbox.find(session, "shop", "none") is None
            assert sandbox.drop(session, "shop", "none") is False
            assert not sandbox.is_kept(session, database)
            for facts in ({"kind": "kept", "project": "shop"}, {"kind": "sandbox", "project": "market"}):
                templates.describe(session, database, facts)
                for refused in (sandbox.find, sandbox.drop):
                    with pytest.raises(ConfigurationError, match=f"^Database {database} is no sandbox of shop."):
                        refused(session, "shop", "mine")
                with pytest.raises(ConfigurationError, match="It was left alone"):
                    make("mine")
                assert sandbox.list_all(session, "shop") == []
                assert sandbox.is_kept(session, database) == (facts["kind"] == "kept")
                assert everything() == before
        finally:
            for name in (database, str(template)):
                drop_database(session, name)
