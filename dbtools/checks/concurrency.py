"""Prove the lock: the same processes, started at once, collide without it and take turns with it.

Every odd round starts seeders only, every even one seeders and resets. Two arms. *Unprotected* runs the chain as the
incident's programs did, without lock and with every statement its own transaction, and must show the collision, a
duplicate key in an application's table: a check that cannot fail proves nothing. *Locked* runs it as it is shipped:
every process succeeds, the content after each round is what a quiet reset makes, and no two critical sections overlap
by the server's own clock. Real operating-system processes: Alembic's commands are not thread-safe, and threads of one
process would share what real jobs do not.
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
from dbtools.chain.guard import MARKERS, check_database
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.checks.worker import Job, Result
from dbtools.db.connect import open_session
from dbtools.db.digest import digest
from dbtools.errors import VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dbtools.chain.target import Target
    from dbtools.config import Project, SeedPlan

DUPLICATE_KEY = "23505 "
CATALOGUE = "23505 pg_"
"""Two chains that create the same table at once collide here. A race too, but not the one that is to be shown."""
GUARDED = {"ALLOW_RESET", *MARKERS}
MOST_ROUNDS = 10
"""The unprotected arm goes on for so many rounds when the collision has not shown yet."""


@dataclass(frozen=True)
class Round:
    """One start of all processes, and what was in the database afterwards."""

    results: tuple[Result, ...]
    digest: str
    same_digest: bool

    @property
    def failures(self) -> Counter[str]:
        """What went wrong how often: "23505 invoices_pkey"."""
        return Counter(
            f"{one.sqlstate} {one.subject}".strip() or one.error.partition(".")[0] for one in self.results if one.failed
        )

    @property
    def failed(self) -> int:
        """How many processes ended with an error."""
        return sum(one.failed for one in self.results)

    @property
    def duplicates(self) -> int:
        """How many processes died on a duplicate key in a table of the application."""
        return sum(
            count
            for name, count in self.failures.items()
            if name.startswith(DUPLICATE_KEY) and not name.startswith(CATALOGUE)
        )

    @property
    def processes(self) -> str:
        """Who was started: "3 seed, 2 reset"."""
        return ", ".join(f"{count} {action}" for action, count in Counter(one.action for one in self.results).items())

    @property
    def overlaps(self) -> int:
        """How many critical sections began before the one before them had ended, by the server's clock."""
        spans = sorted((one.acquired_at, one.released_at) for one in self.results if one.acquired_at)
        return sum(later[0] < earlier[1] for earlier, later in pairwise(spans))


@dataclass(frozen=True)
class Evidence:
    """The rounds of both arms and the verdicts on them."""

    setting: dict[str, Any]
    unprotected: tuple[Round, ...]
    locked: tuple[Round, ...]

    @property
    def complaints(self) -> list[str]:
        """What speaks against the proof; empty when it holds."""
        found = []
        if not any(one.duplicates for one in self.unprotected):
            found.append(
                f"no duplicate key in {len(self.unprotected)} unprotected rounds: this check would miss the race"
            )
        for number, one in enumerate(self.locked, 1):
            if one.failures:
                found.append(f"round {number} with the lock: {_listed(one.failures)}")
            if one.overlaps:
                found.append(f"round {number} with the lock: {one.overlaps} critical sections overlap")
            if not one.same_digest:
                found.append(f"round {number} with the lock: the content differs from a quiet reset's")
        return found

    def rows(self) -> list[tuple[str, ...]]:
        """The table a person reads: a row a round."""
        table: list[tuple[str, ...]] = []
        for arm, rounds in (("unprotected", self.unprotected), ("locked", self.locked)):
            for number, one in enumerate(rounds, 1):
                overlaps = str(one.overlaps) if arm == "locked" else "-"
                content = "same" if one.same_digest else "differs"
                longest = f"{max(result.waited for result in one.results):.2f} s" if arm == "locked" else "-"
                table.append(
                    (
                        arm,
                        str(number),
                        one.processes,
                        str(one.failed),
                        overlaps,
                        content,
                        longest,
                        _listed(one.failures),
                    )
                )
        return table

    def verdicts(self) -> list[str]:
        """What the rounds show, a sentence each."""
        failed = sum(one.failed for one in self.unprotected)
        duplicates = sum(one.duplicates for one in self.unprotected)
        started = sum(len(one.results) for one in self.unprotected)
        lines = [f"Without the lock: {failed} of {started} processes failed, {duplicates} of them on a duplicate key."]
        started = sum(len(one.results) for one in self.locked)
        failed = sum(one.failed for one in self.locked)
        overlaps = sum(one.overlaps for one in self.locked)
        contents = len({one.digest for one in self.locked})
        lines.append(
            f"With the lock: {failed} of {started} processes failed, {overlaps} critical sections overlapped,"
            f" {contents} distinct content{'s' if contents != 1 else ''} after {len(self.locked)} rounds."
        )
        lines.append(f"{'✗' if self.complaints else '✓'} The lock is {'NOT ' if self.complaints else ''}proven.")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Everything, for a machine."""
        return {"proved": not self.complaints, "complaints": self.complaints, **asdict(self)}


HEADINGS = ("arm", "round", "processes", "failed", "overlaps", "content", "longest wait", "what failed")


def verify(
    project: Project,
    target: Target,
    plan: SeedPlan,
    *,
    rounds: int,
    seeders: int,
    resets: int,
    note: Callable[[str], None],
    timeout: float = 120.0,
) -> Evidence:
    """Run both arms and return what was seen; the caller decides by `Evidence.complaints`.

    `timeout` is the seconds a round may take before its processes are killed and the proof has failed. The database
    ends freshly reset.

    Raises:
        ResetRefused: The guard said no. Nothing was changed.
        VerificationFailed: A round hung.
    """
    target = _guarded(target, plan)
    quiet = _quiet_reset(project, target, plan)

    def play(arm: str, number: int) -> Round:
        unprotected = arm == "unprotected"
        actions = ["seed"] * (seeders + resets) if number % 2 else ["seed"] * seeders + ["reset"] * resets
        results = _race([_job(project, target, plan, action, unprotected=unprotected) for action in actions], timeout)
        with open_session(target.dsn, "verify-concurrency") as connection:
            found = digest(connection, target.schema).sha256
        one = Round(tuple(results), found, found == quiet)
        note(f"{arm}, round {number}: {_listed(one.failures) or 'no failure'}")
        return one

    unprotected: list[Round] = []
    while len(unprotected) < MOST_ROUNDS and (
        len(unprotected) < rounds or not any(one.duplicates for one in unprotected)
    ):
        unprotected.append(play("unprotected", len(unprotected) + 1))
        # What an unprotected round leaves behind may be anything; the next one starts from a whole database.
        _quiet_reset(project, target, plan)
    locked = [play("locked", number) for number in range(1, rounds + 1)]
    setting = {"profile": plan.profile, "as_of": plan.as_of.isoformat(), "seed": plan.seed, "digest": quiet}
    setting |= {"seeders": seeders, "resets": resets, "rounds": rounds, "lock_key": target.lock_key}
    return Evidence(setting, tuple(unprotected), tuple(locked))


def _guarded(target: Target, plan: SeedPlan) -> Target:
    """Ask the guard, and return the target as the one server that it looked at: the unprotected runs ask no more."""
    with open_session(target.dsn, "verify-concurrency") as connection:
        check_database(connection, target, "verify-concurrency", environ=plan.environ)
        dsn = target.dsn.pinned(connection)
    allow_hosts = (*target.rules.allow_hosts, *filter(None, [dsn.hostaddr]))
    return replace(target, dsn=dsn, rules=replace(target.rules, allow_hosts=allow_hosts))


def _quiet_reset(project: Project, target: Target, plan: SeedPlan) -> str:
    with generate_in_background(project.load_application(), plan) as rows:
        reset(target, project.migrations, project.cache, rows, NullReport())
    with open_session(target.dsn, "verify-concurrency") as connection:
        return digest(connection, target.schema).sha256


def _job(project: Project, target: Target, plan: SeedPlan, action: str, *, unprotected: bool) -> Job:
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
        environ={name: text for name, text in plan.environ.items() if name.startswith("SEED_") or name in GUARDED},
        confirm=target.confirm,
        allow_hosts=[*target.rules.allow_hosts],
        protect=[*target.rules.protect],
    )


def _race(jobs: Sequence[Job], timeout: float) -> list[Result]:
    """Start a process a job, wait until all are ready, give the starting shot, and collect how each ended."""
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
            _tell(process, json.dumps(asdict(job)))
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            _tell(process, "go")
        return [_collect(process, job, timeout) for process, job in zip(processes, jobs, strict=True)]
    finally:
        killer.cancel()
        _kill(processes)
        for process in processes:
            process.communicate()


def _kill(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died already; _collect says how
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
