"""The task that adds the rows of a load."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dbtools import config, console
from dbtools.commands.common import (
    Options,
    find_project,
    find_target,
    handle_errors,
    option_help,
    parse_option,
    takes,
    task,
)
from dbtools.errors import UNCHANGED, ConfigurationError
from dbtools.words import number_of

if TYPE_CHECKING:
    from invoke.context import Context

    from dbtools.chain.blocks import Job

_OPTIONS = ("as_of", "seed", "lock_timeout", "pool_size", "confirm", "allow_host", "json", "debug")
_BAR = 24  # characters


@task(
    auto_shortflags=False,
    iterable=["allow_host"],
    help=option_help(
        *_OPTIONS,
        scale="How many blocks of rows there are in all (default 1)",
        shard="Add a share alone: 3/8 is the third of eight, job/8 that of JOB_COMPLETION_INDEX (default 1/1)",
        workers="Sessions that add rows side by side (default 1)",
    ),
)
@handle_errors
@takes(*_OPTIONS)
def load(_context: Context, options: Options, scale: str = "", shard: str = "", workers: str = "") -> None:
    """Add rows by the million, to measure on.

    The application computes them in blocks, and a block has the same bytes whoever adds it, so several processes may
    each add a share at the same time. Nothing is emptied: load after a reset that left the tables empty. All of them
    hold the seed lock in shared mode, so a reset waits until they have ended. A share is added as a whole, once; where
    its rows are there already, it is refused by their keys.

        SEED_KNOWN_USERS_ONLY=true invoke reset
        invoke load --scale 100 --workers 2
        invoke load --scale 100 --shard 3/8
    """
    from dbtools.application import HasLoad
    from dbtools.chain.blocks import Share
    from dbtools.chain.load import load as run

    out = console.Console(quiet=options.json)
    blocks = parse_option("--scale", scale, 1, low=1)
    threads = parse_option("--workers", workers, 1, low=1)
    share = Share(*config.parse_shard(shard))
    project = find_project()
    application = project.load_application()
    if not isinstance(application, HasLoad):
        raise ConfigurationError(
            "There is nothing to load.",
            f"[tool.dbtools] in {project.root / 'pyproject.toml'} names no application with a method load.",
            "See dbtools.application.HasLoad; or seed what there is: invoke seed",
            UNCHANGED,
        )
    plan = config.SeedPlan.resolve(application, as_of=options.as_of, seed=options.seed)
    content = application.load(blocks, plan.seed, plan.as_of)
    share.blocks(content.blocks)  # before a server is started for nothing
    started = time.monotonic()

    def show(job: Job) -> None:
        out.progress(describe(job, time.monotonic() - started))

    try:
        outcome, job = run(find_target(project, out, options), content, share, threads, plan, out, show)
    finally:
        out.progress("")
    seconds = outcome.seconds["load"]
    rows = job.rows.total()
    size = f"{number_of(rows, 'row')}, {job.bytes / 1e6:.0f} MB"
    out.done(f"Load complete: {size} in {seconds:.1f} s, {rows / seconds:.0f} rows a second")
    if options.json:
        out.data(
            {
                "action": "load",
                "scale": blocks,
                "shard": f"{share.number}/{share.of}",
                "as_of": plan.as_of.isoformat(),
                "seed": plan.seed,
                "rows": dict(job.rows),
                "bytes": job.bytes,
                "waited": round(outcome.waited, 3),
                "seconds": outcome.seconds,
            }
        )


def describe(job: Job, seconds: float) -> str:
    """Return how far a job is after so many seconds: a bar, rows, rate, and the time left where it can be told."""
    filled = _BAR * job.done // job.size
    rows = job.rows.total()
    text = f"[{'#' * filled}{'-' * (_BAR - filled)}] {100 * job.done // job.size} %, {rows:,} rows"
    if not job.done:
        return text
    left = round(seconds * (job.size - job.done) / job.done)
    return f"{text}, {rows / seconds:,.0f} rows/s, {left // 60}:{left % 60:02} left"
