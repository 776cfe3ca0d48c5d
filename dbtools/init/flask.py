"""Flask-Migrate: its own command runs, because its env.py works inside of the application alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbtools.init.alembic import is_flask
from dbtools.init.files import folder_of, join, relative
from dbtools.init.found import Steps, command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.init.files import Files

_READ = (".flaskenv", ".env")
"""Files that `flask` reads by itself."""
_NAMED = ("Dockerfile", "docker-compose*.y*ml", "compose*.y*ml", "Makefile", "Procfile", "*.sh", "README*")
MODULES = tuple(
    f"{package}{name}.py" for package in ("", "*/", "src/*/") for name in ("__init__", "app", "app/__init__", "*")
)
"""Where an application may be made."""
_APP = re.compile(r"\bFLASK_APP[\"']?\s*[=: ]\s*[\"']?([\w./:]+)")
_MAKES = re.compile(
    r"^\s*(?:app|application)\s*(?::[^=]+)?=\s*(?:\w+\.)?Flask\(|^def (?:create_app|make_app)\(", re.MULTILINE
)
_SCRIPT = re.compile(r"\bMigrateCommand\b|\bFlaskGroup\b")
_SEED = re.compile(r"\.command\(\s*[\"']((?:db[-_])?(?:seed|populate|demo|init)[\w-]*)[\"']")
_SEED_DEF = re.compile(r"\.cli\.command\(\s*\)\s*\n(?:@.*\n)*(?:async )?def ((?:seed|populate)\w*)\(")


def find_flask(files: Files) -> Iterator[Steps]:
    """Yield the upgrade of Flask-Migrate."""
    for ini in files.find("alembic.ini"):
        if is_flask(files, ini):
            beside = files.has(join(folder_of(ini), "env.py"))  # `flask db init` puts both into migrations/
            folder = folder_of(folder_of(ini)) if beside else folder_of(ini)
            while folder != "." and files.has(join(folder, "__init__.py")):
                folder = folder_of(folder)
            words, evidence, sure = flask_words(files, folder)
            at = relative(folder_of(ini), folder)
            option = ["--directory", at] if beside and at != "migrations" else []
            yield Steps(
                "Flask-Migrate", (*evidence, ini), command([*words, "db", "upgrade", *option], folder), folder, sure
            )


def find_flask_seed(files: Files, folder: str) -> Iterator[Steps]:
    """Yield a command of the application that is named after seeding."""
    words, _, _ = flask_words(files, folder)
    for path in files.find("*.py"):
        text = files.text(path) if folder == "." or path.startswith(f"{folder}/") else ""
        found = _SEED.search(text) or _SEED_DEF.search(text)
        if found:
            name = found[1] if found.re is _SEED else found[1].replace("_", "-").removesuffix("-command")
            yield Steps("flask", (path,), command([*words, name], folder), folder, sure=False)


def flask_words(files: Files, folder: str) -> tuple[list[str], tuple[str, ...], bool]:
    """Return the beginning of a flask command, the files that show it, and whether it is more than a guess."""
    manage = join(folder, "manage.py")
    if _SCRIPT.search(files.text(manage)):
        return ["python", "manage.py"], (manage,), True
    for name in _READ:
        if _APP.search(files.text(join(folder, name))):
            return ["flask"], (join(folder, name),), True
    for name in ("app.py", "wsgi.py", "app/__init__.py", "wsgi/__init__.py"):
        if files.has(join(folder, name)):
            return ["flask"], (), True
    for path in [*files.inside(folder, *_NAMED), *files.find(*_NAMED)]:
        if named := _APP.search(files.text(path)):
            return ["flask", "--app", named[1]], (path,), True
    for path in files.inside(folder, *MODULES):
        if _MAKES.search(files.text(path)):
            module = relative(path, folder).removesuffix(".py").removesuffix("/__init__").removeprefix("src/")
            return ["flask", "--app", module.replace("/", ".")], (path,), False
    return ["flask"], (), False
