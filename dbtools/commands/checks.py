"""Tasks that examine: the database as it is, and whether the lock holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.tasks import task

from dbtools import config, console
from dbtools.commands.common import describe, reported, target_of
from dbtools.errors import UNCHANGED, ConfigurationError, VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invoke.context import Context


@task(
    auto_shortflags=False,
    iterable=["allow_host"],
    help=describe(
        "profile",
        "as_of",
        "confirm",
        "allow_host",
        "json",
        "evidence",
        "debug",
        rounds="Rounds of each arm (default 4); odd ones start seeders only",
        seeders="Seeders in each round (default 3)",
        resets="Resets in each round (default 2)",
        **{"no-schedules": "Leave out the proof by schedules"},
    ),
)
@reported
def verify_concurrency(
    _context: Context,
    rounds: str = "",
    seeders: str = "",
    resets: str = "",
    profile: str = "",
    as_of: str = "",
    confirm: str = "",
    allow_host: Sequence[str] | None = None,  # None, or Invoke does not collect
    no_schedules: bool = False,
    json: bool = False,
    evidence: str = "",
    debug: bool = False,
) -> None:
    """Show the race without the lock, and that it is gone with it.

    By schedules, on a throwaway server: without the lock the race lab must find the duplicate key, with it no schedule
    may fail, and with different keys the race must be back. And by chance: real seeders and resets start at one
    moment, over several rounds, in two arms. Without protection a duplicate key must appear; with the lock every
    process must succeed, one after the other, and leave the same content. Exit code 6 when one of these fails to
    happen. Destroys the data in the application's schema.

        invoke verify-concurrency
        invoke verify-concurrency --rounds 10 --evidence race.md
    """
    from dbtools.chain import guard
    from dbtools.checks.concurrency import HEADINGS, verify
    from dbtools.checks.schedules import Proof, prove

    guard.check_environment("verify-concurrency")
    out = console.Console(quiet=json)
    project = config.Project.find()
    counts = {
        name: int(config.parse_number(f"--{name}", text, low=low)) if text else default
        for name, text, low, default in (
            ("rounds", rounds, 1, 4),
            ("seeders", seeders, 0, 3),
            ("resets", resets, 0, 2),
        )
    }
    if counts["seeders"] + counts["resets"] < 2:
        raise ConfigurationError(
            "A race needs at least two processes.", "", "For example: --seeders 2 --resets 1", UNCHANGED
        )
    plan = config.SeedPlan.resolve(project.load_application(), profile=profile, as_of=as_of)
    target = target_of(project, out, confirm=confirm, allow_host=allow_host)
    found = verify(project, target, plan, note=out.note, **counts)
    by_schedules = Proof(skipped="--no-schedules was given.") if no_schedules else prove(project, out.note)
    complaints = [*by_schedules.complaints, *found.complaints]
    for line in by_schedules.lines():
        out.say(f"{line}\n")
    out.say(console.table(HEADINGS, found.rows()))
    out.say()
    for line in found.verdicts():
        out.say(line)
    if evidence:
        facts = {"target": target.dsn.masked} | {name: str(value) for name, value in found.setting.items()}
        code = 6 if complaints else 0
        console.write_evidence(Path(evidence), "invoke verify-concurrency", facts, out.lines, code)
    if json:
        out.data(found.to_json() | {"schedules": by_schedules.to_json(), "proved": not complaints})
    if complaints:
        raise VerificationFailed(
            "The proof failed.", "; ".join(complaints) + ".", "Run it again with --json to see every process."
        )


@task(auto_shortflags=False, help=describe("json", "debug"))
@reported
def doctor(_context: Context, json: bool = False, debug: bool = False) -> None:
    """Look at the database without changing it: rights, guard, lock, revision, and every rule of its data.

    invoke doctor
    """
    from dbtools.checks.doctor import examine

    out = console.Console(quiet=json)
    project = config.Project.find()
    target = target_of(project, out)
    findings = []
    for one in examine(target, project.migrations, project.cache, project.load_application(), os.environ):
        findings.append(one)
        out.say(str(one))
    if json:
        out.data({"findings": [vars(one) for one in findings]})
    bad = [one.name for one in findings if one.good is False]
    if bad:
        raise VerificationFailed(
            f"Not all is well with {target.dsn.target}.", f"{', '.join(bad)}.", "To rebuild it: invoke reset"
        )
