"""Each example, as it is: its page is walked, and what its settings name is another database, which stays empty."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.support.examples import EXAMPLES, Copy, Example
from tests.support.pages import ROOT
from tests.support.waiting import until


@contextmanager
def reading(copy: Copy) -> Iterator[list[tuple[object, ...]]]:
    """Read in a loop, in one session, and give what was read. An error of the session is raised at the end."""
    seen: list[tuple[object, ...]] = []
    errors: list[psycopg.Error] = []
    done = threading.Event()

    def loop() -> None:
        try:
            with psycopg.connect(copy.url, autocommit=True) as connection:
                while not done.is_set():
                    seen.append(connection.execute(copy.example.facts).fetchone() or ())
        except psycopg.Error as problem:
            errors.append(problem)

    reader = threading.Thread(target=loop)
    reader.start()
    try:
        until(lambda: seen or errors)
        yield seen
        read = len(seen)
        until(lambda: len(seen) > read or errors)
    finally:
        done.set()
        reader.join()
    assert errors == []


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_its_table_and_tasks_are_all_that_it_has_for_dbtools(example: Example) -> None:
    folder = ROOT / "examples" / example.name
    assert (folder / "pyproject.toml").read_text("utf-8").partition("[tool.dbtools]\n")[2] == example.table
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=folder, check=True, capture_output=True).stdout
    files = [folder / name for name in listed.decode().split("\0") if name]
    named = {path.name for path in files if "dbtools" in path.read_text("utf-8")}
    assert named == {"README.md", "pyproject.toml", "tasks.py"}


def test_the_locks_pin_everything_and_name_no_registry() -> None:
    for path in (ROOT / "examples").glob("*/requirements.txt"):
        assert all(re.match(r"[\w-]+==[\w.]+( ;|$)", line) for line in path.read_text("utf-8").splitlines()), path
    lock = json.loads((ROOT / "examples" / "node-tickets" / "package-lock.json").read_text("utf-8"))
    for name, package in lock["packages"].items():
        assert name == "" or ("integrity" in package and "resolved" not in package), name


def test_two_resets_have_the_same_content_and_no_read_fails(walked: Copy) -> None:
    with reading(walked) as seen:
        done = walked.invoke("reset", "digest", "reset", "digest")
    assert "Building" not in done.stderr
    sums = [line for line in done.stdout.splitlines() if line.startswith("both ")]
    assert len(sums) == 2
    assert sums[0] == sums[1]
    assert {*seen} == {walked.example.expected}


def test_in_place_seed_migrate_and_doctor(walked: Copy) -> None:
    done = walked.invoke("reset", "--in-place", "seed", "migrate", "doctor")
    assert "Building" not in done.stderr
    assert "\n✓ snapshot: " in done.stdout
    assert walked.facts() == walked.example.expected


def test_its_own_tests_pass(walked: Copy) -> None:
    walked.run_tests()


def test_the_database_that_its_settings_name_was_not_touched(walked: Copy) -> None:
    assert walked.objects_elsewhere() == 0
    walked.migrate_by_hand()
    assert walked.objects_elsewhere() > 0, "by hand its settings do not lead there: nothing was shown"
