"""Whether the advisory lock excludes, tried through servers, poolers and balancers where it does and where not."""

from __future__ import annotations

import psycopg
import pytest

from dbtools.checks import exclusion
from dbtools.checks.exclusion import examine_lock
from dbtools.checks.findings import judge
from dbtools.db.dsn import Dsn
from dbtools.server.embedded import EmbeddedServer
from tests.support.pgbouncer import PROGRAM, pooler
from tests.support.relay import Balancer
from tests.support.sessions import Connect

EXCLUDES = "excludes: the second of two sessions did not get it, then it did"
SHADOWED = "Drop that function, or have the search_path name pg_catalog first, or not at all."
UNNOTICED = "Two runs at once would not notice each other."
UNPROTECTED = "migrate, and other programs that take the lock with pg_advisory_lock, would not be protected."
LEND = """✗ session lock: does not exclude: a session of the server goes from one client to the next
  A pooler in transaction mode stands before the server. reset and seed work through it; migrate refuses, and other\
 programs that take the lock with pg_advisory_lock are not protected.
  For those, connect past the pooler, or to one in session mode."""
SHADOWS = """
create function pg_try_advisory_xact_lock(bigint) returns bool language sql as 'select true';
create function pg_try_advisory_lock(bigint) returns bool language sql as 'select true';
alter database {database} set search_path = public, pg_catalog;
"""
needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer (Debian: apt-get install pgbouncer)")


def tried(url: str) -> list[str]:
    return [str(finding) for finding in examine_lock(Dsn.parse(url))]


def test_on_a_server_it_excludes(pg_database: str, connect: Connect) -> None:
    assert tried(pg_database) == [f"✓ transaction lock: {EXCLUDES}", f"✓ session lock: {EXCLUDES}"]
    left = "select from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname"
    assert connect().execute(f"{left} = current_database())").fetchall() == []


def test_functions_that_lock_nothing_are_named(pg_database: str, pg_admin: str) -> None:
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        for statement in SHADOWS.format(database=admin.info.dbname).strip().splitlines():
            admin.execute(statement)
    wrong = "does not exclude: two sessions have it at once"
    called = "The function that is called is {}(bigint), not the server's own: the search_path has it first."
    findings = [*examine_lock(Dsn.parse(pg_database))]
    assert [str(finding) for finding in findings] == [
        f"✗ transaction lock: {wrong}\n  {called.format('pg_try_advisory_xact_lock')} {UNNOTICED}\n  {SHADOWED}",
        f"✗ session lock: {wrong}\n  {called.format('pg_try_advisory_lock')} {UNPROTECTED}\n  {SHADOWED}",
    ]
    verdict = judge(findings)
    assert (verdict.works, verdict.is_sound) == (False, False)
    assert verdict.text == "✗ A reset will not work here: transaction lock."


def test_two_servers_behind_one_address_are_noticed(pg_database: str) -> None:
    here = Dsn.parse(pg_database)
    with EmbeddedServer.start() as second:
        with second.connect_admin() as admin:
            verb = "alter" if here.user == second.role else "create"
            admin.execute(f"{verb} role {here.user} login password '{here.password}'")
            admin.execute(f"create database {here.dbname} owner {here.user}")
        with Balancer(pg_database, second.url) as balancer:
            found = tried(balancer.dsn.url)
    assert len(found) == 2
    for line, name in zip(found, ("transaction", "session"), strict=True):
        assert line.startswith(f"✗ {name} lock: does not exclude: two sessions have it at once\n")
        assert "\n  The two sessions are on different servers: one started 20" in line
        assert f"; the other started 20{line.partition('; the other started 20')[2][:2]}" in line


@needs_pgbouncer
@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [
        ("session", 20, [f"✓ transaction lock: {EXCLUDES}", f"✓ session lock: {EXCLUDES}"]),
        ("transaction", 20, [f"✓ transaction lock: {EXCLUDES}", LEND]),
        (
            "transaction",
            1,
            [
                "· transaction lock: not tried: while one transaction was open, another did not begin within 0 s\n"
                "  A pool of one session does that. A pool of two or more can be tried.",
                LEND,
            ],
        ),
    ],
    ids=["session", "transaction", "a pool of one"],
)
def test_through_pgbouncer(
    pg_database: str, monkeypatch: pytest.MonkeyPatch, mode: str, size: int, expected: list[str]
) -> None:
    if size == 1:
        monkeypatch.setattr(exclusion, "BEGIN_WAIT_S", 0.3)
    with pooler(pg_database, mode, size=size) as url:
        findings = [*examine_lock(Dsn.parse(url))]
    assert [str(finding) for finding in findings] == expected
    if mode == "transaction":
        verdict = judge(findings)
        assert (verdict.works, verdict.is_sound) == (True, False)
        assert verdict.text == "✓ A reset will work here. Other work is not protected: session lock."
