"""One process of verify-concurrency: gets ready, waits for the word, runs the chain once, reports.

Talks with its parent in lines: a job as JSON on standard input, "ready" on standard output, any line on standard input
as the starting shot, the result as JSON on standard output. The connection string comes through the pipe, so that no
process list shows the password.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dbtools.chain import reset, seed
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.target import GuardRules, Target, Waits
from dbtools.config import Project, SeedPlan
from dbtools.db.dsn import Dsn, mask
from dbtools.errors import DbtoolsError


@dataclass(frozen=True)
class Job:
    """What one contender is to do."""

    action: str
    """"seed" or "reset"."""
    url: str
    root: str
    profile: str
    seed: int
    as_of: str
    lock_key: int
    lock_timeout: float
    schema: str
    unprotected: bool
    environ: dict[str, str]
    """The variables that say which users to add and what the guard lets pass."""
    confirm: str | None
    allow_hosts: list[str]
    protect: list[str]


@dataclass(frozen=True)
class Result:
    """How it ended.

    Where it was the server that said no: its SQLSTATE, and the constraint's name or else the error's.
    """

    action: str
    acquired_at: str = ""
    released_at: str = ""
    waited: float = 0.0
    error: str = ""
    sqlstate: str = ""
    subject: str = ""

    @property
    def failed(self) -> bool:
        """Whether the run ended with an error."""
        return bool(self.error)


class Silent:
    """A report that nobody reads."""

    def doing(self, text: str) -> None:
        """Nothing."""

    def done(self, text: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def run(job: Job) -> Result:
    """Run the job after the starting shot and return how it ended."""
    import psycopg  # paid before the shot: all contenders then start at one moment

    project = Project.find(Path(job.root))
    application = project.load_application()
    plan = SeedPlan(job.profile, dt.date.fromisoformat(job.as_of), job.seed, environ=job.environ)
    target = Target(
        Dsn.parse(job.url),
        job.lock_key,
        Waits(job.lock_timeout),
        schema=job.schema,
        confirm=job.confirm,
        rules=GuardRules(tuple(job.allow_hosts), tuple(job.protect)),
        unprotected=job.unprotected,
    )
    with generate_in_background(application, plan) as rows:
        rows.copy_data()  # paid before the shot too: what races is the chain, not the generator
        print("ready", flush=True)
        if not sys.stdin.readline():
            sys.exit(1)  # the parent is gone
        try:
            if job.action == "reset":
                outcome = reset(target, project.migrations, project.cache, rows, Silent())
            else:
                outcome = seed(target, rows, Silent())
        except DbtoolsError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, psycopg.Error):
                cause = cause.__cause__
            diagnosis: dict[str, Any] = {}
            if isinstance(cause, psycopg.Error):
                what = cause.diag.constraint_name or type(cause).__name__
                diagnosis = {"sqlstate": cause.sqlstate or "", "subject": what}
            return Result(job.action, error=mask(f"{error.what} {error.reason}"), **diagnosis)
    return Result(job.action, outcome.acquired_at, outcome.released_at, outcome.waited)


if __name__ == "__main__":
    print(json.dumps(asdict(run(Job(**json.loads(sys.stdin.readline()))))), flush=True)
