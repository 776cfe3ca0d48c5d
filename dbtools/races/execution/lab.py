"""The lab: a throwaway server, the start state as a template, and one run of a schedule on a fresh clone of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg

from dbtools.db.digest import digest
from dbtools.db.lock_probe import Probe
from dbtools.errors import ConfigurationError
from dbtools.races.execution.actor_process import Program, _addresses
from dbtools.races.execution.proxy import Proxy
from dbtools.races.execution.scheduler import DEADLOCK_TIMEOUT, Scheduler
from dbtools.races.run import RunResult
from dbtools.races.schedule import Divergence
from dbtools.races.trace import Failure, Trace
from dbtools.server.cluster import ROLE
from dbtools.server.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from dbtools.races.scenario import Actor, Scenario
    from dbtools.races.schedule import Strategy

TEMPLATE = "race_start"
DEADLOCK = "40P01"
SETTINGS = {
    "deadlock_timeout": f"{DEADLOCK_TIMEOUT * 1000:g}ms",
    # What runs by itself would be a racer that nobody schedules.
    "autovacuum": "off",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "jit": "off",
    "max_prepared_transactions": "10",
    # The passwords are 144 random bits: hashing them 4,096 times only costs time, at every connection.
    "scram_iterations": "1",
}


class Lab:
    """A server of its own for one scenario. Use it as a context manager."""

    def __init__(self, scenario: Scenario, major: int = 16) -> None:
        self.scenario = scenario
        self.major = major
        self._number = 0

    def __enter__(self) -> Self:
        """Start the server and make the start state.

        Raises:
            ServerError: The server did not start.
            ConfigurationError: The start state cannot be made.
        """
        with ExitStack() as stack:
            self._server = stack.enter_context(EmbeddedServer.start(self.major, settings=SETTINGS))
            assert self._server.admin_url is not None
            admin = psycopg.connect(self._server.admin_url, autocommit=True, application_name="race lab")
            self._admin = stack.enter_context(admin)
            self._make_start(self._server.create_database(TEMPLATE))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The server's own database, beside the clones."""
        return self._server.url

    def run(self, choose: Strategy, actors: Sequence[Actor] | None = None) -> RunResult:
        """Run the actors (default: all of the scenario) from the start state, by the choices of `choose`."""
        with self._clone() as url:
            return asyncio.run(self._run(url, choose, self.scenario.all_actors if actors is None else actors))

    async def _run(self, url: str, choose: Strategy, actors: Sequence[Actor]) -> RunResult:
        host, port = urlsplit(url).hostname or "", urlsplit(url).port or 0
        diverged = ""
        with psycopg.connect(self._as_admin(url), autocommit=True, application_name="race lab") as control:
            control.execute("set lock_timeout = '1s'")
            async with AsyncExitStack() as stack:
                scheduler = Scheduler(Probe(control), self.scenario.limits)
                for actor in actors:
                    proxy = Proxy(actor.name, host, port, scheduler.notice)
                    await proxy.open()
                    stack.push_async_callback(proxy.close)
                    base = self._as_admin(url) if actor.superuser else url
                    program = Program(actor, _through(base, proxy.port), self.scenario.folder)
                    stack.callback(program.end)
                    scheduler.add(program, proxy)
                try:
                    await scheduler.play(choose)
                except Divergence as error:
                    diverged = str(error)
            trace = scheduler.trace
            _end_sessions(control)
            trace.failures += [*_errors(trace), *self._broken(control)]
            content = {one.name: f"{one.rows} {one.md5}" for one in digest(control).tables}
            plain = _is_plain(control) and not any(b"isolation" in packet for packet in scheduler.openings)
        return RunResult(trace, tuple(scheduler.choices), content, diverged, plain)

    def _broken(self, control: psycopg.Connection) -> Iterator[Failure]:
        for one in self.scenario.invariants:
            try:
                rows = control.execute(one.query).fetchall()
            except psycopg.Error as error:
                yield Failure("invariant", one.name, f"It can't be asked: {error.diag.message_primary}")
                continue
            if rows:
                yield Failure("invariant", one.name, f"Broken by {len(rows)}, such as {rows[0]}")

    @contextmanager
    def _clone(self) -> Iterator[str]:
        self._number += 1
        name = f"race_{self._number:04}"
        self._admin.execute(f"create database {name} template {TEMPLATE} owner {ROLE} strategy file_copy")
        try:
            yield f"{self._server.url.rpartition('/')[0]}/{name}"
        finally:
            self._admin.execute(f"drop database {name} with (force)")

    def _as_admin(self, url: str) -> str:
        assert self._server.admin_url is not None
        return f"{self._server.admin_url.rpartition('/')[0]}/{url.rpartition('/')[2]}"

    def _make_start(self, url: str) -> None:
        for one in self.scenario.start:
            try:
                if isinstance(one, str):
                    with psycopg.connect(url, autocommit=True) as connection:
                        connection.execute(one)
                elif isinstance(one, tuple):
                    environment = os.environ | _addresses(url)
                    subprocess.run(one, check=True, env=environment, cwd=self.scenario.folder, capture_output=True)
                else:
                    one(url)
            except (psycopg.Error, OSError, subprocess.CalledProcessError) as error:
                output = error.stderr or error.stdout if isinstance(error, subprocess.CalledProcessError) else b""
                raise ConfigurationError(
                    f"The start state of the scenario {self.scenario.name} cannot be made.",
                    f"{str(error).strip()} {output.decode('utf-8', 'replace').strip()[-500:]}".strip(),
                    "Correct [start]: it begins with an empty database, as a role that owns it.",
                ) from None
        with psycopg.connect(self._as_admin(url), autocommit=True) as connection:
            for latch in self.scenario.latches:
                connection.execute(latch.trigger)


def _through(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}", query="sslmode=disable"))


def _end_sessions(control: psycopg.Connection) -> None:
    """End what programs that were killed have left open, and wait until it is rolled back."""
    others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    while control.execute(f"select pg_terminate_backend(pid, 1000) {others}").fetchall():
        pass


def _is_plain(control: psycopg.Connection) -> bool:
    return not control.execute(
        "select from pg_db_role_setting, unnest(setconfig) as one where one ~ 'default_transaction_isolation'"
    ).fetchall()


def _errors(trace: Trace) -> Iterator[Failure]:
    """Return what ended programs that ended badly: their last failed request, or their exit status."""
    for end in trace.ends:
        if not end.code:
            continue
        failed = [one for one in trace.steps if one.actor == end.actor and one.sqlstate]
        if failed:
            step = failed[-1]
            name = f"{step.sqlstate} {step.subject}".strip()
            detail = f" ({' '.join(step.detail.split())})" if step.detail and step.sqlstate == DEADLOCK else ""
            yield Failure("error", name, f"{end.actor}: {step.message}{detail}", step.number)
        else:
            last = end.output.strip().splitlines()[-1:] or [""]
            yield Failure("exit", f"exit {end.code}", f"{end.actor} ended with exit code {end.code}. {last[0]}".strip())
