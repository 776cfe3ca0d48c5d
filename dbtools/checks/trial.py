"""Try a reset aside: run the steps on a scratch database, and install what they made into another one, twice."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from dbtools import chain
from dbtools.build.scratch import scratch_database
from dbtools.chain.install import GivenSnapshot
from dbtools.chain.phase import Outcome, phase
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.checks.findings import Finding
from dbtools.config import SeedPlan
from dbtools.errors import UNCHANGED, DbtoolsError
from dbtools.words import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbtools.application import Application
    from dbtools.build.builder import Builder
    from dbtools.build.runner import StepDone
    from dbtools.build.snapshot import Snapshot
    from dbtools.chain.target import Target
    from dbtools.db.dsn import Dsn
    from dbtools.server.requirements import Requirements


def try_steps(builder: Builder, target: Dsn, *, needed: bool) -> tuple[list[Finding], Snapshot | None]:
    """Build anew; return what each step did, and the snapshot, None where a step failed.

    Unless it is `needed`, because a snapshot fits that a reset would install, a failure is a fact and stops no reset.
    """
    done: dict[str, StepDone] = {}
    maker = replace(builder, rebuild=True, watch=lambda step: done.update({step.label: step}))
    failed: list[Finding] = []
    snapshot = None
    try:
        with phase("build", UNCHANGED, Outcome("build")):
            snapshot = maker.build(target)
    except DbtoolsError as error:
        failed.append(Finding.of("build", error, stops=needed))
    return [*map(_describe, done.values()), *failed], snapshot


def _describe(step: StepDone) -> Finding:
    tables, rows = "tables {} to {}".format(*step.tables), "rows {} to {}".format(*step.rows)
    led = f"Led here, although the project's settings name: {', '.join(step.led)}" if step.led else ""
    return Finding(f"ran {step.label} ({step.title})", True, f"{tables}, {rows}, in {step.seconds:.1f} s", led)


def try_install(
    target: Target,
    snapshot: Snapshot,
    application: Application | None,
    environ: Mapping[str, str],
    requirements: Requirements,
) -> Finding:
    """Reset a scratch database twice, the second time over the first: with the rows of the application, and triggers.

    The guard has nothing to protect there.
    """
    started = time.monotonic()
    try:
        plan = SeedPlan.resolve(application, environ={**environ, "ALLOW_RESET": "true"})
        with (
            phase("trial", UNCHANGED, Outcome("reset")),
            scratch_database(target.dsn, target.schema, requirements) as scratch,
            generate_in_background(application, plan) as rows,
        ):
            there = replace(target, dsn=scratch.dsn, confirm=scratch.dsn.dbname)
            for _ in range(2):
                outcome = chain.reset(there, GivenSnapshot(snapshot), rows, NullReport())
    except DbtoolsError as error:
        return Finding.of("trial", error)
    seconds = time.monotonic() - started
    return Finding(
        "trial",
        True,
        f"two resets of a scratch database on {scratch.place}, {number_of(outcome.rows, 'row')}, in {seconds:.1f} s",
    )
