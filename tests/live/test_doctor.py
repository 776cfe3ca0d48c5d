"""The doctor refuses what a reset would refuse, in the same words, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from dbtools.application import Invariant
from dbtools.chain.target import Target
from dbtools.checks.doctor import Finding, examine
from dbtools.config import LOCK_KEY
from dbtools.db.digest import digest
from dbtools.db.dsn import Dsn
from dbtools.errors import ChainFailed
from tests.support.runs import Runner
from tests.support.sources import sql_source
from tests.support.toy import TABLES, ToyShop

FORCED = "alter table items enable row level security, force row level security"
OBSTACLES = {
    "foreign owner": "create table theirs (a int)",
    "view outside": "create schema other; create view other.v as select * from public.shops",
    "publication": "create publication p for table public.shops",
    "no CREATE in the database": (
        "alter database {database} owner to {admin}; revoke create on database {database} from {user}, public"
    ),
    "no CREATE in the schema": (
        "alter schema public owner to {admin}; revoke create on schema public from {user}, public"
    ),
}


def findings(target: Target, folder: Path, application: ToyShop | None = None) -> dict[str, Finding]:
    found = examine(target, sql_source(folder / "project1", TABLES), application or ToyShop(), {})
    return {finding.name: finding for finding in found}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_what_a_reset_refuses_is_no_tick(obstacle: str, pg_database: str, pg_admin: str, tmp_path: Path) -> None:
    target = Target(Dsn.parse(pg_database), LOCK_KEY)
    run = Runner(target, tmp_path)
    run()
    assert findings(target, tmp_path)["rights"].passed is True
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        names = {"database": target.dsn.dbname, "user": target.dsn.user, "admin": admin.info.user}
        admin.execute(OBSTACLES[obstacle].format(**names))
        before = digest(admin)
        rights = findings(target, tmp_path)["rights"]
        assert digest(admin) == before
    with pytest.raises(ChainFailed) as caught:
        run()
    assert rights.passed is False
    assert rights.detail == " ".join(filter(None, (caught.value.what, caught.value.why, caught.value.hint)))


def test_forced_row_security_is_no_obstacle_to_a_reset(pg_database: str, tmp_path: Path) -> None:
    target = Target(Dsn.parse(pg_database), LOCK_KEY)
    for in_place in (False, False, True):
        log = Runner(Target(target.dsn, LOCK_KEY, in_place=in_place), tmp_path)(f"{TABLES}; {FORCED}")
        assert "✓ Created 3 shops as of 2026-11-23" in log.lines  # rows come before policies
        assert findings(target, tmp_path)["rights"].passed is True


def test_in_place_needs_less(pg_database: str, pg_admin: str, tmp_path: Path) -> None:
    target = Target(Dsn.parse(pg_database), LOCK_KEY, in_place=True)
    run = Runner(target, tmp_path)
    run()
    with psycopg.connect(pg_admin, autocommit=True) as admin:
        admin.execute(OBSTACLES["publication"])
    assert findings(target, tmp_path)["rights"].passed is True
    run()


class Ruled(ToyShop):
    invariants = (Invariant("no row", "select 1 as r, name as broken from shops where id = 1"),)


def test_a_rule_may_name_its_columns_as_it_likes(pg_database: str, tmp_path: Path) -> None:
    target = Target(Dsn.parse(pg_database), LOCK_KEY)
    Runner(target, tmp_path)()
    rule = findings(target, tmp_path, Ruled())["no row"]
    assert rule.passed is False
    assert rule.detail.startswith("1 rows break it, such as (1,")
