"""Python programs that seed, by their names: run as a program, or a function that is called."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from dbtools.init.django import find_django_seed
from dbtools.init.files import folder_of, join, relative
from dbtools.init.flask import find_flask_seed
from dbtools.init.found import Steps, command, in_folder
from dbtools.init.node_seed import find_node_seed
from dbtools.init.others import SEEDS, find_make, find_others
from dbtools.init.sql import find_sql_seed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.init.files import Files

NAMES = (
    *("initial_data.py", "seed.py", "seeds.py", "seed_data.py", "seed_db.py", "db_seed.py", "seeder.py"),
    *(
        "seed*.py",
        "*_seed.py",
        "*_seeds.py",
        "init_data.py",
        "sample_data.py",
        "demo_data.py",
        "populate*.py",
        "load_demo*.py",
    ),
    *("load_sample*.py", "create_demo*.py", "load_fixtures.py", "seeds/__main__.py", "seed/__main__.py"),
)
"""Names of programs that seed, the likeliest first."""
NOT_PROGRAMS = {
    *("versions", "migrations", "models", "routers", "routes", "api", "schemas", "views", "factories", "commands"),
    "middleware",
}
"""Folders in which such a file is a part of something else."""
FUNCTIONS = ("seed", "run", "main", "seed_all", "seed_db", "seed_database", "seed_data", "populate", "load", "init_db")
GIVEN = {"connection", "conn", "url", "dsn", "engine"}
"""The parameters that dbtools gives to a function that it calls."""
MAKE = ("seed", "db-seed", "seed-db", "db.seed", "seeds")


def find_seeds(files: Files, migrate: Steps) -> Iterator[Steps]:
    """Yield what may seed the database that `migrate` makes, the likeliest first."""
    folder = migrate.folder
    if migrate.tool == "Flask-Migrate":
        yield from find_flask_seed(files, folder)
    if migrate.tool == "Django":
        yield from find_django_seed(files, folder)
    if migrate.led == "variables":
        yield from find_node_seed(files, folder)
        yield from find_others(files, SEEDS)
        yield from find_python_seed(files, folder)
    else:
        yield from find_python_seed(files, folder)
        yield from find_node_seed(files, folder)
    yield from find_sql_seed(files, migrate)
    yield from find_make(files, MAKE)


def find_python_seed(files: Files, folder: str) -> Iterator[Steps]:
    """Yield programs that seed and lie in `folder`, then those that lie elsewhere."""
    prefix = "" if folder == "." else f"{folder}/"
    found = [
        (not path.startswith(prefix), rank, path.count("/"), path)
        for rank, name in enumerate(NAMES)
        for path in files.find(name)
        if not NOT_PROGRAMS.intersection(path.split("/")[:-1])
    ]
    seen = set()
    for outside, _, _, path in sorted(found):
        if path not in seen:
            seen.add(path)
            yield _step(files, path, "." if outside else folder)


def _step(files: Files, path: str, folder: str) -> Steps:
    shown = relative(path, folder)
    env = {"PYTHONPATH": "src"} if shown.startswith("src/") else {}
    module = shown.removeprefix("src/").removesuffix(".py").removesuffix("/__main__").replace("/", ".")
    packaged = (
        "." in module and module.replace(".", "").isidentifier() and files.has(join(folder_of(path), "__init__.py"))
    )
    function = _function(files.text(path))
    if function is None:
        words = ["python", "-m", module] if packaged or path.endswith("__main__.py") else ["python", shown]
        return Steps("Python", (path,), command(words, folder, env if packaged else {}), folder, sure=False)
    if not function:
        what = f"Python, but {path} does nothing when it runs, and has no function that can be called"
        return Steps(what, (path,), None, folder)
    value = in_folder({"call": f"{module}:{function}"}, folder) | ({"env": env} if env else {})
    return Steps("Python", (path,), value, folder, sure=False)


def _function(text: str) -> str | None:
    """Return the function to call in a file that does nothing when it runs, "" where none fits; None: it runs."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):  # of a newer Python
        return None
    functions = {node.name: node for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    acts = any(isinstance(node, (ast.If, ast.With, ast.For, ast.Try, ast.Expr)) and not _is_text(node) for node in body)
    if acts or not functions:
        return None
    return next((name for name in FUNCTIONS if name in functions and _can_be_called(functions[name])), "")


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _can_be_called(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    given = function.args
    wanted = [*given.posonlyargs, *given.args][: len(given.posonlyargs) + len(given.args) - len(given.defaults)]
    wanted += [
        argument for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None
    ]
    return all(argument.arg in GIVEN for argument in wanted)
