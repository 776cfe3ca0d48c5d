"""The lab: a throwaway server with the start state as a template, and runs of schedules on fresh clones of it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from dbtools.db.dsn import Dsn
from dbtools.db.lock_probe import Probe
from dbtools.errors import NOT_RUN, ConfigurationError
from dbtools.races.execution.actor_process import Program
from dbtools.races.execution.catalogue import Catalogue, own_functions
from dbtools.races.execution.content_reader import read_content
from dbtools.races.execution.end_state import end_sessions, has_settings, is_plain, roll_back_prepared
from dbtools.races.execution.failures import broken_invariants, failed_programs
from dbtools.races.execution.leftovers import Leftovers
from dbtools.races.execution.observer import Observer
from dbtools.races.execution.orphans import adopted_orphans, children, end_orphans
from dbtools.races.execution.proxy import Proxy
from dbtools.races.execution.reaches import reaches
from dbtools.races.execution.scheduler import Scheduler
from dbtools.races.execution.start import TEMPLATE, connect, find_project, make_start, require, settings_for
from dbtools.races.execution.workers import Workers
from dbtools.races.run import RunResult
from dbtools.races.scenario import EVERY_TABLE
from dbtools.races.schedule import Divergence
from dbtools.server.cluster import ROLE
from dbtools.server.embedded import EmbeddedServer
from dbtools.server.requirements import NONE
from dbtools.server.throwaway import start_throwaway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from dbtools.races.execution.workers import Runner, Task
    from dbtools.races.reach import Reach
    from dbtools.races.scenario import Actor, Scenario
    from dbtools.races.schedule import Strategy
    from dbtools.server.requirements import Requirements


class Lab:
    """A server of its own for one scenario. Use it as a context manager."""

    def __init__(
        self,
        scenario: Scenario,
        requirements: Requirements = NONE,
        note: Callable[[str], None] = lambda _: None,
        *,
        jobs: int = 1,
    ) -> None:
        self.scenario = scenario
        self.major = requirements.version
        self._requirements = requirements
        self._note = note
        self._number = 0
        self.patience = 0.0
        """How long a program is known to sleep by itself, in seconds; it is waited for at least as long."""
        self._catalogue: Catalogue | None = None
        self.guard: int | None = None
        """The key of an advisory lock that the proxies take around each transaction."""
        self._jobs = jobs
        self.workers: Workers | None = None
        """Processes that run schedules too, with more than one job."""

    def __enter__(self) -> Self:
        """Start the server and make the start state.

        Raises:
            ServerError: A server did not start.
            ConfigurationError: The start state could not be made, or the server cannot be copied for more jobs.
            StepFailed, ChainFailed: The project's own steps could not make the snapshot that it starts from.
        """
        with ExitStack() as stack:
            settings = settings_for(self.major)
            required = require(self.scenario, self._requirements, settings)
            project = find_project(self.scenario)
            # Steps of a project may want the databases that a lean server lacks.
            server = start_throwaway(required, settings=settings, lean=project is None, lab=True)
            self._server = stack.enter_context(server)
            if self._jobs > 1 and not isinstance(server, EmbeddedServer):
                raise ConfigurationError(
                    f"The scenario {self.scenario.name} cannot be explored with --jobs {self._jobs}.",
                    "Each of the processes needs a copy of the server, and one in a container cannot be copied.",
                    "Leave out --jobs; --shard spreads schedules over servers that are started apart.",
                    NOT_RUN,
                )
            make_start(self.scenario, server, project, self._note)
            if self._jobs > 1 and isinstance(server, EmbeddedServer):
                with server.at_rest():
                    self.workers = Workers(self.scenario.name, self._copied, self._jobs)
                    stack.callback(self.workers.close)
            self._connect(stack)
            self._stack = stack.pop_all()
        return self

    @contextmanager
    def _copied(self) -> Iterator[Runner]:
        """Yield what runs schedules on a copy of the server, which is at rest. For a process that was forked."""
        assert isinstance(self._server, EmbeddedServer)
        with ExitStack() as stack:
            self._server = stack.enter_context(self._server.copy())
            self._connect(stack)

            def run(task: Task, patience: float, deadline: float) -> RunResult:
                make, arguments = task
                self.patience = patience
                return self.run(make(*arguments), deadline=deadline)

            yield run

    def _connect(self, stack: ExitStack) -> None:
        self._owner, self._superuser = Dsn.parse(self._server.url), Dsn.parse(self._server.admin_url)
        self._admin = stack.enter_context(connect(self._superuser))
        self._leftovers = Leftovers(self._admin)
        with connect(self._superuser.with_database(TEMPLATE)) as connection:
            self.start = read_content(connection)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The server's own database, beside the clones."""
        return self._server.url

    def run(
        self,
        choose: Strategy,
        actors: Sequence[Actor] | None = None,
        *,
        deadline: float = float("inf"),
        serial: bool = False,
        observed: bool = False,
    ) -> RunResult:
        """Run the actors (default: all of the scenario) from the start state, by the choices of `choose`.

        A `serial` run waits for a program that sleeps, for up to `Limits.hang` seconds, before another one goes on. It
        is cut at the `deadline`, a time of `time.monotonic`. Of an `observed` one the result has the footprint.

        Raises:
            ConfigurationError: An actor could not be started.
        """
        with self._clone() as database:
            every = self.scenario.all_actors if actors is None else actors
            return asyncio.run(self._run(database, choose, every, deadline, serial=serial, observed=observed))

    async def _run(
        self,
        database: str,
        choose: Strategy,
        actors: Sequence[Actor],
        deadline: float,
        *,
        serial: bool,
        observed: bool,
    ) -> RunResult:
        diverged = ""
        with connect(self._superuser.with_database(database)) as control:
            control.execute("set lock_timeout = '1s'")
            for latch in [latch for latch in self.scenario.latches if latch.table == EVERY_TABLE]:
                control.execute(latch.trigger)
            async with AsyncExitStack() as stack:
                stack.enter_context(adopted_orphans())
                stack.callback(end_orphans, children())  # after all programs, whose children may be left to us
                limits = self.scenario.limits
                observer = Observer(control) if observed else None
                keeps_snapshot = has_settings(control, "isolation")
                scheduler = Scheduler(
                    Probe(control),
                    limits,
                    deadline=deadline,
                    patience=self.patience,
                    serial=serial,
                    observer=observer,
                )
                for actor in actors:
                    dsn = (self._superuser if actor.superuser else self._owner).with_database(database)
                    guard = None if actor.latch else self.guard
                    proxy = Proxy(actor.name, dsn.host, int(dsn.port), scheduler.session_changed, guard)
                    proxy.keeps_snapshot = keeps_snapshot
                    await proxy.open()
                    stack.push_async_callback(proxy.close)
                    # No driver but libpq's knows sslmode, and some refuse a URL that has it.
                    url = dsn.through_proxy("127.0.0.1", proxy.port).changed(sslmode=None).url
                    program = Program(actor, url, actor.cwd or self.scenario.folder)
                    stack.callback(program.end)
                    scheduler.add(program, proxy)
                try:
                    await scheduler.run(choose)
                except Divergence as error:
                    diverged = str(error)
            trace = scheduler.trace
            end_sessions(control)
            gids = roll_back_prepared(control)
            trace.failures += [*failed_programs(trace), *broken_invariants(control, self.scenario.invariants)]
            content = read_content(control, self.start, gids)
            plain = is_plain(control, scheduler.openings)
        return RunResult(
            trace,
            tuple(scheduler.turns.choices),
            content,
            diverged,
            plain,
            scheduler.cut,
            scheduler.turns.overtaken,
            scheduler.slept,
            observer.footprint if observer else None,
        )

    def set_isolation(self, level: str = "") -> None:
        """Have the programs' role begin transactions at this isolation level, or at the server's default."""
        value = f"set default_transaction_isolation = '{level}'" if level else "reset default_transaction_isolation"
        self._admin.execute(f"alter role {ROLE} {value}")

    def reaches(self, run: RunResult) -> list[Reach | None]:
        """Return what each choice of a run has reached, as far as that is sure."""
        scenario = self.scenario
        if scenario.latches or self.guard is not None or any(actor.superuser for actor in scenario.actors):
            return []
        if self._catalogue is None:
            copy = self._owner.with_database(self._stack.enter_context(self._clone()))
            self._catalogue = Catalogue(self._stack.enter_context(connect(copy)))
        return reaches(run, self._catalogue.reach)

    @property
    def functions(self) -> frozenset[str]:
        """The names of the start state's own functions that may change something."""
        with connect(self._superuser.with_database(TEMPLATE)) as connection:
            return own_functions(connection)

    def alter_start(self, sql: str) -> None:
        """Change the start state.

        Raises:
            psycopg.Error: That is not possible.
        """
        self._catalogue = None
        with connect(self._superuser.with_database(TEMPLATE)) as connection:  # whoever owns the tables
            connection.execute(sql)
            self.start = read_content(connection)

    @contextmanager
    def _clone(self) -> Iterator[str]:
        """Yield the name of a copy of the start state, which is dropped at the end."""
        self._number += 1
        name = f"race_{self._number:04}"
        self._admin.execute(f"create database {name} template {TEMPLATE} owner {ROLE} {self._server.quick_copy}")
        try:
            yield name
        finally:
            self._leftovers.drop(name)
