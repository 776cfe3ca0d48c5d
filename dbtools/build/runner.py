"""Run the steps of a level on a scratch database, one after the other, and see that each of them did something."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbtools.build.child import StepResult, run_step
from dbtools.build.effects import Effects, check_alembic, check_migrated, count_content
from dbtools.build.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dbtools.build.scratch import Scratch
    from dbtools.config import Project
    from dbtools.config.steps import Step
    from dbtools.db.dsn import Dsn


@dataclass(frozen=True)
class StepDone:
    """What a step on a scratch database has done. The counts are those before and after it."""

    label: str
    """Its place: "migrate 1 of 2"."""
    title: str
    seconds: float
    tables: tuple[int, int]
    rows: tuple[int, int]
    led: tuple[str, ...]
    """What the connections of its Python programs were led away from, without those that named the scratch database."""


@dataclass(frozen=True)
class Runner:
    """Runs steps of a project."""

    project: Project
    environ: Mapping[str, str] = field(repr=False)
    folder: Path
    """For the files that steps need."""
    output: Callable[[str], None] | None = None
    record: Path | None = None
    """Where Python steps note what they read."""
    watch: Callable[[StepDone], None] | None = None
    """Told what each step has done."""

    def run(self, role: str, steps: Sequence[Step], scratch: Scratch) -> StepResult:
        """Run the steps and return what they tell together.

        Raises:
            StepFailed: One failed, left something behind, or did nothing; or after all of them there is no table.
        """
        told = StepResult(0.0)
        for number, step in enumerate(steps, 1):
            size = self._recorded()
            label = f"{role} {number} of {len(steps)}"
            before = count_content(scratch) if self.watch else (0, 0)
            with Effects(scratch, step.title):
                result = self.run_step(step, scratch.dsn, label)
            if self.watch:
                after = count_content(scratch)
                tables, rows = (before[0], after[0]), (before[1], after[1])
                led = self._led(size, scratch)
                self.watch(StepDone(label, step.title, result.seconds, tables, rows, led))
            if self.record and self._recorded() == size:  # whatever it read is not known
                with self.record.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"program": step.title}) + "\n")
            if result.heads:
                check_alembic(scratch, result.heads)
            told = StepResult(
                told.seconds + result.seconds, told.heads + result.heads, told.revisions + result.revisions
            )
        if role == "migrate":
            no_revision = not told.heads and any(step.kind == "alembic" for step in steps)
            check_migrated(scratch, [step.title for step in steps], no_revision=no_revision)
        return told

    def _led(self, size: int, scratch: Scratch) -> tuple[str, ...]:
        led = Record.read(self.record, size).led
        return tuple(sorted(place for place in led if not place.endswith(f"/{scratch.dsn.dbname}")))

    def _recorded(self) -> int:
        return self.record.stat().st_size if self.record and self.record.exists() else 0

    def run_step(self, step: Step, database: Dsn, place: str, *, fence: int | None = None) -> StepResult:
        """Run one step; `place` is what its errors call it.

        Raises:
            StepFailed: It failed.
        """
        return run_step(
            step,
            database,
            self.project,
            workspace=self.folder,
            output=self.output,
            record=self.record,
            fence=fence,
            environ=self.environ,
            label=place,
        )
