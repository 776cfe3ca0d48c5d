"""Alembic typed by hand: the same migrations, on the database at DATABASE_URL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def alembic(*arguments: str, url: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url},
        text=True,
        capture_output=True,
        timeout=60,
    )


def test_up_check_and_down(pg_database: str) -> None:
    assert alembic("upgrade", "head", url=pg_database).returncode == 0
    assert "No new upgrade operations detected." in alembic("check", url=pg_database).stdout
    assert "(head)" in alembic("current", url=pg_database).stdout
    assert alembic("downgrade", "base", url=pg_database).returncode == 0
    assert alembic("check", url=pg_database).returncode != 0


def test_sql_is_rendered_without_a_database() -> None:
    done = alembic("upgrade", "head", "--sql")
    assert done.returncode == 0
    assert "create table clients" in done.stdout


def test_a_database_has_to_be_named() -> None:
    done = alembic("upgrade", "head")
    assert done.returncode != 0
    assert "DATABASE_URL is not a usable PostgreSQL URL." in done.stderr
