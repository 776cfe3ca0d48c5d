"""The set-ups of `nox -s adopt` are what its table says: pinned packages, and settings that name a database."""

from __future__ import annotations

import re

import pytest

from scripts.adopt.setups import ABOUT, Setup, all_setups

PLACEHOLDERS = {"@address@", "@host@", "@port@", "@user@", "@password@", "@dbname@", "@here@"}


@pytest.mark.parametrize("setup", all_setups(), ids=lambda setup: setup.name)
def test_every_package_is_pinned_and_every_placeholder_is_known(setup: Setup) -> None:
    assert setup.pins
    assert all(re.fullmatch(r"(@?[\w./-]+(\[\w+\])?==|@?[\w/-]+@)[\d.]+", pin) for pin in setup.pins)
    assert 1 <= len(setup.table) <= 3
    texts = [path.read_text("utf-8") for path in setup.folder.rglob("*") if path.is_file() and path.name != ABOUT]
    found = {name for text in texts for name in re.findall(r"@[a-z]+@", text)}
    assert found <= PLACEHOLDERS
    # A project that is given its database as an argument has no setting that could lead elsewhere.
    own = " ".join(word for words in setup.own for word in words)
    assert found & {"@address@", "@dbname@"} or "@address@" in own


def test_the_short_form_has_a_project_in_node_and_one_in_python() -> None:
    short = [setup for setup in all_setups() if setup.short]
    assert {path.name for setup in short for path in setup.pin_files} == {"package.json", "requirements.txt"}
