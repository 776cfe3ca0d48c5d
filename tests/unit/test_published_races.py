"""The page of the published races says what was found in the projects as they are now."""

from __future__ import annotations

import pytest

from dbtools.races import token
from dbtools.races.scenario_file import read
from scripts import published_page
from scripts.published_page import FACTS, PAGE, SHELF, load, picture, projects, rendered, version

PROJECTS = projects()


def test_the_page_is_made_from_what_was_found() -> None:
    assert PAGE.read_text("utf-8") == rendered(PAGE.read_text("utf-8"))
    assert sorted(load()) == PROJECTS


@pytest.mark.parametrize("name", PROJECTS)
def test_what_was_found_fits_the_project(name: str) -> None:
    found, scenario = load()[name], read(SHELF / name / f"{name}.toml", "", SHELF / name)
    cured = read(SHELF / name / f"{name}.toml", "locked", SHELF / name)
    assert token.decode(found["token"]).state == scenario.fingerprint(16), "nox -s races -- --published --write-page"
    assert found["version"] == version(name)
    assert scenario.expect in found["failure"].split(", ")
    assert found["replays"] == "10 of 10"
    assert (found["locked"]["verdict"], cured.expect, cured.waits) == ("held", "", "advisory lock 1196576591")
    assert found["locked"]["waits"] > 0
    assert found["token"] in picture(name).read_text("utf-8")


def test_a_page_of_other_facts_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = load()
    facts[PROJECTS[0]] |= {"schedules": 12345}
    monkeypatch.setattr(published_page, "load", lambda: facts)
    assert "12345" in rendered(PAGE.read_text("utf-8")) != PAGE.read_text("utf-8")
    assert FACTS.is_file()
