"""Django: manage.py, its commands that seed, and its fixtures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbtools.init.databases import not_postgres, other_database
from dbtools.init.files import folder_of, join, relative
from dbtools.init.found import Steps, command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.init.files import Files

_COMMANDS = (
    *("seed*.py", "populate*.py", "load_demo*.py", "load_sample*.py", "create_demo*.py", "create_sample*.py"),
    *("*_seed.py", "load*_data.py", "create*_data.py", "generate*_data.py"),
)
_FIXTURES = ("*.json", "*.yaml", "*.yml", "*.xml", "*.jsonl")
_LIKELY = re.compile(r"seed|demo|initial|sample|dev", re.IGNORECASE)


def find_django(files: Files) -> Iterator[Steps]:
    """Yield the migrate of each manage.py."""
    for path in files.find("manage.py"):
        if "django" in files.text(path).lower():
            folder = folder_of(path)
            settings = files.find("settings.py", "settings/*.py", "settings_*.py")
            if other := other_database(files, "Django", settings):
                yield not_postgres("Django", other, (path,), folder)
                continue
            yield Steps("Django", (path,), command(["python", "manage.py", "migrate", "--noinput"], folder), folder)


def find_django_seed(files: Files, folder: str) -> Iterator[Steps]:
    """Yield a management command that is named after seeding, and else the fixtures."""
    prefix = "" if folder == "." else f"{folder}/"
    for path in files.find(*(f"management/commands/{name}" for name in _COMMANDS)):
        if path.startswith(prefix):
            name = path.rpartition("/")[2].removesuffix(".py")
            yield Steps("Django", (path,), command(["python", "manage.py", name], folder), folder, sure=False)
    fixtures = [path for path in files.find(*(f"fixtures/{name}" for name in _FIXTURES)) if path.startswith(prefix)]
    likely = [path for path in fixtures if _LIKELY.search(path.rpartition("/")[2])]
    chosen = likely or (fixtures if len(fixtures) == 1 else [])
    if chosen:
        words = ["python", "manage.py", "loaddata", *(_label(files, path, folder) for path in chosen)]
        yield Steps("loaddata", tuple(chosen), command(words, folder), folder, sure=False)
    elif fixtures:
        yield Steps("fixtures, of which none is likelier than the others", tuple(fixtures), None, folder)


def _label(files: Files, path: str, folder: str) -> str:
    """Return how loaddata finds a fixture: by its name in an application, else by its path."""
    application = folder_of(folder_of(path))
    is_application = any(files.has(join(application, name)) for name in ("apps.py", "models.py", "migrations"))
    return path.rpartition("/")[2].rpartition(".")[0] if is_application else relative(path, folder)
