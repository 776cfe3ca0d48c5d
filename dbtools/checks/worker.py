"""A worker process of verify-concurrency: gets ready, waits for the start signal, runs the chain once, reports.

Worker and parent exchange lines: the job as JSON on standard input, "ready" on standard output, any line on standard
input as the start signal, the result as JSON on standard output. The connection string comes through the pipe, so that
no process list shows the password.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dbtools.build.snapshot import Snapshot
from dbtools.chain import reset, seed
from dbtools.chain.install import GivenSnapshot
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.chain.target import GuardRules, Target, Waits
from dbtools.config import Project, SeedPlan
from dbtools.db.dsn import Dsn
from dbtools.db.secrets import mask
from dbtools.errors import DbtoolsError


@dataclass(frozen=True)
class Job:
    """The work of one process."""

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
    snapshot: str
    """The folder of the snapshot that resets install."""
    seeds: bool
    """Whether the snapshot holds the rows of the seed steps."""
    environ: dict[str, str]
    """The variables that decide which users to add and what the guard allows."""
    confirm: str | None
    allow_hosts: list[str]
    protect: list[str]


@dataclass(frozen=True)
class Result:
    """How one process ended.

    After an error of the server, `sqlstate` is its SQLSTATE and `subject` the name of the constraint, or else of the
    error's class.
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


def run(job: Job) -> Result:
    """Get ready, run the job after the start signal, and return how it ended."""
    import psycopg  # imported before the signal, so that all workers start simultaneously

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
    source = GivenSnapshot(Snapshot(Path(job.snapshot)), job.seeds)
    with generate_in_background(application, plan) as rows:
        rows.copy_data()  # also before the signal: the race is between chains, not generators
        print("ready", flush=True)
        if not sys.stdin.readline():
            sys.exit(1)  # the parent is gone
        try:
            if job.action == "reset":
                outcome = reset(target, source, rows, NullReport())
            else:
                outcome = seed(target, source, rows, NullReport())
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
