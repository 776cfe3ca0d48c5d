"""The command line: tasks that parse their options, call one function of the library, and print.

A tasks.py needs one line: from dbtools.commands import namespace. The program `dbtools` (`dbtools/__main__.py`) has
the same tasks and needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbtools.commands.collection import namespace

__all__ = ["namespace"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Make the collection when it is asked for, so that a module of this room can be had without Invoke."""
        if name != "namespace":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from dbtools.commands import collection

        return collection.namespace
