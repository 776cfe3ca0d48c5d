"""The project's own steps, bare: no lock, no fence, no snapshot, nothing between two steps.

They run as in a build, led to the throwaway database. A reset does what the scripts of such projects do: it drops the
schemas, makes them again, migrates and seeds. Each statement of the drop commits by itself, and so does each step.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools.build.output import MAX_LINES
from dbtools.build.runner import Runner
from dbtools.build.temporary import temporary_folder
from dbtools.checks.job import Job, Result
from dbtools.checks.sqlstate import diagnose
from dbtools.config import Project
from dbtools.db.connect import open_session
from dbtools.db.dsn import Dsn
from dbtools.db.secrets import mask
from dbtools.db.sql import quote
from dbtools.errors import DbtoolsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def run_bare(job: Job, wait_for_start: Callable[[], None]) -> Result:
    """Get ready, run the steps of `job` after the start signal, and return how they ended."""
    import psycopg  # imported before the signal

    project, database = Project.find(Path(job.root)), Dsn.parse(job.url)
    steps = [("seed", project.seed)]
    if job.action == "reset":
        steps.insert(0, ("migrate", project.migrate))
    printed: deque[str] = deque(maxlen=MAX_LINES)
    title = "drop schema"
    with temporary_folder() as folder:
        runner = Runner(project, {**os.environ, **job.environ}, folder, printed.append)
        wait_for_start()
        try:
            if job.action == "reset":
                _drop(database, job)
            for role, own in steps:
                for number, step in enumerate(own, 1):
                    title = step.title
                    printed.clear()
                    runner.run_step(step, database, f"{role} {number} of {len(own)}")
        except psycopg.Error as error:
            words = mask(f"{title}: {' '.join(str(error).split())}")
            what = error.diag.constraint_name or type(error).__name__
            return Result(job.action, error=words, sqlstate=error.sqlstate or "", subject=what)
        except DbtoolsError as error:
            return _failed(job.action, title, error, printed)
    return Result(job.action)


def _failed(action: str, title: str, error: DbtoolsError, printed: Sequence[str]) -> Result:
    """Return the result of a step that failed: by the server's error in its output, or else in its last words."""
    if found := diagnose(printed):
        return Result(action, error=f"{title}: {found.line}", sqlstate=found.sqlstate, subject=found.subject)
    why = (error.why or error.what).splitlines()[0]
    if printed and why.startswith("Its last lines"):
        why = next((line.strip() for line in reversed(printed) if line.strip()), why)
    return Result(action, error=f"{title}: {why}", subject=why)


def _drop(database: Dsn, job: Job) -> None:
    """Drop the schemas and make those that were there before the first step, with their extensions."""
    with open_session(database, "verify-concurrency") as session:
        for schema in job.schemas:
            session.execute(f"drop schema if exists {quote(schema)} cascade")
        for schema in dict.fromkeys(("public", job.schema)):
            if schema in job.schemas:
                session.execute(f"create schema {quote(schema)}")
        for name, schema in job.extensions:
            session.execute(f"create schema if not exists {quote(schema)}")
            session.execute(f"create extension if not exists {quote(name)} with schema {quote(schema)} cascade")
