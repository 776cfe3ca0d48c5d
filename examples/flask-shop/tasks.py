"""Tasks of the project: invoke --list."""

from dbtools.commands import namespace

__all__ = ["namespace"]
