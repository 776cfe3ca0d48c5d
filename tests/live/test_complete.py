"""What a reset would install, as one snapshot and as content of a template: the steps' rows and the generated ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dbtools.build.builder import Builder
from dbtools.build.snapshot import MANIFEST, Snapshot
from dbtools.chain.complete import complete_snapshot
from dbtools.chain.content import find_content, find_snapshot, load
from dbtools.chain.copy import CopyData, encode
from dbtools.chain.install import GivenSnapshot
from dbtools.chain.prefetch import SeedRows
from dbtools.config import Project
from dbtools.dataset import Dataset, TableRows
from dbtools.db.connect import open_session
from dbtools.db.dsn import Dsn
from dbtools.server import Server
from tests.support.runs import PLAN
from tests.support.sources import sql_source
from tests.support.toy import TABLES, ToyShop

NO_ROWS = SeedRows(PLAN, Dataset(()), CopyData)
MIGRATED = "insert into shops (id, name) values (-1, 'of a migration')"
"""What no generated row takes the key of."""
FOUND = """
select (select count(*) from shops), count(*), max(price),
       (select column_default from information_schema.columns where table_schema = 'other') from items
"""
DEFAULT = r"'1\\2'::text"


def generated(profile: str = "small") -> SeedRows:
    dataset = ToyShop().generate(profile, PLAN.seed, PLAN.as_of)
    found = CopyData(encode(dataset), dataset.summary)
    return SeedRows(replace(PLAN, profile=profile), Dataset(()), lambda: found)


def changed(**changes: Any) -> SeedRows:
    """As the small ones, but for something of the first table."""
    tables, summary = generated().copy_data()
    found = CopyData((replace(tables[0], **changes), *tables[1:]), summary)
    return SeedRows(PLAN, Dataset(()), lambda: found)


def missing(name: str = "known") -> SeedRows:
    return SeedRows(PLAN, Dataset((TableRows("shops", ("id", "name"), [(7, name)]),)), CopyData)


@pytest.fixture
def dsn(pg_database: str) -> Dsn:
    return Dsn.parse(pg_database)


@pytest.fixture
def source(tmp_path: Path) -> Builder:
    other = "create schema other create table t (a text default '1\\2')"
    return sql_source(tmp_path / "project", TABLES, MIGRATED, other, schema="shop")


@pytest.fixture
def ask(pg_server: Server) -> Callable[[Snapshot, SeedRows], object]:
    """Asks about a snapshot and rows in a database of their own."""

    def ask(snapshot: Snapshot, rows: SeedRows) -> object:
        url = pg_server.create_database("complete")
        try:
            with open_session(Dsn.parse(url), "test") as session:
                session.execute("alter database complete set standard_conforming_strings to off")
            with open_session(Dsn.parse(url), "test") as session:
                load(session, snapshot, rows)
                assert session.autocommit
                session.execute("set search_path to shop")
                return session.execute(FOUND).fetchone()
        finally:
            pg_server.drop_database("complete")

    return ask


def test_one_snapshot_has_the_rows_of_the_steps_and_those_that_are_generated(
    dsn: Dsn, source: Builder, tmp_path: Path, ask: Callable[[Snapshot, SeedRows], object]
) -> None:
    project, keys = Project(tmp_path), list[str]()
    with complete_snapshot(project, dsn, source, NO_ROWS) as base:
        assert base.manifest.steps == ("sql *.sql",)
        assert base.manifest.schemas == ("shop", "other")
    assert ask(base, generated()) == (4, 3, 300, DEFAULT)
    for rows, found in ((generated(), (4, 3, 300)), (missing(), (2, 0, None)), (missing("another"), (2, 0, None))):
        with complete_snapshot(project, dsn, source, rows) as snapshot:
            assert ask(Snapshot(snapshot.folder), NO_ROWS) == (*found, DEFAULT)
            manifest, plan = snapshot.manifest, rows.plan
            assert manifest.steps == (
                "sql *.sql",
                f"rows of profile {plan.profile}, {plan.as_of}, seed {plan.seed}",
            )
            assert (manifest.schemas, manifest.recipe) == (base.manifest.schemas, base.manifest.recipe)
            keys.append(manifest.key)
        assert not snapshot.folder.exists()
    assert len({base.manifest.key, *keys}) == 4
    with complete_snapshot(project, dsn, source, generated()) as again:
        assert again.manifest.key == keys[0]


def test_other_rows_are_other_content_and_the_same_from_elsewhere_is_not(dsn: Dsn, source: Builder) -> None:
    data = generated().copy_data().tables[0].data
    small = [generated(), changed(name='"items"'), changed(columns='"name"'), changed(data=data.swapcase())]
    contents = [NO_ROWS, *small, missing(), missing("another")]
    keys = [find_content(dsn, source, rows, "mine").key for rows in contents]
    assert len({*keys}) == len(keys)
    with open_session(dsn, "test") as session:
        snapshot = source.find(session)
    assert snapshot is not None
    origin: dict[str, Any] = {
        "recipe": "r",
        "key": "k",
        "made_at": "then",
        "made_by": "you",
        "project": "theirs",
        "steps": ("other",),
    }
    elsewhere = {
        **origin,
        "inputs": {},
        "server": f"{snapshot.manifest.major}.99",
        "revisions": ("1",),
        "heads": ("1",),
    }
    (snapshot.folder / MANIFEST).write_text(replace(snapshot.manifest, **elsewhere).to_json(), "utf-8")
    same = find_content(dsn, GivenSnapshot(Snapshot(snapshot.folder)), NO_ROWS, "mine")
    assert (same.key, same.manifest.key, same.project) == (keys[0], "k", "mine")
    (snapshot.folder / MANIFEST).write_text(replace(snapshot.manifest, role="another").to_json(), "utf-8")
    assert find_content(dsn, GivenSnapshot(Snapshot(snapshot.folder)), NO_ROWS, "mine").key != keys[0]
    (snapshot.folder / MANIFEST).write_text(snapshot.manifest.to_json(), "utf-8")


def test_a_snapshot_is_looked_for_and_built_on_one_server(dsn: Dsn, source: Builder, pg_database: str) -> None:
    place = f"{dsn.host}:{dsn.port}"
    listed = Dsn.parse(pg_database.replace(place, f"{place},{place}"))
    snapshot, pinned = find_snapshot(listed, source)
    assert (pinned.host, pinned.port, pinned.dbname) == (dsn.host, dsn.port, dsn.dbname)
    assert find_snapshot(dsn, source)[0].folder == snapshot.folder
