"""The project's own steps as programs of a race: bare, with no lock and no snapshot. For `call` of an actor.

They run as in a build, led to the database that the lab gives them, whatever the project's settings name; so what they
are is what [tool.dbtools] says. Generated rows are left out: dbtools itself writes these, under its lock.
"""

from __future__ import annotations

import os
import sys

from dbtools.build.runner import Runner
from dbtools.build.temporary import temporary_folder
from dbtools.config import Project
from dbtools.db.connect import open_session
from dbtools.db.dsn import Dsn
from dbtools.errors import DbtoolsError

DROP = "drop owned by current_user cascade"
"""All that the role has made in the database, and not what a superuser has: extensions."""


def migrate(url: str) -> None:
    """Run the migrate steps on the database at `url`; a step that fails ends the process with exit code 1."""
    _run(url, "migrate")


def seed(url: str) -> None:
    """Run the seed steps."""
    _run(url, "seed")


def reset(url: str) -> None:
    """Drop everything, then run the migrate and the seed steps. The drop commits by itself, and so does each step."""
    with open_session(Dsn.parse(url), "race") as session:
        session.execute(DROP)
    _run(url, "migrate", "seed")


def _run(url: str, *roles: str) -> None:
    project, database = Project.find(), Dsn.parse(url)
    printed = False

    def show(line: str) -> None:
        nonlocal printed
        printed = True
        sys.stdout.write(f"{line}\n")

    with temporary_folder() as folder:
        runner = Runner(project, os.environ, folder, show)
        for role in roles:
            steps = [step for step in getattr(project, role) if step.kind != "rows"]
            for number, step in enumerate(steps, 1):
                try:
                    runner.run_step(step, database, f"{role} {number} of {len(steps)}")
                except DbtoolsError as error:  # its last lines are what the program itself has printed
                    sys.exit(1 if printed else f"{error.what} {error.why}")
