"""A build breaks off, several build at once, or the folder of the snapshots is full."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools import chain
from dbtools.build import scratch
from dbtools.build.builder import Builder
from dbtools.build.left_behind import PROC
from dbtools.build.snapshot import SnapshotDamaged
from dbtools.build.store import DRAFT, Store
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.commands.interrupts import Interruption, signals_interrupt
from dbtools.config import Project
from dbtools.config.steps import Step
from dbtools.db.dsn import Dsn
from dbtools.server.embedded import EmbeddedServer
from tests.faults.child import Child
from tests.faults.environment import Moments, environment
from tests.faults.figures import at_least, at_most, exactly, none, shown
from tests.faults.namespaces import MOUNTS, apart, must
from tests.faults.server_faults import fill
from tests.support.runs import PLAN
from tests.support.toy import TABLES, ToyShop
from tests.support.waiting import seconds_until, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.build.snapshot import Snapshot
    from dbtools.chain.phase import Outcome
    from tests.faults.environment import Environment
    from tests.faults.figures import Figure

FIRST_RUNS = 8
"""Resets that find no snapshot, at once."""
GONE_S = 10.0
"""Within this time no process of a step is left."""
MARK = "FAULTS_MARK"
"""A variable of the steps; by its value their processes are known."""
STEP = f"""
import os, pathlib, subprocess, time

def run(connection):
    with open(os.environ["RUNS"], "a") as runs:
        runs.write("run\\\\n")
    child = subprocess.Popen(["sleep", "600"])
    while not pathlib.Path(os.environ["GO"]).exists():
        time.sleep(0.02)
    child.kill()
    child.wait()
    connection.execute({TABLES!r})
    connection.execute("create table big as select n, md5(n::text) from generate_series(1, 100000) n")
"""
"""A step with a child. It notes that it runs, waits for the file GO, and makes four megabytes of rows."""


@dataclass
class Builds:
    """Builds of a project with this step, for the database of `here`, with a store of their own."""

    here: Environment
    folder: Path
    store: Store

    def __post_init__(self) -> None:
        self.mark = secrets.token_hex(16)
        self.runs, self.go, self.arrived = (self.folder / name for name in ("runs", "go", "arrived"))
        self.arrived.mkdir()
        root = self.folder / "project"
        root.mkdir()
        (root / "step.py").write_text(STEP, "utf-8")
        step = Step("call", ("step:run",), root)
        self._project = Project(root=root, migrate=(step,), inputs=("*.py",), variables=())

    def builder(self) -> Builder:
        """Return what finds and makes the snapshot."""
        variables = {MARK: self.mark, "RUNS": str(self.runs), "GO": str(self.go)}
        return Builder(self._project, self.store, {**os.environ, **variables}, note=lambda _: None)

    def build(self) -> None:
        """Build in this process; drop first what others have left, however young it is."""
        scratch.YOUNG_S = 0.0
        self.builder().build(Dsn.parse(self.here.url))

    def build_until_signal(self) -> int:
        """Build in this process as a task does; return the exit code that it would have."""
        try:
            with signals_interrupt():
                self.build()
        except Interruption as error:
            return error.exit_code
        return 0

    def first_reset(self) -> Outcome:
        """Reset in this process, and note once no snapshot was found."""
        with generate_in_background(ToyShop(), PLAN) as toys:
            return chain.reset(
                self.here.target(), Told(self.builder(), self.arrived / str(os.getpid())), toys, NullReport()
            )

    def begun(self) -> int:
        """Return how often the step has begun."""
        return len(self.runs.read_text("utf-8").splitlines()) if self.runs.exists() else 0

    def processes(self) -> list[int]:
        """Return the processes of steps."""
        found = []
        for path in PROC.glob("[0-9]*/environ"):
            with suppress(OSError):  # it ended meanwhile
                if f"{MARK}={self.mark}".encode() in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def sessions(self) -> int:
        """Return how many sessions there are on scratch databases."""
        found = self.here.query("select count(*) from pg_stat_activity where starts_with(datname, %s)", scratch.PREFIX)
        return int(found[0][0])

    def left(self) -> list[str]:
        """Return what builds have left behind, on the server and in the store."""
        return [*self.here.leftovers(), *(path.name for path in self.store.folder.glob(f"{DRAFT}*"))]

    def damaged(self) -> list[str]:
        """Return why snapshots of the store cannot be used."""
        found = []
        for snapshot in self.store.all():
            try:
                snapshot.check()
            except SnapshotDamaged as error:
                found.append(error.why)
        return found

    def clear(self) -> None:
        """Drop the snapshots."""
        for snapshot in self.store.all():
            self.store.drop(snapshot)


@dataclass
class Told:
    """A builder that makes the file `arrived` before it builds."""

    builder: Builder
    arrived: Path
    seeds: bool = False

    def find(self, work: object) -> Snapshot | None:
        """Find it as the builder does."""
        return self.builder.find(work)  # type: ignore[arg-type]

    def build(self, target: Dsn) -> Snapshot:
        """Tell, and build."""
        self.arrived.touch()
        return self.builder.build(target)


def broken_off(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """End a build while its step runs, by kill -9 and by SIGTERM; then by kill -9 at random moments of all of it."""
    number = 60 if full else 10
    codes: list[int] = []
    left_at_once: list[str] = []
    left: list[str] = []
    damaged: list[str] = []
    failed: list[str] = []
    gone, killed = 0.0, 0
    with environment(server) as here, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        builds = Builds(here, folder, Store(folder / "store", 2 << 30))
        for end in (signal.SIGTERM, signal.SIGKILL) * (5 if full else 1):
            builds.runs.unlink(missing_ok=True)
            with Child(builds.build_until_signal, parent=True) as child:
                until(builds.begun)
                os.kill(child.pid, end)
                ended = child.finish()
            killed += 1
            gone = max(gone, seconds_until(lambda: not builds.processes(), GONE_S))
            if end == signal.SIGTERM:
                codes.append(ended.value)
                left_at_once += builds.left()
        builds.go.touch()
        for moment in (moments := Moments(number, _duration(builds), wanted=number // 2)):
            builds.clear()
            with Child(builds.build, parent=True) as child:
                time.sleep(moment)
                moments.hits += child.kill()
            gone = max(gone, seconds_until(lambda: not builds.processes(), GONE_S))
            damaged += builds.damaged()
            until(lambda: not builds.sessions(), "a session of a build that was killed goes on")
            with Child(builds.build, parent=True) as child:
                ended = child.finish()
            failed += [ended.error] * (not ended.ok)
            left += builds.left()
    yield at_least("builds broken off", killed + moments.hits, number // 2 + 2)
    yield exactly("exit codes after SIGTERM", ", ".join(sorted({str(code) for code in codes})), "143")
    yield none("left behind after SIGTERM", left_at_once)
    yield at_most("no process of a step left after", gone, GONE_S, "s")
    yield none("snapshots that cannot be used", damaged)
    yield none("next builds failed", failed)
    yield none("databases and drafts left behind after them", left)


def _duration(builds: Builds) -> float:
    started = time.monotonic()
    with Child(builds.build, parent=True) as child:
        assert child.finish().ok
    return time.monotonic() - started


def first_runs(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """Start resets at once where there is no snapshot yet."""
    begun, rounds = list[int](), 5 if full else 1
    failed: list[str] = []
    wrong: list[str] = []
    left: list[str] = []
    for _ in range(rounds):
        with environment(server) as here, tempfile.TemporaryDirectory() as name, ExitStack() as stack:
            folder = Path(name)
            builds = Builds(here, folder, Store(folder / "store", 2 << 30))
            children = [stack.enter_context(Child(builds.first_reset, parent=True)) for _ in range(FIRST_RUNS)]
            until(lambda: len([*builds.arrived.iterdir()]) == FIRST_RUNS)  # noqa: B023 - called in this round
            builds.go.touch()
            for child in children:
                ended = child.finish()
                failed += [ended.error] * (not ended.ok)
            begun.append(builds.begun())
            content = here.digest()
            builds.first_reset()
            if content != here.digest():
                wrong.append("other content than that of a reset alone")
            left += [*builds.left(), *builds.damaged()]
    yield shown("resets at once, none of which found a snapshot", FIRST_RUNS)
    yield none("of them failed", failed)
    yield exactly("builds", sum(begun), rounds)
    yield none("content wrong", wrong)
    yield none("left behind", left)


def full_disk() -> Iterator[Figure]:
    """Let the disk with the snapshots run full while one is written."""
    with apart(_full_disk, MOUNTS, "mount") as figures:
        yield from figures()


def _full_disk() -> list[Figure]:
    stopped, sizes = 0, [64 * kilo for kilo in range(1, 80, 13)]
    unclear: list[str] = []
    failed: list[str] = []
    left: list[str] = []
    with EmbeddedServer.start() as own, environment(own) as here, tempfile.TemporaryDirectory() as name:
        disk = Path(name) / "disk"
        disk.mkdir(0o700)
        must("mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "none", str(disk))
        try:
            builds = Builds(here, Path(name), Store(disk / "store", 2 << 30))
            builds.go.touch()
            for kilobytes in sizes:
                builds.clear()
                filler = fill(disk, kilobytes)
                with Child(builds.build, parent=True) as child:
                    ended = child.finish()
                filler.unlink()
                stopped += not ended.ok
                if not ended.ok and not (ended.foreseen and "Make room" in ended.error):
                    unclear.append(f"{kilobytes} kB left: {ended.error}")
                left += [*builds.left(), *builds.damaged()]
                with Child(builds.build, parent=True) as child:
                    ended = child.finish()
                if not ended.ok or len(builds.store.all()) != 1:
                    failed.append(
                        ended.error or f"{kilobytes} kB, then {[path.name for path in builds.store.folder.iterdir()]}"
                    )
        finally:
            must("umount", "-l", str(disk))
    return [
        shown("how", "tmpfs of 16 MB"),
        at_least("builds stopped by the full disk", stopped, len(sizes) // 2),
        none("unclear errors", unclear),
        none("databases, drafts or damaged snapshots left behind", left),
        none("next builds failed", failed),
    ]
