"""Where the tests' resets get their snapshots from: small histories of SQL files, built by the product itself."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from dbtools.build.builder import Builder
from dbtools.build.store import Store
from dbtools.config import Project
from dbtools.config.steps import Step

_folder = tempfile.TemporaryDirectory(prefix="dbtools-tests-")
"""Snapshots of this process: many tests have the same history."""


def store() -> Store:
    """Return the snapshots that the tests of this process share."""
    return Store(Path(_folder.name), 2 << 30)


def sql_source(folder: Path, *files: str, schema: str = "public") -> Builder:
    """Return the source of a project whose migrations are these texts of SQL, written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, sql in enumerate(files, 1):
        (folder / f"{number:04}.sql").write_text(sql, "utf-8")
    step = Step("sql", ("*.sql",), folder)
    project = Project(root=folder, migrate=(step,), inputs=("*.sql",), variables=(), schema=schema)
    return Builder(project, store(), dict(os.environ), note=lambda _: None)


def sample_source() -> Builder:
    """Return the source of the sample application."""
    project = Project.find(Path(__file__))
    return Builder(project, Store(project.cache / "snapshots", 2 << 30), dict(os.environ), note=lambda _: None)
