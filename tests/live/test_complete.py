"""What a reset would install, as one snapshot and as content of a template: the steps' rows and the generated ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dbtools.build.builder import Builder
from dbtools.build.snapshot import MANIFEST, Snapshot
from dbtools.chain.complete import complete_snapshot
from dbtools.chain.content import find_content, load
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
FOUND = "select (select count(*) from shops), count(*), max(price) from items"


def generated(profile: str = "small") -> SeedRows:
    dataset = ToyShop().generate(profile, PLAN.seed, PLAN.as_of)
    found = CopyData(encode(dataset), dataset.summary)
    return SeedRows(replace(PLAN, profile=profile), Dataset(()), lambda: found)


def moved() -> SeedRows:
    """As the small ones, with the first table's text under another name."""
    tables, summary = generated().copy_data()
    found = CopyData((replace(tables[0], name='"items"'), *tables[1:]), summary)
    return SeedRows(PLAN, Dataset(()), lambda: found)


def missing(name: str = "known") -> SeedRows:
    return SeedRows(PLAN, Dataset((TableRows("shops", ("id", "name"), [(7, name)]),)), CopyData)


@pytest.fixture
def dsn(pg_database: str) -> Dsn:
    return Dsn.parse(pg_database)


@pytest.fixture
def source(tmp_path: Path) -> Builder:
    return sql_source(tmp_path / "project", TABLES, MIGRATED, "create schema other create table t (a int)")


@pytest.fixture
def ask(dsn: Dsn, pg_server: Server) -> Iterator[Callable[[Snapshot, str], object]]:
    """Asks about a snapshot in a database of its own."""

    def ask(snapshot: Snapshot, question: str) -> object:
        url = pg_server.create_database("complete")
        try:
            with open_session(Dsn.parse(url), "test") as session:
                load(session, snapshot, NO_ROWS)
                assert session.autocommit
                return session.execute(question.encode()).fetchone()
        finally:
            pg_server.drop_database("complete")

    return ask


def test_one_snapshot_has_the_rows_of_the_steps_and_those_that_are_generated(
    dsn: Dsn, source: Builder, tmp_path: Path, ask: Callable[[Snapshot, str], object]
) -> None:
    project, keys = Project(tmp_path), list[str]()
    with complete_snapshot(project, dsn, source, NO_ROWS) as base:
        assert base.manifest.steps == ("sql *.sql",)
    for rows, found in ((generated(), (4, 3, 300)), (missing(), (2, 0, None)), (missing("another"), (2, 0, None))):
        with complete_snapshot(project, dsn, source, rows) as snapshot:
            assert ask(Snapshot(snapshot.folder), FOUND) == found
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
    contents = [NO_ROWS, generated(), generated("large"), moved(), missing(), missing("another")]
    keys = [find_content(dsn, source, rows, "mine").key for rows in contents]
    assert len({*keys}) == len(keys)
    with open_session(dsn, "test") as session:
        snapshot = source.find(session)
    assert snapshot is not None
    origin = {"recipe": "r", "key": "k", "made_at": "then", "made_by": "you", "project": "theirs", "steps": ("other",)}
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
