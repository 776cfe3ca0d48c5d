"""The fixture `race` of the pytest plugin: a test names functions that race, and fails unless they hold.

A failure shows the run, and the command line that replays it. With --race-token, the call that a token was made by runs
the token's schedule, and all other calls run nothing.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from dbtools.application import Invariant
from dbtools.config import NoProject, Project, parse_number
from dbtools.errors import NOT_RUN, ConfigurationError, DbtoolsError
from dbtools.races import render, report, store, token
from dbtools.races.explore import SCHEDULES, explore, replay
from dbtools.races.explorer import BOUND
from dbtools.races.functions import make_actors
from dbtools.races.result import ExplorationResult, Verdict, counted
from dbtools.races.scenario import Limits, Scenario
from dbtools.server.requirements import NONE
from dbtools.server.sources import narrowed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dbtools.races.scenario import Actor, Latch
    from dbtools.server.requirements import Requirements

CONNECT = (
    "A program is to connect by itself, to the URL that it is given or to DATABASE_URL: an engine that was made before,"
    " in the process of the tests, leads elsewhere."
)


class Race:
    """Explores races between programs, in one test."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._token = str(item.config.getoption("race_token"))
        self._calls = 0
        self._replayed = False

    def __call__(
        self,
        *programs: Callable[[], object] | Callable[[str], object] | Actor,
        start: str | Sequence[str | Callable[[str], object] | tuple[str, ...]] = (),
        snapshot: bool | str | None = None,
        superuser: bool = False,
        invariants: Mapping[str, str] | None = None,
        allow: Sequence[str] = (),
        ignore: Sequence[str] = (),
        serial: bool = True,
        waits: str = "",
        latches: Sequence[Latch] = (),
        limits: Limits | None = None,
        bound: int | None = None,
        schedules: int | None = None,
        seconds: float | None = None,
    ) -> None:
        """Explore the race of these programs, and fail the test unless it held.

        A program is a function, which may be a coroutine function, or an `Actor`. It runs in a process of its own,
        forked from that of the tests. It is given the URL of its database, if it has a parameter without a default; in
        a project, all variables that lead a step to its database lead there, in the others DATABASE_URL and PGHOST and
        the like. The start state is what `invoke reset` would install, unless `start` makes it, by SQL for example;
        with `snapshot=True` both do, one after the other. `invariants` are queries that return no row, by their names.
        The other keywords are those of `Scenario` and of `explore`; where `bound`, `schedules` or `seconds` is left
        out, pytest's configuration says it (`dbtools_race_bound` and so on), or else the default of `explore` holds;
        that of `bound` is 2 here, and no more, so that a test stays short.
        """
        __tracebackhide__ = True
        self._calls += 1
        try:
            self._require_no_loop()
            project = self._project()
            scenario = Scenario(
                self._name,
                make_actors(programs, project, self._name),
                [start] if start and isinstance(start, str) else [*start],
                [Invariant(name, query) for name, query in (invariants or {}).items()],
                snapshot=not start if snapshot is None else snapshot,
                superuser=superuser,
                allow=allow,
                ignore=ignore,
                serial=serial,
                waits=waits,
                latches=latches,
                limits=limits or Limits(),
                folder=self._item.config.rootpath,
            )
            server = narrowed(
                project.server if project else NONE, str(self._item.config.getoption("pg_server")), "--pg-server"
            )
            store_in = project or Project(scenario.folder)
            most = int(self._limit("bound", bound, BOUND))
            number = int(self._limit("schedules", schedules, SCHEDULES, low=1))
            longest = self._limit("seconds", seconds, float("inf"), whole=False)
            with warnings.catch_warnings():
                # pytest-xdist has a thread that reads; what is forked here does not need what that may hold.
                warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
                if self._token:
                    failure = self._replay(scenario, server, store_in)
                else:
                    found = explore(scenario, bound=most, schedules=number, seconds=longest, server=server)
                    failure = self._judge(found, store_in)
        except DbtoolsError as error:
            failure = str(error)
        if failure:  # outside of the block, or the report would show what was caught
            pytest.fail(failure, pytrace=False)

    def require_replay(self) -> None:
        """Fail the test if it was to replay a token, and no call of it has that token's race."""
        __tracebackhide__ = True
        if self._token and not self._replayed:
            pytest.fail(
                f"The token {self._token} is of another test.\n"
                f"No race of {self._item.nodeid} has its name, so none was run.\n"
                "Copy the whole command again from where the token was reported: it names the test.",
                pytrace=False,
            )

    @property
    def _name(self) -> str:
        """The name of the scenario of this call: the test's, and from the second call on a number."""
        return self._item.nodeid if self._calls == 1 else f"{self._item.nodeid} #{self._calls}"

    @property
    def _command(self) -> str:
        """The command line that runs the test, from where pytest was called."""
        file, *names = self._item.nodeid.split("::")
        config = self._item.config
        path = os.path.relpath(config.rootpath / file, config.invocation_params.dir)
        return f"pytest {shlex.quote('::'.join([path, *names]))}"

    def _project(self) -> Project | None:
        try:
            return Project.find(self._item.config.rootpath)
        except NoProject:
            return None

    def _require_no_loop(self) -> None:
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            raise ConfigurationError(
                f"{self._name} races while an event loop runs.",
                "The lab runs one itself, and the functions that race have one each.",
                "Make the test a plain function, def in the place of async def; those that race may be asynchronous.",
                NOT_RUN,
            )

    def _limit(self, name: str, given: float | None, default: float, *, low: float = 0, whole: bool = True) -> float:
        key = f"dbtools_race_{name}"
        text = str(self._item.config.getini(key) or "")
        if given is not None:
            return parse_number(name, str(given), low=low, whole=whole)
        return parse_number(key, text, low=low, whole=whole) if text else default

    def _judge(self, found: ExplorationResult, project: Project) -> str:
        """Return why the test fails; "" if it held."""
        if found.verdict is Verdict.HELD:
            self._show("\n".join(report.verdict(found)))
            return ""
        if found.verdict is Verdict.INCONCLUSIVE or found.failing is None:
            return "\n".join([*report.verdict(found), *([CONNECT] if found.silent else [])])
        with suppress(OSError):  # a replay can then not name the first statement that differs
            store.save(project, found.scenario, found.token, found.failing.trace)
        parts = [
            f"A race: {found.failure}, with {counted(found.switches)}.",
            render.text(found.failing.trace),
            "\n".join(report.named(found.anomaly)) if found.anomaly else "",
            f"To replay this run and nothing else:\n  {self._command} --race-token {found.token}",
        ]
        return "\n\n".join(filter(None, parts))

    def _replay(self, scenario: Scenario, server: Requirements, project: Project) -> str:
        """Return why the test fails; "" if the token's schedule does not, or is one of another call."""
        if token.decode(self._token).scenario != token.shorten(scenario.name):
            return ""
        self._replayed = True
        scenario = store.fitting(scenario, self._token, server.version, self._command)
        (run,) = replay(scenario, self._token, server=server)
        picture = render.text(run.trace)
        try:
            store.require_same(project, self._token, run, self._command)
        except DbtoolsError as error:
            return f"{error}\n\n{picture}"
        if run.failures or run.trace.starved:
            how = f"A race, replayed: {run.failure}." if run.failures else run.trace.starved
            return f"{how}\n\n{picture}"
        self._show(f"{self._token}:\n\n{picture}")  # whose last line is "No failure."
        return ""

    def _show(self, text: str) -> None:
        self._item.add_report_section("call", "race", text)
