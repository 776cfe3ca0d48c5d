"""What is advised about a failed step. The output is that of the programs themselves, with shorter paths."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dbtools.build.hints import find_hint
from dbtools.config import Project
from dbtools.config.steps import Kind, Step

KEY_ERROR = """Traceback (most recent call last):
  File "/shop/seed.py", line 2, in <module>
    print(os.environ["SHOP_ADMIN"])
  File "<frozen os>", line 679, in __getitem__
KeyError: 'SHOP_ADMIN'
"""
PYDANTIC = """pydantic_core._pydantic_core.ValidationError: 2 validation errors for Settings
shop_admin
  Field required [type=missing, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.14/v/missing
shop_key
  Field required [type=missing, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.14/v/missing
"""
DECOUPLE = "decouple.UndefinedValueError: SHOP_ADMIN not found. Declare it as envvar or define a default value.\n"
ENVIRONS = 'environs.exceptions.EnvNotSetError: Environment variable "SHOP_ADMIN" not set\n'
ADMIN = 'Give it SHOP_ADMIN=... in the environment, or [tool.dbtools] env = { SHOP_ADMIN = "..." }'


def hint(tmp_path: Path, text: str, *, kind: Kind = "command", words: tuple[str, ...] = ("python", "seed.py")) -> str:
    return find_hint(Step(kind, words, tmp_path), text.splitlines(), Project(tmp_path), Path(sys.executable))


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (KEY_ERROR, ADMIN),
        (KEY_ERROR.replace("<frozen os>", "/usr/lib/python3.9/os.py"), ADMIN),
        (
            KEY_ERROR + "\nThe above exception was the direct cause of the following exception:\n\n"
            "environ.compat.ImproperlyConfigured: Set the SHOP_ADMIN environment variable\n",
            ADMIN,
        ),
        (DECOUPLE, ADMIN),
        (ENVIRONS, ADMIN),
        (
            PYDANTIC,
            "Give it SHOP_ADMIN=..., SHOP_KEY=... (after its env_prefix, if it has one) in the environment,"
            ' or [tool.dbtools] env = { SHOP_ADMIN = "...", SHOP_KEY = "..." }',
        ),
        ("KeyError: 'SHOP_ADMIN'\n", ""),  # of any other mapping
        (PYDANTIC.replace("for Settings", "for Order"), ""),
        ("    def (\n        ^\nSyntaxError: invalid syntax\n", "Correct that line, and run this again."),
    ],
)
def test_what_the_last_lines_tell(tmp_path: Path, text: str, advice: str) -> None:
    assert hint(tmp_path, text) == advice


def test_a_module_of_the_project_is_not_to_be_installed_from_elsewhere(tmp_path: Path) -> None:
    text = "ModuleNotFoundError: No module named 'shop.models'\n"
    package = (
        f"It ran in {sys.executable}. Install shop there; or, if it is the wrong Python, name that of the project:"
        ' [tool.dbtools] python = ".venv/bin/python"'
    )
    assert hint(tmp_path, text, kind="alembic", words=()) == package
    assert hint(tmp_path, text) == package
    assert hint(tmp_path, text, words=("/usr/bin/python3", "seed.py")) == ""  # another Python
    assert hint(tmp_path, text, words=("npm", "run", "seed")) == ""
    (tmp_path / "src" / "shop").mkdir(parents=True)
    assert hint(tmp_path, text) == (
        f"It ran in {sys.executable}. shop is in the project: install that there, or have Python look for it:"
        ' [tool.dbtools] env = { PYTHONPATH = "src" }'
    )
