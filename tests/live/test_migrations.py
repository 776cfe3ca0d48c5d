"""Alembic typed by hand: the database at DATABASE_URL, the models compared, and nothing of it imported needlessly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parent.parent.parent


def alembic(*args: str, url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "alembic", *args]
    environment = os.environ | {"DATABASE_URL": url}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_an_upgrade_by_hand_says_what_it_runs_and_check_finds_nothing(pg_database: str) -> None:
    upgrade = alembic("upgrade", "head", url=pg_database)
    assert upgrade.returncode == 0, upgrade.stderr
    assert "Running upgrade 0008_confirmations -> 0009_in_progress" in upgrade.stderr
    check = alembic("check", url=pg_database)
    assert check.returncode == 0, check.stdout + check.stderr
    assert "No new upgrade operations detected." in check.stdout


def test_check_by_hand_finds_a_default_that_drifted(pg_database: str) -> None:
    assert alembic("upgrade", "head", url=pg_database).returncode == 0
    with psycopg.connect(pg_database) as connection:
        connection.execute("alter table services alter column active set default false")
    check = alembic("check", url=pg_database)
    assert check.returncode != 0
    assert "modify_default" in check.stdout + check.stderr


def test_rendering_needs_neither_a_server_nor_the_models() -> None:
    trial = (
        "import sys; from alembic.config import main; main(argv=['upgrade', 'head', '--sql']);"
        " loaded = [name for name in sys.modules if name.startswith(('groombook', 'dbtools', 'psycopg'))];"
        " sys.exit(f'imported: {loaded}' if loaded else 0)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run([sys.executable, "-c", trial], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("BEGIN;")
    assert done.stdout.rstrip().endswith("COMMIT;")


def test_the_way_down_by_hand(pg_database: str) -> None:
    assert alembic("upgrade", "head", url=pg_database).returncode == 0
    assert "(head)" in alembic("current", url=pg_database).stdout
    assert alembic("downgrade", "base", url=pg_database).returncode == 0
    assert alembic("check", url=pg_database).returncode != 0


def test_a_database_has_to_be_named() -> None:
    done = alembic("upgrade", "head", url="")
    assert done.returncode != 0
    assert "DATABASE_URL is not a usable PostgreSQL URL." in done.stderr
