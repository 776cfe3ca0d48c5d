"""Look at what a step would run, without running it: print what is there as JSON, on a line that begins with MARK.

    python look.py MARK alembic [CONFIG]
    python look.py MARK call package.module:function

Of the project itself nothing is imported, but for the package that a `script_location = package:folder` names. What
revisions there are is read from the text of their files.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Iterator, Sequence

if TYPE_CHECKING:
    from .lead_failure import explain
else:
    from lead_failure import explain

_WANTED = ("revision", "down_revision")


class _Found(Exception):
    """Alembic has read its configuration."""

    def __init__(self, script: Any) -> None:
        super().__init__()
        self.script = script


def main(mark: str, kind: str, *words: str) -> None:
    """Print what was found, or {"error": why it cannot run}."""
    try:
        found = (_alembic if kind == "alembic" else _module)(*words)
    except Exception as error:  # noqa: BLE001 - anything may come from the environment
        found = {"error": explain(error).partition("\n")[0]}
    found["python"] = ".".join(map(str, sys.version_info[:3]))
    sys.stdout.write("\n" + mark + json.dumps(found) + "\n")


def _alembic(config: str | None = None) -> dict[str, Any]:
    sys.path[0] = os.path.dirname(sys.executable)  # as in run_alembic.py
    sys.path.append(os.getcwd())
    import alembic
    from alembic.config import CommandLine
    from alembic.script import ScriptDirectory

    read = ScriptDirectory.from_config

    def stop(*arguments: Any, **keywords: Any) -> None:
        raise _Found(read(*arguments, **keywords))

    ScriptDirectory.from_config = stop  # type: ignore[method-assign, assignment]
    try:
        CommandLine(prog="alembic").main(["--raiseerr", *(["-c", config] if config else []), "heads"])
    except _Found as found:
        script = found.script
    environment = os.path.join(script.dir, "env.py")
    if not os.path.isfile(environment):
        return {"error": f"{environment} does not exist"}
    locations = getattr(script, "_version_locations", None) or [os.path.join(script.dir, "versions")]
    deep = getattr(script, "recursive_version_locations", False)
    return {"version": alembic.__version__, "folder": script.dir, "history": _history(_files(locations, deep=deep))}


def _files(folders: Sequence[Any], *, deep: bool) -> Iterator[str]:
    for folder in folders:
        for place, inner, names in os.walk(str(folder)):
            inner[:] = inner if deep else []
            for name in names:
                if name.endswith(".py") and not name.startswith((".#", "__init__")):
                    yield os.path.join(place, name)


def _history(files: Iterator[str]) -> dict[str, list[str]] | None:
    """Return all revisions and those at the end, None where a file does not say it in plain constants."""
    revisions: set[str] = set()
    before: set[str] = set()
    for file in files:
        values = _constants(file)
        down = values.get("down_revision", ...)
        if not isinstance(values.get("revision"), str) or down is ...:
            return None
        revisions.add(values["revision"])
        before.update([down] if isinstance(down, str) else down or ())
    return {"revisions": sorted(revisions), "heads": sorted(revisions - before)}


def _constants(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        return dict(_assigned(ast.parse(file.read())))


def _assigned(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    for statement in tree.body:
        targets: list[Any] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        for target in targets:
            if isinstance(target, ast.Name) and target.id in _WANTED:
                try:
                    yield target.id, ast.literal_eval(statement.value)  # type: ignore[attr-defined]
                except ValueError:
                    yield target.id, ...


def _module(name: str) -> dict[str, Any]:
    """Find a module as an import in the working directory would, without importing its packages."""
    sys.path[0] = os.getcwd()
    parts = name.partition(":")[0].split(".")
    path: Any = None
    spec: Any = None
    for number in range(1, len(parts) + 1):
        full = ".".join(parts[:number])
        found = (finder.find_spec(full, path) for finder in sys.meta_path if hasattr(finder, "find_spec"))
        parent, spec = spec, next((one for one in found if one is not None), None)
        if spec is None and parent is not None and _changes_its_path(parent):
            return {}
        if spec is None:
            return {"error": f"ModuleNotFoundError: No module named {full!r}"}
        path = spec.submodule_search_locations
        if path is None and number < len(parts):
            return {"error": f"ModuleNotFoundError: {full!r} is not a package"}
    return {"file": spec.origin}


def _changes_its_path(spec: Any) -> bool:
    """Return whether a package says by itself where its modules are, so that only its import tells."""
    if not spec.has_location:
        return False
    with open(spec.origin, encoding="utf-8", errors="replace") as file:
        return "__path__" in file.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
