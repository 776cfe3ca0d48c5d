"""GroomBook's application object: cheap to import, and what dbtools asks of it."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
import sys
from pathlib import Path

from groombook.application import application
from groombook.generate import generate
from groombook.known_users import environment_users, known_users

DAY = dt.date(2026, 11, 23)
ENVIRON = {"SEED_ADMIN_EMAIL": "boss@example.com"}


def test_the_first_profile_is_dev() -> None:
    assert list(application.profiles) == ["dev", "uat", "demo"]


def test_rows_are_those_of_the_parts() -> None:
    assert application.generate("dev", 42, DAY) == generate("dev", 42, DAY)
    assert application.environment_users(ENVIRON, DAY) == environment_users(ENVIRON, DAY)
    assert application.known_users(ENVIRON, DAY) == known_users(ENVIRON, DAY)


def test_importing_it_loads_neither_the_generator_nor_a_driver() -> None:
    program = "import sys, groombook.application; print('\\n'.join(sys.modules))"
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    loaded = result.stdout.splitlines()
    assert "groombook.application" in loaded
    assert not {"groombook.generate", "groombook.invariants", "sqlalchemy", "psycopg"} & set(loaded)


def test_every_invariant_has_a_name_of_its_own_and_names_no_schema() -> None:
    invariants = application.invariants
    assert len({invariant.name for invariant in invariants}) == len(invariants) > 0
    tables = {table.table for table in generate("dev", 42, DAY).tables}
    for invariant in invariants:
        named = re.findall(r"(?<!DISTINCT )\b(?:FROM|JOIN)\s+([a-z_.\"]+)", invariant.query)
        assert named
        assert set(named) <= tables
