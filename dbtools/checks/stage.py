"""Where rounds are played: throwaway databases, and the processes that are started on them.

The databases are made as those of a build: beside the target on its server where the role may create databases, else
on a throwaway server of the same major version. The target is never written to. A killed run's databases are dropped by
the next build.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dbtools.build.scratch import scratch_database
from dbtools.chain import reset
from dbtools.chain.install import GivenSnapshot
from dbtools.chain.markers import names_environment
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.chain.target import GuardRules
from dbtools.checks.content import read_content
from dbtools.checks.job import Job
from dbtools.checks.processes import run_at_once
from dbtools.db.connect import open_session
from dbtools.errors import UNCHANGED, VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dbtools.build.builder import Builder
    from dbtools.build.scratch import Scratch
    from dbtools.chain.target import Target
    from dbtools.checks.content import Content
    from dbtools.checks.job import Arm, Result
    from dbtools.config import Project, SeedPlan
    from dbtools.db.dsn import Dsn

_EXTENSIONS = """
select e.extname, n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace
where e.extname <> 'plpgsql' order by e.oid
"""


@dataclass
class Stage:
    """A place for throwaway databases, and all that is needed to start processes on them."""

    project: Project
    target: Target
    """The rules of the runs; its database is not used."""
    plan: SeedPlan
    builder: Builder
    ready: GivenSnapshot
    """The snapshot that all processes install."""
    first: Scratch
    """A throwaway database; the others are made beside it."""
    extensions: list[tuple[str, str]]
    """What the databases have before the first step, and the schema of each."""
    timeout: float
    """Seconds that a round may take."""

    @property
    def schemas(self) -> Sequence[str]:
        """The schemas that the steps fill."""
        return self.ready.snapshot.manifest.schemas

    @property
    def tables(self) -> list[tuple[str, str]]:
        """The tables that the steps make: schema and name."""
        return [(self.schemas[table.schema], table.name) for table in self.ready.snapshot.manifest.tables]

    @contextmanager
    def empty_database(self) -> Iterator[Scratch]:
        """Make a database in which no step has run, and drop it at the end of the block."""
        with scratch_database(self.first.dsn, self.project.schema, self.project.server, extensions=True) as scratch:
            yield scratch

    @contextmanager
    def database(self) -> Iterator[Dsn]:
        """Make a database with the whole content, and drop it at the end of the block."""
        with self.empty_database() as scratch:
            self.reset(scratch.dsn)
            yield scratch.dsn

    def reset(self, database: Dsn) -> None:
        """Install the whole content, undisturbed."""
        plan = replace(self.plan, environ={**self.plan.environ, "ALLOW_RESET": "true"})
        target = replace(self.target, dsn=database, confirm=None, rules=GuardRules())
        with generate_in_background(self.project.load_application(), plan) as rows:
            reset(target, self.ready, rows, NullReport())

    def content(self, database: Dsn) -> Content:
        """Return what the schemas of the steps hold."""
        return read_content(database, self.schemas)

    def run(self, database: Dsn, arm: Arm, actions: Sequence[str]) -> tuple[Result, ...]:
        """Start a process for each action at one moment, and return how each ended.

        Raises:
            VerificationFailed: A chain did not end in time. Own steps that do not have failed.
        """
        results = run_at_once([self._job(database, arm, action) for action in actions], self.timeout)
        for result in results:
            if result.timed_out and arm != "bare":
                raise VerificationFailed(
                    f"A {result.action} process did not end within {self.timeout:.0f} s and was killed.",
                    "The chain hung, or the server did.",
                    "Run it again with fewer processes: --seeders 2 --resets 1; if it hangs again, please report it.",
                    UNCHANGED,
                )
        return tuple(results)

    def _job(self, database: Dsn, arm: Arm, action: str) -> Job:
        plan, manifest = self.plan, self.ready.snapshot.manifest
        return Job(
            action=action,
            arm=arm,
            url=database.url,
            root=str(self.project.root),
            environ=_deciding(self.builder.environ if arm == "bare" else plan.environ),
            profile=plan.profile,
            seed=plan.seed,
            as_of=plan.as_of.isoformat(),
            lock_key=self.target.lock_key,
            lock_timeout=self.target.waits.lock,
            schema=self.target.schema,
            in_place=self.target.in_place,
            snapshot=str(self.ready.snapshot.folder),
            seeds=self.ready.seeds,
            schemas=[*manifest.schemas],
            extensions=self.extensions,
        )


@contextmanager
def open_stage(project: Project, target: Target, plan: SeedPlan, builder: Builder, timeout: float) -> Iterator[Stage]:
    """Find or build the snapshot, and make the first throwaway database, which is dropped at the end of the block.

    Raises:
        DatabaseUnreachable: The target's server does not answer, or refuses the login.
        StepFailed: A step of the project failed, or did nothing.
        ServerError: There is no place for a throwaway database.
    """
    with open_session(target.dsn, "verify-concurrency") as session:
        here = target.dsn.pinned(session)
        found = builder.find(session)
    snapshot = found or builder.build(here)
    ready = GivenSnapshot(snapshot, builder.seeds)
    with scratch_database(here, project.schema, project.server) as first:
        extensions = [(str(name), str(schema)) for name, schema in first.session.execute(_EXTENSIONS)]
        yield Stage(project, target, plan, builder, ready, first, extensions, timeout)


def _deciding(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that decide which rows there are."""
    return {name: text for name, text in environ.items() if name.startswith("SEED_") or names_environment(name)}
