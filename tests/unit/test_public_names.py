"""What `import dbtools` offers, and what it does not cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dbtools
from dbtools import application, dataset, errors

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_public_names_are_those_of_their_modules() -> None:
    assert {name: getattr(dbtools, name) for name in dbtools.__all__} == {
        "Application": application.Application,
        "Dataset": dataset.Dataset,
        "DbtoolsError": errors.DbtoolsError,
        "Invariant": application.Invariant,
        "TableRows": dataset.TableRows,
        "__version__": dbtools.__version__,
    }


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="^module 'dbtools' has no attribute 'nonsense'$"):
        dbtools.nonsense  # type: ignore[attr-defined]  # noqa: B018 - it is the question


def test_the_import_alone_loads_nothing_else() -> None:
    program = "import sys, dbtools; print(*(name for name in sys.modules if name.startswith('dbtools')))"
    heavy = "; print(*({'alembic', 'invoke', 'psycopg', 'sqlalchemy'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program + heavy], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout == "dbtools\n\n"
