"""Start the same processes simultaneously in two arms: without dbtools' protection they collide, with it they do not.

All of it happens on throwaway databases (see `stage`). The first arm shows what happens without the lock:

- *bare*, where the project's own steps make the content: those steps, as the project's scripts would run them. What
  fails or doubles when they run one after the other is no race (see `reference`).
- *unprotected*, where dbtools generates the rows: the chain as the incident's programs did it, without a lock and with
  every statement its own transaction. It must show the collision.

The second arm runs the chain as it is shipped: every process succeeds, the content after each round equals that of an
undisturbed reset, no two critical sections overlap by the server's own clock, and no read of a reader fails meanwhile.

Odd rounds start seeders only, even rounds seeders and resets. The workers are operating-system processes: Alembic's
commands are not thread-safe, and threads would share state that real jobs do not share.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from dbtools.chain.phase import Outcome, phase
from dbtools.checks.content import Unsteady, differences
from dbtools.checks.evidence import Evidence, StepsEvidence
from dbtools.checks.reader import Reads, reader
from dbtools.checks.reference import observe
from dbtools.checks.round import COMPLETE, MIGRATED, Round
from dbtools.checks.stage import open_stage
from dbtools.errors import UNCHANGED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dbtools.build.builder import Builder
    from dbtools.chain.target import Target
    from dbtools.checks.content import Content
    from dbtools.checks.job import Arm
    from dbtools.checks.reference import Reference
    from dbtools.checks.stage import Stage
    from dbtools.config import Project, SeedPlan
    from dbtools.db.dsn import Dsn

MAX_ROUNDS = 10
"""Limit of the first arm, which goes on until it has shown a collision."""


def verify(
    project: Project,
    target: Target,
    plan: SeedPlan,
    builder: Builder,
    *,
    rounds: int,
    seeders: int,
    resets: int,
    note: Callable[[str], None],
    timeout: float = 120.0,
) -> Evidence:
    """Run both arms and return the evidence; the caller decides by `Evidence.complaints`.

    The target is only read, to make the throwaway databases like it. A round may take `timeout` seconds, or longer
    where the project's own steps take long. No process and no database is left when this returns or raises.

    Raises:
        DatabaseUnreachable: The server does not answer, or refuses the login.
        StepFailed: A step failed when nothing else ran, or did nothing. Then no process was started.
        ServerError: There is no place for a throwaway database.
        ChainFailed: An undisturbed reset between the rounds failed.
        VerificationFailed: A round of the chain took too long.
    """
    with (
        phase("verify", UNCHANGED, Outcome("verify-concurrency")),
        open_stage(project, target, plan, builder, timeout) as stage,
    ):
        first = stage.first.dsn
        stage.reset(first)
        expected = stage.content(first)
        setting = {"profile": plan.profile, "as_of": plan.as_of.isoformat(), "seed": plan.seed}
        setting |= {"digest": expected.sha256, "seeders": seeders, "resets": resets, "rounds": rounds}
        setting |= {"lock_key": target.lock_key, "databases": f"on {stage.first.place}"}
        return _Arms(stage, expected, seeders, resets, note).play(setting, rounds)


class _Arms:
    def __init__(self, stage: Stage, expected: Content, seeders: int, resets: int, note: Callable[[str], None]) -> None:
        self._stage, self._expected, self._note = stage, expected, note
        self._seeders, self._resets = seeders, resets
        self._has_own_steps = not stage.project.application_path

    def play(self, setting: dict[str, Any], rounds: int) -> Evidence:
        if not self._has_own_steps:
            return Evidence(setting, self._until_collided(Evidence, rounds, None), self._locked(Evidence, rounds))
        self._note("One after the other, to know what is no race …")
        reference = observe(self._stage, self._expected, [self._actions(number) for number in (1, 2)])
        bare = self._until_collided(StepsEvidence, rounds, reference)
        return StepsEvidence(setting, bare, self._locked(StepsEvidence, rounds), tuple(reference.notes()))

    def _until_collided(self, kind: type[Evidence], rounds: int, reference: Reference | None) -> tuple[Round, ...]:
        played: tuple[Round, ...] = ()
        while len(played) < rounds or (len(played) < MAX_ROUNDS and not kind({}, played, ()).collided):
            number = len(played) + 1
            start = self._start(number) if reference else COMPLETE
            # A round may leave anything behind; each has a database of its own.
            with self._database(start) as database:
                played += (
                    self._play(kind, "bare" if reference else "unprotected", number, database, start, reference),
                )
        return played

    def _locked(self, kind: type[Evidence], rounds: int) -> tuple[Round, ...]:
        database = self._stage.first.dsn
        return tuple(self._play(kind, "locked", number, database, COMPLETE, None) for number in range(1, rounds + 1))

    def _play(
        self, kind: type[Evidence], arm: Arm, number: int, database: Dsn, start: str, reference: Reference | None
    ) -> Round:
        stage, actions = self._stage, self._actions(number)
        with reader(database, stage.tables) if arm == "locked" else nullcontext(Reads()) as reads:
            results = stage.run(database, arm, actions)
        found = stage.content(database)
        if reference is None:
            different = differences(found, self._expected, Unsteady())
        else:
            different = reference.differences(found, actions, start)
        excused = reference.excused if reference else ()
        played = Round(results, found.sha256, not different, start, tuple(different), excused, reads)
        self._note(f"{kind.ARMS[arm == 'locked']}, round {number}: {played.found or 'no failure'}")
        return played

    def _actions(self, number: int) -> list[str]:
        if not self._stage.project.seed:  # then a seed would be nothing
            return ["reset"] * (self._seeders + self._resets)
        if number % 2:
            return ["seed"] * (self._seeders + self._resets)
        return ["seed"] * self._seeders + ["reset"] * self._resets

    def _start(self, number: int) -> str:
        """Return what a bare round starts from: seeders meet tables that are not filled yet, or those that are."""
        return MIGRATED if number % 4 == 1 and self._stage.project.seed else COMPLETE

    @contextmanager
    def _database(self, start: str) -> Iterator[Dsn]:
        if start == COMPLETE:
            with self._stage.database() as database:
                yield database
            return
        with self._stage.empty_database() as scratch:
            self._stage.builder.run(scratch, seed=False)
            yield scratch.dsn
