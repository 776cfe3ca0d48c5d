"""A worker process of verify-concurrency: gets ready, waits for the start signal, works once, reports.

Worker and parent exchange lines: the job as JSON on standard input, "ready" on standard output, any line on standard
input as the start signal, the result as JSON on standard output. The connection string comes through the pipe, so that
no process list shows the password. A worker ends with its parent, and with it the steps that it runs.
"""

from __future__ import annotations

import datetime as dt
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dbtools.build.snapshot import Snapshot
from dbtools.chain import reset, seed
from dbtools.chain.install import GivenSnapshot
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.chain.target import Target, Waits
from dbtools.checks.bare import run_bare
from dbtools.checks.job import Job, Result
from dbtools.config import Project, SeedPlan
from dbtools.db.dsn import Dsn
from dbtools.db.secrets import mask
from dbtools.errors import DbtoolsError
from dbtools.server.run_as import signal_at_parent_death


def run(job: Job) -> Result:
    """Get ready, run the job after the start signal, and return how it ended."""
    return run_bare(job, _wait_for_start) if job.arm == "bare" else _run_chain(job)


def _wait_for_start() -> None:
    print("ready", flush=True)
    if not sys.stdin.readline():
        sys.exit(1)  # the parent is gone


def _run_chain(job: Job) -> Result:
    import psycopg  # imported before the signal, so that all workers start simultaneously

    project = Project.find(Path(job.root))
    application = project.load_application()
    # The guard has nothing to decide: the database was made for this.
    environ = job.environ | {"ALLOW_RESET": "true"}
    plan = SeedPlan(job.profile, dt.date.fromisoformat(job.as_of), job.seed, environ=environ)
    target = Target(
        Dsn.parse(job.url),
        job.lock_key,
        Waits(job.lock_timeout),
        schema=job.schema,
        in_place=job.in_place,
        unprotected=job.arm == "unprotected",
    )
    source = GivenSnapshot(Snapshot(Path(job.snapshot)), job.seeds)
    with generate_in_background(application, plan) as rows:
        rows.copy_data()  # also before the signal: the race is between chains, not generators
        _wait_for_start()
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
    signal_at_parent_death(signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a step is then ended with all that it started
    print(json.dumps(asdict(run(Job(**json.loads(sys.stdin.readline()))))), flush=True)
