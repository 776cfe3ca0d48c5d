"""Act on a module as soon as it has been imported, without importing it oneself."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # not typing's: its import takes milliseconds, in every child
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, Callable, Collection, Sequence

    Hook = Callable[[Any], None]


def install(names: Collection[str], hook: Hook) -> None:
    """Call hook(module) when a module of one of these names has been executed, before its importer gets it.

    An error of the hook is the import's error: the module is not there for the program.
    """
    sys.meta_path.insert(0, _Finder(names, hook))
    for name in names:
        if name in sys.modules:  # a .pth file had it imported
            hook(sys.modules[name])


class _Finder:
    """Finds what the other finders find, and has the module's loader call the hook."""

    def __init__(self, names: Collection[str], hook: Hook) -> None:
        self._names = names
        self._hook = hook

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._names:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find and finder is not self else None
            if spec is not None:
                _call_after(spec, self._hook)
                return spec
        return None


def _call_after(spec: ModuleSpec, hook: Hook) -> None:
    """Have `hook` called after the module of `spec` was executed.

    The loader stays what it is: resources, source lines and tracebacks are read through it.
    """
    loader: Any = spec.loader
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        if module.__name__ == spec.name:  # a zip file has one loader for all its modules
            hook(module)

    loader.exec_module = exec_module
