"""`dbtools init`, then `dbtools reset`, in projects that know nothing of dbtools, on a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support.layouts import lay_out

ROOT = Path(__file__).parents[2]
ENV = """
import os
from alembic import context
from sqlalchemy import create_engine

with create_engine("postgresql://nobody:quite-secret@127.0.0.1:1/elsewhere").connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
from alembic import op

revision, down_revision = "0001", None

def upgrade():
    op.execute("create table items (id int primary key, name text)")
"""
SEED = """
from shop.settings import URL
import psycopg

def run(conn):
    conn.execute("insert into items values (1, 'one'), (2, 'two')")

if __name__ == "__main__":
    with psycopg.connect(URL) as connection:
        run(connection)
"""
ALEMBIC = {
    "pyproject.toml": '[project]\nname = "shop"\n',
    "backend/alembic.ini": "[alembic]\nscript_location = migrations\nprepend_sys_path = .\n",
    "backend/migrations/env.py": ENV,
    "backend/migrations/versions/0001.py": REVISION,
    "backend/shop/__init__.py": "",
    "backend/shop/settings.py": 'URL = "postgresql://nobody:quite-secret@127.0.0.1:1/elsewhere"\n',
    "backend/shop/seed.py": SEED,
}
SQL = {
    "db/01_tables.sql": "create table items (id int primary key, name text);\n",
    "db/02_more.sql": "create view names as select name from items;\n",
    "db/seed.sql": "insert into items values (1, 'one'), (2, 'two');\n",
}
FUNCTION = ALEMBIC | {"backend/shop/seed.py": SEED[SEED.index("def run") : SEED.index("if __name__")]}


def dbtools(folder: Path, url: str, *words: str) -> str:
    environment = os.environ | {"DATABASE_URL": url, "PYTHONPATH": str(ROOT), "VIRTUAL_ENV": sys.prefix}
    done = subprocess.run(
        [sys.executable, "-m", "dbtools", *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("files", [ALEMBIC, FUNCTION, SQL], ids=["alembic", "alembic and a function", "sql"])
def test_a_project_is_reset_two_commands_after_its_clone(
    files: dict[str, str], tmp_path: Path, pg_database: str
) -> None:
    lay_out(tmp_path, files)
    assert "Next: python -m dbtools reset\nIt rebuilds the database that DATABASE_URL names.\n" in dbtools(
        tmp_path, pg_database, "init"
    )
    for _ in range(2):
        dbtools(tmp_path, pg_database, "reset")
        with psycopg.connect(pg_database) as connection:
            assert connection.execute("select * from items order by id").fetchall() == [(1, "one"), (2, "two")]
            connection.execute("insert into items values (3, 'three')")


def test_the_tasks_file_that_it_writes_is_invokes(tmp_path: Path, pg_database: str) -> None:
    lay_out(tmp_path, SQL)
    dbtools(tmp_path, pg_database, "init")
    environment = os.environ | {"DATABASE_URL": pg_database, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "reset"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with psycopg.connect(pg_database) as connection:
        assert connection.execute("select name from names order by name").fetchall() == [("one",), ("two",)]
