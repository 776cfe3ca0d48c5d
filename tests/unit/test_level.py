"""Which levels a project has, and what decides about each: anything else would install another project's content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dbtools.build import level as level_module
from dbtools.build.level import Level, list_levels, recipe_of
from dbtools.config import Project
from dbtools.config.steps import Step

ROOT = Path("/srv/shop")
MIGRATE, SEED = Step("sql", ("db/*.sql",), ROOT), Step("command", ("seed",), ROOT)
ROWS = Step("rows", ("shop.rows:shop",), ROOT)
PROJECT = Project(ROOT, migrate=(MIGRATE,), seed=(ROWS, SEED), env={"A": "1"}, variables=("TZ",), schemas=("public",))


def test_rows_are_no_part_of_a_snapshot_and_a_level_without_steps_is_none() -> None:
    assert list_levels(PROJECT) == [Level("migrate", (MIGRATE,)), Level("seed", (SEED,))]
    assert list_levels(replace(PROJECT, seed=(ROWS,))) == [Level("migrate", (MIGRATE,))]
    assert list_levels(replace(PROJECT, migrate=())) == [Level("seed", (SEED,))]


def recipe(step: Step = MIGRATE, project: Project = PROJECT, facts: str = "16", base: str = "") -> str:
    return recipe_of(Level("migrate", (step,)), project, facts, base)


def test_all_that_decides_the_content_is_in_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        recipe(),
        recipe(facts="17"),
        recipe(base="another"),
        recipe(replace(MIGRATE, kind="command")),
        recipe(replace(MIGRATE, words=("sql/*.sql",))),
        recipe(replace(MIGRATE, cwd=ROOT / "db")),
        recipe(replace(MIGRATE, env={"A": "2"})),
        recipe(project=replace(PROJECT, env={"A": "2"})),
        recipe(project=replace(PROJECT, variables=None)),
        recipe(project=replace(PROJECT, schema="shop")),
        recipe(project=replace(PROJECT, schemas=None)),
        recipe_of(Level("migrate", (MIGRATE, SEED)), PROJECT, "16", ""),
    ]
    for name in ("FORMAT", "__version__"):
        with monkeypatch.context() as patched:
            patched.setattr(level_module, name, "another")
            found.append(recipe())
    assert len({*found}) == len(found)


def test_another_folder_or_order_is_the_same_recipe() -> None:
    moved = Path("/home/me/shop")
    assert recipe(replace(MIGRATE, cwd=moved), replace(PROJECT, root=moved)) == recipe()
    one, two = {"A": "1", "B": "2"}, {"B": "2", "A": "1"}
    assert recipe(replace(MIGRATE, env=one)) == recipe(replace(MIGRATE, env=two))
    assert recipe(project=replace(PROJECT, env=one)) == recipe(project=replace(PROJECT, env=two))
