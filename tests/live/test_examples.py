"""The example projects, by the command line, as they are: their own settings name another database."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]
FACTS = """
select (select count(*) from notebooks), (select count(*) from notes), (select version_num from alembic_version),
       to_regclass('ix_notes_notebook_id') is not null, (select colour::text from notebooks where id = 2)
"""


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Path]:
    """A copy of the asynchronous example."""
    folder = tmp_path / "notes"
    shutil.copytree(ROOT / "examples" / "async-notes", folder, ignore=shutil.ignore_patterns(".dbtools", "__pycache__"))
    yield folder
    shutil.rmtree(folder)


def invoke(folder: Path, url: str, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DATABASE_URL": url, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["VIRTUAL_ENV"] = sys.prefix
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def facts(url: str) -> tuple[object, ...]:
    with psycopg.connect(url) as connection:
        return connection.execute(FACTS).fetchone() or ()


def test_an_asynchronous_project_needs_no_line_but_its_table(notes: Path, pg_database: str) -> None:
    table = (notes / "pyproject.toml").read_text("utf-8").partition("[tool.dbtools]\n")[2]
    assert table == 'seed = ["python", "-m", "notes.seed"]\n'
    first = invoke(notes, pg_database, "reset")
    assert "Building: migrate (alembic), seed (python -m notes.seed) …" in first.stderr
    assert "✓ Loaded 6 rows into 3 tables" in first.stdout
    assert facts(pg_database) == (2, 3, "0002", True, "blue")
    for words in (["reset"], ["reset", "--in-place"], ["seed"], ["migrate"]):
        again = invoke(notes, pg_database, *words)
        assert "Building" not in again.stderr
        assert facts(pg_database) == (2, 3, "0002", True, "blue")
    assert "✓ migrations: at 0002" in invoke(notes, pg_database, "doctor").stdout


def test_it_is_seeded_again_when_a_file_of_the_seed_changes(notes: Path, pg_database: str) -> None:
    invoke(notes, pg_database, "reset")
    with (notes / "notes" / "notes.csv").open("a", encoding="utf-8") as file:
        file.write("red,One more\n")
    done = invoke(notes, pg_database, "reset")
    assert "No snapshot of the seed steps fits any more: notes/notes.csv changed" in done.stderr
    assert facts(pg_database)[1] == 4
    assert invoke(notes, pg_database, "snapshot.list").stdout.count("alembic") == 3


def test_a_snapshot_from_elsewhere(notes: Path, pg_database: str) -> None:
    invoke(notes, pg_database, "snapshot.save", "demo.dbsnap")
    assert (notes / "demo.dbsnap").stat().st_mode & 0o777 == 0o600
    (notes / "notes" / "notes.csv").write_text("notebook,text\n", "utf-8")
    invoke(notes, pg_database, "reset")
    assert facts(pg_database)[1] == 0
    done = invoke(notes, pg_database, "reset", "--from", "demo.dbsnap")
    assert " from notes: alembic, python -m notes.seed" in done.stderr
    assert facts(pg_database)[1] == 3
    (notes / "demo.dbsnap").write_bytes((notes / "demo.dbsnap").read_bytes()[:-100])
    refused = invoke(notes, pg_database, "reset", "--from", "demo.dbsnap", code=2)
    assert refused.stderr.startswith("demo.dbsnap is not a snapshot that can be read.\n")
    assert facts(pg_database)[1] == 3


def test_a_step_that_fails_is_told_in_its_own_words(notes: Path, pg_database: str) -> None:
    invoke(notes, pg_database, "reset")
    (notes / "notes" / "notes.csv").write_text("notebook,text\ngreen,No such notebook\n", "utf-8")
    done = invoke(notes, pg_database, "reset", code=1)
    assert "Step seed 1 of 1 (python -m notes.seed) failed." in done.stderr
    assert "KeyError: 'green', at notes/seed.py:" in done.stderr
    assert "Nothing was changed." in done.stderr
    assert "not-a-password" not in done.stdout + done.stderr
    assert facts(pg_database) == (2, 3, "0002", True, "blue")
