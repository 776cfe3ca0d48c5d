"""Prove the lock: the same processes, started simultaneously, collide without it and take turns with it.

Odd rounds start seeders only, even rounds seeders and resets. There are two arms. *Unprotected* runs the chain as the
incident's programs did, without a lock and with every statement its own transaction. It must show the collision, a
duplicate key in a table of the application: a check that cannot fail proves nothing. *Locked* runs the chain as it is
shipped: every process succeeds, the content after each round equals that of an undisturbed reset, and no two critical
sections overlap by the server's own clock. The workers are operating-system processes: Alembic's commands are not
thread-safe, and threads would share state that real jobs do not share.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dbtools.chain import reset
from dbtools.chain.guard import check_database
from dbtools.chain.install import GivenSnapshot
from dbtools.chain.markers import names_environment
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.checks.worker import Job, Result
from dbtools.db.connect import open_session
from dbtools.db.digest import digest
from dbtools.errors import VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbtools.chain.install import SnapshotSource
    from dbtools.chain.target import Target
    from dbtools.config import Project, SeedPlan

DUPLICATE_KEY = "23505 "
CATALOG_DUPLICATE = "23505 pg_"
"""Two chains that create the same table simultaneously: a race too, but not the one to show."""
MAX_ROUNDS = 10
"""Limit of the unprotected arm, which goes on until it has shown the collision."""


@dataclass(frozen=True)
class Round:
    """One simultaneous start of all processes, and the content of the database afterwards."""

    results: tuple[Result, ...]
    digest: str
    same_digest: bool

    @property
    def failures(self) -> Counter[str]:
        """How often each failure occurred: "23505 invoices_pkey"."""
        return Counter(
            f"{result.sqlstate} {result.subject}".strip() or result.error.partition(".")[0]
            for result in self.results
            if result.failed
        )

    @property
    def failed(self) -> int:
        """How many processes ended with an error."""
        return sum(result.failed for result in self.results)

    @property
    def duplicates(self) -> int:
        """How many processes failed on a duplicate key in a table of the application."""
        return sum(
            count
            for name, count in self.failures.items()
            if name.startswith(DUPLICATE_KEY) and not name.startswith(CATALOG_DUPLICATE)
        )

    @property
    def processes(self) -> str:
        """The processes started: "3 seed, 2 reset"."""
        counts = Counter(result.action for result in self.results)
        return ", ".join(f"{count} {action}" for action, count in counts.items())

    @property
    def overlaps(self) -> int:
        """How many critical sections began before the previous one had ended, by the server's clock."""
        spans = sorted((result.acquired_at, result.released_at) for result in self.results if result.acquired_at)
        return sum(later[0] < earlier[1] for earlier, later in pairwise(spans))


@dataclass(frozen=True)
class Evidence:
    """The rounds of both arms and the verdicts on them."""

    setting: dict[str, Any]
    unprotected: tuple[Round, ...]
    locked: tuple[Round, ...]

    @property
    def complaints(self) -> list[str]:
        """What contradicts the proof; empty if it holds."""
        found = []
        if not any(played.duplicates for played in self.unprotected):
            found.append(
                f"no duplicate key in {len(self.unprotected)} unprotected rounds: this check would miss the race"
            )
        for number, played in enumerate(self.locked, 1):
            if played.failures:
                found.append(f"round {number} with the lock: {_listed(played.failures)}")
            if played.overlaps:
                found.append(f"round {number} with the lock: {played.overlaps} critical sections overlap")
            if not played.same_digest:
                found.append(f"round {number} with the lock: the content differs from an undisturbed reset's")
        return found

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row of cells for each round, in the order of HEADINGS."""
        table: list[tuple[str, ...]] = []
        for arm, rounds in (("unprotected", self.unprotected), ("locked", self.locked)):
            for number, played in enumerate(rounds, 1):
                overlaps = str(played.overlaps) if arm == "locked" else "-"
                content = "same" if played.same_digest else "differs"
                longest = f"{max(result.waited for result in played.results):.2f} s" if arm == "locked" else "-"
                counts = (played.processes, str(played.failed), overlaps)
                table.append((arm, str(number), *counts, content, longest, _listed(played.failures)))
        return table

    def verdicts(self) -> list[str]:
        """Return what the rounds show, one sentence per line."""
        failed = sum(played.failed for played in self.unprotected)
        duplicates = sum(played.duplicates for played in self.unprotected)
        started = sum(len(played.results) for played in self.unprotected)
        lines = [f"Without the lock: {failed} of {started} processes failed, {duplicates} of them on a duplicate key."]
        started = sum(len(played.results) for played in self.locked)
        failed = sum(played.failed for played in self.locked)
        overlaps = sum(played.overlaps for played in self.locked)
        contents = len({played.digest for played in self.locked})
        lines.append(
            f"With the lock: {failed} of {started} processes failed, {overlaps} critical sections overlapped,"
            f" {contents} distinct content{'s' if contents != 1 else ''} after {len(self.locked)} rounds."
        )
        lines.append(f"{'✗' if self.complaints else '✓'} The lock is {'NOT ' if self.complaints else ''}proven.")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return everything for a machine."""
        return {"proved": not self.complaints, "complaints": self.complaints, **asdict(self)}


HEADINGS = ("arm", "round", "processes", "failed", "overlaps", "content", "longest wait", "what failed")


def verify(
    project: Project,
    target: Target,
    plan: SeedPlan,
    source: SnapshotSource,
    *,
    rounds: int,
    seeders: int,
    resets: int,
    note: Callable[[str], None],
    timeout: float = 120.0,
) -> Evidence:
    """Run both arms and return the evidence; the caller decides by `Evidence.complaints`.

    A round that takes longer than `timeout` seconds has failed, and its processes are killed. The database is freshly
    reset at the end.

    Raises:
        ResetRefused: The guard refused the database. Nothing was changed.
        DatabaseUnreachable: The server does not answer, or refuses the login.
        ChainFailed: An undisturbed reset between the rounds failed.
        VerificationFailed: A round took too long.
    """
    target, ready = _prepared(target, plan, source)
    expected = _undisturbed_reset(project, target, plan, ready)

    def play(arm: str, number: int) -> Round:
        unprotected = arm == "unprotected"
        actions = ["seed"] * (seeders + resets) if number % 2 else ["seed"] * seeders + ["reset"] * resets
        results = _race(
            [_job(project, target, plan, ready, action, unprotected=unprotected) for action in actions], timeout
        )
        with open_session(target.dsn, "verify-concurrency") as connection:
            found = digest(connection, target.schema).sha256
        played = Round(tuple(results), found, found == expected)
        note(f"{arm}, round {number}: {_listed(played.failures) or 'no failure'}")
        return played

    unprotected: list[Round] = []
    while len(unprotected) < MAX_ROUNDS and (
        len(unprotected) < rounds or not any(played.duplicates for played in unprotected)
    ):
        unprotected.append(play("unprotected", len(unprotected) + 1))
        # An unprotected round may leave anything behind; the next one starts from a whole database.
        _undisturbed_reset(project, target, plan, ready)
    locked = [play("locked", number) for number in range(1, rounds + 1)]
    setting = {"profile": plan.profile, "as_of": plan.as_of.isoformat(), "seed": plan.seed, "digest": expected}
    setting |= {"seeders": seeders, "resets": resets, "rounds": rounds, "lock_key": target.lock_key}
    return Evidence(setting, tuple(unprotected), tuple(locked))


def _prepared(target: Target, plan: SeedPlan, source: SnapshotSource) -> tuple[Target, GivenSnapshot]:
    """Ask the guard, and make the snapshot that all processes will install.

    The target is pinned to the server that the guard looked at: the unprotected runs do not ask it again.
    """
    with open_session(target.dsn, "verify-concurrency") as connection:
        check_database(connection, target, "verify-concurrency", environ=plan.environ)
        dsn = target.dsn.pinned(connection)
        found = source.find(connection)
    snapshot = found or source.build(dsn)
    allow_hosts = (*target.rules.allow_hosts, *filter(None, [dsn.hostaddr]))
    pinned = replace(target, dsn=dsn, rules=replace(target.rules, allow_hosts=allow_hosts))
    return pinned, GivenSnapshot(snapshot, source.seeds)


def _undisturbed_reset(project: Project, target: Target, plan: SeedPlan, ready: GivenSnapshot) -> str:
    with generate_in_background(project.load_application(), plan) as rows:
        reset(target, ready, rows, NullReport())
    with open_session(target.dsn, "verify-concurrency") as connection:
        return digest(connection, target.schema).sha256


def _job(
    project: Project, target: Target, plan: SeedPlan, ready: GivenSnapshot, action: str, *, unprotected: bool
) -> Job:
    return Job(
        action=action,
        url=target.dsn.url,
        root=str(project.root),
        profile=plan.profile,
        seed=plan.seed,
        as_of=plan.as_of.isoformat(),
        lock_key=target.lock_key,
        lock_timeout=target.waits.lock,
        schema=target.schema,
        unprotected=unprotected,
        snapshot=str(ready.snapshot.folder),
        seeds=ready.seeds,
        environ={
            name: text
            for name, text in plan.environ.items()
            if name.startswith("SEED_") or name == "ALLOW_RESET" or names_environment(name)
        },
        confirm=target.confirm,
        allow_hosts=[*target.rules.allow_hosts],
        protect=[*target.rules.protect],
    )


def _race(jobs: Sequence[Job], timeout: float) -> list[Result]:
    """Start one process per job, wait until all are ready, give the start signal, and return how each ended."""
    command = [sys.executable, "-m", "dbtools.checks.worker"]
    processes = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=job.root
        )
        for job in jobs
    ]
    killer = threading.Timer(timeout, _kill, [processes])
    killer.start()
    try:
        for process, job in zip(processes, jobs, strict=True):
            _send(process, json.dumps(asdict(job)))
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            _send(process, "go")
        return [_collect(process, job, timeout) for process, job in zip(processes, jobs, strict=True)]
    finally:
        killer.cancel()
        _kill(processes)
        for process in processes:
            process.communicate()


def _kill(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()


def _send(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died already, which _collect reports
        process.stdin.write(f"{line}\n")
        process.stdin.flush()


def _collect(process: subprocess.Popen[str], job: Job, timeout: float) -> Result:
    output, errors = process.communicate()
    if process.returncode < 0:
        raise VerificationFailed(
            f"A {job.action} process did not end within {timeout:.0f} s and was killed.",
            "The chain hung, or the server did.",
            "See who holds what: select * from pg_stat_activity where application_name like 'dbtools%';",
        )
    if process.returncode:
        last = errors.strip().splitlines()[-1] if errors.strip() else f"exit {process.returncode}"
        return Result(job.action, error=last)
    return Result(**json.loads(output))


def _listed(failures: Counter[str]) -> str:
    return ", ".join(f"{name} x{count}" for name, count in sorted(failures.items()))
