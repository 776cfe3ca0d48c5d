"""The site: its pages are those of the checkout, and their links lead to one another."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import PurePosixPath

from dbtools.commands import namespace
from scripts import docs

PLACES = dict(docs.find())


def relinked(text: str, source: str) -> str:
    return docs.relink(text, PurePosixPath(source), PLACES)


def test_links_lead_from_place_to_place() -> None:
    assert relinked("[a](docs/guard.md#what) [b](CHANGELOG.md)", "README.md") == "[a](guard.md#what) [b](changelog.md)"
    assert relinked("[a](../README.md) [b](race.png)", "docs/race-lab.md") == "[a](index.md) [b](race.png)"
    assert relinked("[a](../examples/plain-sql/README.md)", "docs/sql.md") == "[a](examples/plain-sql.md)"
    assert relinked("[a](../../docs/sql.md)", "examples/plain-sql/README.md") == "[a](../sql.md)"


def test_other_links_and_code_stay() -> None:
    text = "[a](https://example.org) [b](#here) [c](nowhere.md) `[d](guard.md)`\n```\n[e](docs/guard.md)\n```\n"
    assert relinked(text, "README.md") == text


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r": ([\w/-]+\.md)$", (docs.ROOT / "docs" / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(["tasks.md", *(str(place) for place in PLACES.values() if place.suffix == ".md")])


def test_the_reference_has_every_task_and_option() -> None:
    # In a process of its own: Invoke hands out the help texts of a task once.
    code = "from scripts.docs import namespace, reference; print('\\n'.join(reference(namespace)))"
    page = subprocess.run(
        [sys.executable, "-c", code], cwd=docs.ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert re.findall(r"^## ([\w.-]+)", page, re.MULTILINE) == list(namespace.task_names)
    options = [option for name in namespace.task_names for option in namespace[name].get_arguments()]
    assert page.count("\n| `-") == sum(not option.positional for option in options)
    assert "|  |" not in page
    assert "| `--lock-timeout LOCK-TIMEOUT` | Seconds to wait for the seed lock" in page
    assert "\n    invoke sandbox NAME\n" in page
