"""Tasks that check: the database as it is, and whether the lock holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from dbtools import config, console
from dbtools.commands.build import builder, step_environment
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
from dbtools.errors import UNCHANGED, ConfigurationError, VerificationFailed

if TYPE_CHECKING:
    from invoke.context import Context


_VERIFY_OPTIONS = ("profile", "as_of", "lock_timeout", "confirm", "allow_host", "json", "evidence", "debug")
_NOT_NEEDED = "Not needed any more: the database is not touched"


@task(
    auto_shortflags=False,
    iterable=["allow_host"],
    help=option_help(
        *_VERIFY_OPTIONS,
        rounds="Rounds of each arm (default 4); odd ones start seeders only",
        seeders="Seeders in each round (default 3)",
        resets="Resets in each round (default 2)",
        confirm=_NOT_NEEDED,
        **{"allow-host": _NOT_NEEDED, "no-schedules": "Leave out the proof by schedules"},
    ),
)
@handle_errors
@takes(*_VERIFY_OPTIONS)
def verify_concurrency(
    _context: Context,
    options: Options,
    rounds: str = "",
    seeders: str = "",
    resets: str = "",
    no_schedules: bool = False,
) -> None:
    """Show the race, and that the lock ends it.

    Real processes, seeders and resets, start simultaneously, over several rounds, in two arms. In the first the
    project's own steps run bare, as its scripts would run them; where dbtools generates the rows, its chain runs
    without the lock, and a duplicate key must appear. In the second every process works through dbtools: each must
    succeed, one after the other, and leave the same content. And by schedules, where the project has the scenario
    reset-vs-seed: without the lock the race lab must find the duplicate key, with it no schedule may fail, and with
    different keys the race must be back. Exit code 6 if any of this does not happen. All of it is done on throwaway
    databases.

        invoke verify-concurrency
        invoke verify-concurrency --rounds 10 --evidence race.md
    """
    from dbtools.chain import guard
    from dbtools.checks.concurrency import verify
    from dbtools.checks.evidence import HEADINGS
    from dbtools.checks.schedules import Proof, prove
    from dbtools.checks.timeline import timelines
    from dbtools.commands.evidence import prepare_evidence, write_evidence

    guard.check_environment(
        "verify-concurrency", allow="If the project's programs may run many times here, set ALLOW_RESET=true"
    )
    out = console.Console(quiet=options.json)
    project = find_project()
    counts = {
        "rounds": parse_option("--rounds", rounds, 4, low=1),
        "seeders": parse_option("--seeders", seeders, 3, low=0),
        "resets": parse_option("--resets", resets, 2, low=0),
    }
    if counts["seeders"] + counts["resets"] < 2:
        raise ConfigurationError(
            "A race needs at least two processes.", "", "For example: --seeders 2 --resets 1", UNCHANGED
        )
    plan = config.SeedPlan.resolve(project.load_application(), profile=options.profile, as_of=options.as_of)
    target = find_target(project, out, options)
    if options.confirm or options.allow_host:
        out.note("--confirm and --allow-host are not needed any more: the database is not touched")
    if options.evidence:
        prepare_evidence(Path(options.evidence))
    maker = builder(project, out, step_environment(plan, options))
    evidence = verify(project, target, plan, maker, note=out.note, **counts)
    by_schedules = Proof(skipped="--no-schedules was given.") if no_schedules else prove(project, out.note)
    complaints = [*by_schedules.complaints, *evidence.complaints]
    for line in by_schedules.lines():
        out.say(f"{line}\n")
    out.say(console.table(HEADINGS, evidence.rows()))
    out.say()
    for line in evidence.verdicts():
        out.say(line)
    if options.evidence:
        facts = {"target": target.dsn.masked} | {name: str(value) for name, value in evidence.setting.items()}
        code = VerificationFailed.exit_code if complaints else 0
        drawing = timelines(evidence.locked)
        write_evidence(
            Path(options.evidence), f"{console.program()} verify-concurrency", facts, out.lines, code, drawing
        )
    if options.json:
        out.data(
            evidence.to_json() | {"schedules": by_schedules.to_json(), "proved": evidence.proved and not complaints}
        )
    if complaints:
        raise VerificationFailed(
            "The proof failed.", "; ".join(complaints) + ".", "Run it again with --json to see every process."
        )


@task(
    auto_shortflags=False,
    help=option_help(
        "json",
        "debug",
        build="Run the steps on a scratch database, keep their snapshot, and try a reset of another one with it",
        lock="Try with two sessions whether the advisory lock excludes through this URL",
    ),
)
@handle_errors
def doctor(_context: Context, build: bool = False, lock: bool = False, json: bool = False, debug: bool = False) -> None:
    """Say whether a reset will work, or why not.

    Says also whether the data keeps its rules. The database is not changed, and no step runs. With --build the steps
    run, on a database of their own. Exit code 6 if a reset would not work, or a rule is broken. With --lock two
    sessions try whether the advisory lock excludes through this very URL, past poolers and proxies; exit code 6 also if
    it does not.

        invoke doctor
        invoke doctor --build
        invoke doctor --lock
    """
    from dbtools.checks.doctor import examine
    from dbtools.checks.findings import judge

    out = console.Console(quiet=json)
    project = find_project()
    target = find_target(project, out)
    findings = []
    for finding in examine(
        target, builder(project, out), project.load_application(), os.environ, build=build, lock=lock
    ):
        findings.append(finding)
        out.say(str(finding))
    verdict = judge(findings)
    out.say(verdict.text)
    if json:
        found = [finding.to_json() for finding in findings]
        out.data({"findings": found, "works": verdict.works, "verdict": verdict.text})
    if not verdict.is_sound:
        raise Exit(code=VerificationFailed.exit_code)
