"""Run a task without Invoke, whose import is a large part of what a short command takes.

Only what is certain is read here: one of a few tasks, with options that it has, each with its value. Everything else
is left to Invoke: help, several tasks, abbreviations, every mistake. So there is one parser for what can go wrong, and
`tests/unit/test_quick.py` compares the two for all that is read here.
"""

from __future__ import annotations

import inspect
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


MODULES = {
    "wait-for-db": "database",
    "reset": "database",
    "seed": "database",
    "migrate": "database",
    "digest": "digest",
}
"""The modules of the tasks that are quick."""


def run(arguments: Sequence[str]) -> bool:
    """Run the task that a command line names, and exit with its code where it fails; False: that is left to Invoke."""
    if any(name.startswith("INVOKE_") for name in os.environ):  # settings of Invoke, such as INVOKE_DEBUG
        return False
    task = find(arguments[0]) if arguments else None
    options = None if task is None else read_options(task, arguments[1:])
    if task is None or options is None:
        return False
    try:
        task(None, **options)
    except Exception as error:  # the task's own end
        from invoke.exceptions import Exit

        if not isinstance(error, Exit):
            raise
        if error.message:
            sys.stderr.write(f"{error.message}\n")
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(1)
    return True


def find(name: str) -> Callable[..., None] | None:
    """Return the task of this name, None where it is none of those that are quick."""
    if name not in MODULES:
        return None
    module = import_module(f"dbtools.commands.{MODULES[name]}")
    return cast("Callable[..., None]", getattr(module, name.replace("-", "_")))


def read_options(task: Callable[..., None], arguments: Sequence[str]) -> dict[str, Any] | None:
    """Return the options that the arguments set, by parameter; None where one of them is not certain."""
    parameters = {
        f"--{name.strip('_').replace('_', '-')}": parameter
        for name, parameter in [*inspect.signature(task).parameters.items()][1:]
    }
    repeatable = cast("Any", task).task_options.get("iterable", ())
    found: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        option, given, value = word.partition("=")
        parameter = parameters.get(option)
        if parameter is None or (parameter.name in found and parameter.name not in repeatable):
            return None
        if parameter.default is False:
            if given:
                return None
            found[parameter.name] = True
            continue
        value = value if given else next(words, "")
        if not value or value.startswith("-"):
            return None
        found[parameter.name] = [*found.get(parameter.name, ()), value] if parameter.name in repeatable else value
    return found
