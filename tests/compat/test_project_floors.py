"""A project whose own environment has the oldest Alembic and SQLAlchemy that dbtools is said to work with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import psycopg
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = {
    "pyproject.toml": """
        [tool.dbtools]
        python = {python}
        migrate = "alembic"
        seed = ["python", "seed.py"]
        """,
    "alembic.ini": """
        [alembic]
        script_location = migrations
        sqlalchemy.url = postgresql://nobody@nowhere.invalid/nothing
        """,
    "migrations/env.py": """
        from alembic import context
        from sqlalchemy import engine_from_config, pool

        options = context.config.get_section(context.config.config_ini_section)
        engine = engine_from_config(options, prefix="sqlalchemy.", poolclass=pool.NullPool)
        with engine.connect() as connection:
            context.configure(connection=connection, target_metadata=None)
            with context.begin_transaction():
                context.run_migrations()
        """,
    "migrations/versions/0001.py": """
        import sqlalchemy as sa
        from alembic import op

        revision, down_revision = "0001", None


        def upgrade():
            op.create_table(
                "dogs",
                sa.Column("id", sa.Integer, primary_key=True),
                sa.Column("name", sa.Text, nullable=False, unique=True),
                sa.Column("size", sa.Enum("small", "large", name="size")),
            )
        """,
    "seed.py": """
        from sqlalchemy import Column, Integer, String, create_engine
        from sqlalchemy.orm import Session, declarative_base

        Base = declarative_base()


        class Dog(Base):
            __tablename__ = "dogs"
            id = Column(Integer, primary_key=True)
            name = Column(String)


        with Session(create_engine("postgresql://nobody@nowhere.invalid/nothing")) as session:
            session.add_all([Dog(name="Ada"), Dog(name="Bo")])
            session.commit()
        """,
}


@pytest.fixture
def python() -> Path:
    """The interpreter that nox -s compat made, with those packages."""
    return Path(os.environ["COMPAT_PROJECT_PYTHON"])


def test_it_is_reset_seeded_and_examined(python: Path, pg_database: str, tmp_path: Path) -> None:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip().replace("{python}", json.dumps(str(python))), "utf-8")

    def dbtools(*words: str) -> str:
        command = [sys.executable, "-m", "dbtools", *words]
        environ = os.environ | {"DATABASE_URL": pg_database, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    dbtools("reset")
    first = json.loads(dbtools("digest", "--json"))
    dbtools("reset", "--rebuild")
    assert json.loads(dbtools("digest", "--json"))["sha256"] == first["sha256"]
    with psycopg.connect(pg_database) as connection:
        assert connection.execute("select name from dogs order by id").fetchall() == [("Ada",), ("Bo",)]
        assert connection.execute("select version_num from alembic_version").fetchall() == [("0001",)]
    assert "0001" in dbtools("doctor")
