"""Sandboxes: made by name, used as any database, dropped by name, and nothing else is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dbtools.server import Server
from tests.support.suites import Suite


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
