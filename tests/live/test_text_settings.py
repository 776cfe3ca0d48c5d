"""The same seed is the same bytes, whatever server, database, role or environment set for dates, floats and strings."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import psycopg
import pytest

from dbtools import chain
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.chain.target import Target
from dbtools.config import LOCK_KEY
from dbtools.dataset import Dataset, TableRows
from dbtools.db.digest import digest
from dbtools.db.dsn import Dsn
from tests.support.runs import PLAN
from tests.support.sources import sql_source
from tests.support.toy import ToyShop

TABLES = """
create table visits (id int primary key, at timestamptz, day date, length interval, weight float8, raw bytea,
                     note text default '1\\2', noted timestamptz default '2026-11-23 12:00');
insert into visits (id, at, day) values (1, '2026-11-23 12:00', '01/02/2003');
"""
VALUES = (2, "2026-11-23 12:00", "01/02/2003", "-1 02:03:04", 0.1, "\\x00ff")
SETTINGS = {
    "timezone": "Asia/Tokyo",
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "extra_float_digits": "-10",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "lc_monetary": "C.UTF-8",
    "quote_all_identifiers": "on",
}


class Visits(ToyShop):
    def generate(self, profile: str, seed: int, as_of: dt.date) -> Dataset:
        columns = ("id", "at", "day", "length", "weight", "raw")
        values = tuple(str(value) if isinstance(value, float) else value for value in VALUES)
        return Dataset((TableRows("visits", columns, [values]),))


def run(url: str, folder: Path, **options: bool) -> str:
    target = Target(Dsn.parse(url), LOCK_KEY, **options)  # type: ignore[arg-type]
    with generate_in_background(Visits(), PLAN) as rows:
        source = sql_source(folder / "project", TABLES)
        chain.reset(target, source, rows, NullReport())
        with psycopg.connect(url, autocommit=True) as connection:
            after_reset = digest(connection).both
        chain.seed(target, source, rows, NullReport())
        with psycopg.connect(url, autocommit=True) as connection:
            return f"{after_reset} {digest(connection).both}"


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("where", ["database", "role", "environment"])
def test_the_same_seed_is_the_same_bytes(
    where: str, in_place: bool, pg_database: str, pg_admin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(pg_database, tmp_path, in_place=in_place)
    dsn = Dsn.parse(pg_database)
    if where == "environment":
        monkeypatch.setenv("PGTZ", SETTINGS["timezone"])
        monkeypatch.setenv("PGDATESTYLE", SETTINGS["datestyle"])
    else:
        subject = f"database {dsn.dbname}" if where == "database" else f"role {dsn.user} in database {dsn.dbname}"
        with psycopg.connect(pg_admin, autocommit=True) as admin:
            for name, value in SETTINGS.items():
                literal = ", ".join(f"'{part.strip()}'" for part in value.split(","))
                admin.execute(f"alter {subject} set {name} = {literal}")
    assert run(pg_database, tmp_path, in_place=in_place) == before
