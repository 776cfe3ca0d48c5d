"""Find the snapshot for a project's steps as they are now, or make it on a scratch database, level by level."""

from __future__ import annotations

import datetime as dt
import functools
import getpass
import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from dbtools.build.comparison import other_extensions
from dbtools.build.level import list_levels, recipe_of, server_facts
from dbtools.build.manifest import Manifest
from dbtools.build.project_inputs import ProjectInputs
from dbtools.build.snapshot import MANIFEST, SnapshotDamaged

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    import psycopg

    from dbtools.build.level import Level
    from dbtools.build.runner import Runner, StepDone
    from dbtools.build.scratch import Scratch
    from dbtools.build.snapshot import Snapshot
    from dbtools.build.store import Store
    from dbtools.config import Project
    from dbtools.db.dsn import Dsn


@dataclass
class Builder:
    """Finds and makes the snapshots of a project."""

    project: Project
    store: Store
    environ: Mapping[str, str] = field(repr=False)
    """The variables that the steps get, those that name a database apart."""
    note: Callable[[str], None]
    """Told what is built, and why."""
    output: Callable[[str], None] | None = None
    """Given each line that the steps print."""
    rebuild: bool = False
    """Make snapshots again even where there are some."""
    watch: Callable[[StepDone], None] | None = None
    """Told what each step of a build has done."""
    _facts: str = ""
    """What of the server and its role decides the content."""

    @property
    def levels(self) -> list[Level]:
        """The levels that the project has."""
        return list_levels(self.project)

    @property
    def seeds(self) -> bool:
        """Whether there are seed steps, so that a snapshot holds more rows than the migrations made."""
        return self.levels[-1].role == "seed"

    def find(self, work: psycopg.Connection) -> Snapshot | None:
        """Return the snapshot for the steps as they are now and the server of `work`, None where there is none.

        Its files have been checked. `work` is in autocommit.
        """
        return self._last(self.find_levels(work))

    def find_levels(self, work: psycopg.Connection, note: Callable[[str], None] | None = None) -> list[Snapshot]:
        """Return the snapshots that fit, one for each of the first `levels`; those after them have to be built.

        `note` is told why the next one does not fit, and by default the builder's own is.
        """
        self._facts = server_facts(work)
        fitting: list[Snapshot] = []
        for level in self.levels:
            base = fitting[-1] if fitting else None
            found = None if self.rebuild else self._find_level(level, base, work, note or self.note)
            if found is None:
                break
            self.store.touch(found)
            fitting.append(found)
        return fitting

    def _last(self, fitting: list[Snapshot]) -> Snapshot | None:
        return fitting[-1] if fitting and len(fitting) == len(self.levels) else None

    def build(self, target: Dsn) -> Snapshot:
        """Make the snapshots that are missing, and return the last one. `find` was called before.

        Several builders of one project build once: the others wait, and find what was built.

        Raises:
            StepFailed: A step failed, or did nothing.
            ChainFailed: What the steps made cannot be kept in a snapshot.
            ServerError: There is no place for a scratch database.
        """
        from dbtools.build.attempts import build_again
        from dbtools.db.connect import open_session

        with self.store.locked(self._recipe(self.levels[-1], "")):
            with open_session(target, "build") as session:
                if found := self._last(self.find_levels(session, lambda _: None)):
                    return found
            listed = [f"{level.role} ({', '.join(step.title for step in level.steps)})" for level in self.levels]
            self.note(f"Building: {', '.join(listed)} …")
            return build_again(functools.partial(self._build, target), target, self.note)

    def upgrade(self, database: Dsn, fence: int) -> tuple[str, ...]:
        """Run the migrate steps on `database`, sessions of Python and psql behind the fence; return Alembic's heads."""
        from dbtools.build.temporary import temporary_folder

        heads: tuple[str, ...] = ()
        with temporary_folder() as folder:
            runner = self._runner(folder)
            for number, step in enumerate(self.project.migrate, 1):
                place = f"migrate {number} of {len(self.project.migrate)}"
                heads += runner.run_step(step, database, place, fence=fence).heads
        return heads

    def run(self, scratch: Scratch, *, seed: bool = True) -> None:
        """Run the steps on a scratch database, with `seed` also those that fill it, and store nothing."""
        from dbtools.build.temporary import temporary_folder

        with temporary_folder() as folder:
            for level in self.levels:
                if seed or level.role == "migrate":
                    self._runner(folder).run(level.role, level.steps, scratch)

    def _build(self, target: Dsn, *, extensions: bool = False, without: Collection[str] = ()) -> Snapshot:
        from dbtools.build.replay import restore
        from dbtools.build.scratch import scratch_database

        project = self.project
        with scratch_database(
            target, project.schema, project.server, extensions=extensions, without=without
        ) as scratch:
            base: Snapshot | None = None
            held: Snapshot | None = None
            """What the scratch database holds."""
            for level in self.levels:
                found = None
                if not self.rebuild:
                    found = self._find_level(level, base, scratch.session, lambda _: None)
                if found is None:
                    if base is not None and base is not held:
                        restore(scratch.session, base)
                    found = held = self._make(level, base, scratch)
                base = found
        assert base is not None
        return base

    def _find_level(
        self, level: Level, base: Snapshot | None, work: psycopg.Connection, note: Callable[[str], None]
    ) -> Snapshot | None:
        reason = ""
        for snapshot in self.store.find(self._recipe(level, base.manifest.key if base else "")):
            if different := self._inputs.difference(snapshot.manifest) or other_extensions(work, snapshot.manifest):
                reason = reason or different  # what has changed since the latest
                continue
            try:
                snapshot.check()
            except SnapshotDamaged as error:
                note(f"{error.what} {error.why} It is built again")
                continue
            return snapshot
        if reason:
            note(f"No snapshot of the {level.role} steps fits any more: {reason}")
        return None

    def _make(self, level: Level, base: Snapshot | None, scratch: Scratch) -> Snapshot:
        from dbtools.build.dump import write_content
        from dbtools.build.temporary import temporary_folder

        project, recipe = self.project, self._recipe(level, base.manifest.key if base else "")
        with self.store.draft() as draft, temporary_folder() as folder:
            record = folder / "record"
            before = self._inputs.take_moment()
            ran = self._runner(folder, record).run(level.role, level.steps, scratch)
            inputs = self._inputs.describe(record)
            content = write_content(scratch.session, scratch.dsn, project.schema, draft, project.schemas)
            key = hashlib.sha256(repr((recipe, json.dumps(inputs.to_json(), sort_keys=True))).encode()).hexdigest()
            manifest = Manifest(
                recipe=recipe,
                key=key,
                made_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                made_by=_account(),
                project=project.root.name,
                steps=((base.manifest.steps if base else ()) + tuple(step.title for step in level.steps)),
                role=scratch.role,
                inputs=inputs.to_json(),
                revisions=ran.revisions or (base.manifest.revisions if base else ()),
                heads=ran.heads or (base.manifest.heads if base else ()),
                **content,
            )
            (draft / MANIFEST).write_text(manifest.to_json(), "utf-8")
            reason = before.change_since(inputs)
            if reason:
                self.note(f"{reason}, so this snapshot is not kept")
            elif not inputs.known:
                self.note("Nothing tells what the steps read, so they run every time: set [tool.dbtools] inputs")
            return self.store.publish(draft, recipe, key, once=bool(reason) or not inputs.known)

    def _recipe(self, level: Level, base: str) -> str:
        return recipe_of(level, self.project, self._facts, base)

    @cached_property
    def _inputs(self) -> ProjectInputs:
        return ProjectInputs(self.project, self.environ, self.store.memory)

    def _runner(self, folder: Path, record: Path | None = None) -> Runner:
        from dbtools.build.runner import Runner

        return Runner(self.project, self.environ, folder, self.output, record, self.watch)


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry in the password database
        return f"account {os.geteuid()}"
