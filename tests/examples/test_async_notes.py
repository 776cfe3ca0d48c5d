"""The asynchronous example as it comes, after the page about snapshots: its `.env` names a server that is not there."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.support.examples import EXAMPLES, Copy
from tests.support.pages import ROOT, walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dbtools.server import Server

EXAMPLE = next(example for example in EXAMPLES if example.name == "async-notes")
SEEDED = (2, 3, "0002", True, "blue")


@pytest.fixture(scope="module")
def notes(pg_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """A copy in which the commands of the page were run: they save demo.dbsnap, and reset from it."""
    name = f"test_{secrets.token_hex(6)}"
    copy = Copy.make(EXAMPLE, tmp_path_factory.mktemp("notes"), pg_server.create_database(name))
    walk(ROOT / "docs" / "snapshots.md", copy.folder, **copy.environ)
    yield copy
    pg_server.drop_database(name)


def test_a_snapshot_from_elsewhere_runs_no_step(notes: Copy) -> None:
    (notes.folder / "notes" / "notes.csv").write_text("notebook,text\n", "utf-8")
    done = notes.invoke("reset", "--from", "demo.dbsnap")
    assert " from async-notes: alembic, python -m notes.seed" in done.stderr
    assert notes.facts() == SEEDED


def test_a_saved_snapshot_is_private_and_a_damaged_one_is_refused(notes: Copy) -> None:
    saved, damaged = notes.folder / "demo.dbsnap", notes.folder / "damaged.dbsnap"
    assert saved.stat().st_mode & 0o777 == 0o600
    damaged.write_bytes(saved.read_bytes()[:-100])
    refused = notes.invoke("reset", "--from", "damaged.dbsnap", code=2)
    assert refused.stderr.startswith("damaged.dbsnap is not a snapshot that can be read.\n")
    assert notes.facts() == SEEDED


def test_a_step_that_fails_is_told_in_its_own_words(notes: Copy) -> None:
    (notes.folder / "notes" / "notes.csv").write_text("notebook,text\ngreen,No such notebook\n", "utf-8")
    done = notes.invoke("reset", code=1)
    assert "Step seed 1 of 1 (python -m notes.seed) failed." in done.stderr
    assert "KeyError: 'green', at notes/seed.py:" in done.stderr
    assert "Nothing was changed." in done.stderr
    assert "not-a-password" not in done.stdout + done.stderr
    assert notes.facts() == SEEDED


def test_the_collision_of_its_steps_is_shown(pg_server: Server, tmp_path: Path) -> None:
    name = f"test_{secrets.token_hex(6)}"
    copy = Copy.make(EXAMPLE, tmp_path, pg_server.create_database(name))
    walk(ROOT / "docs" / "verify-concurrency.md", copy.folder, **copy.environ)
    pg_server.drop_database(name)
