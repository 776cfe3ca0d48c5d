"""Reset on a schedule, among seeders that start at the same moment.

nox -s soak                     a few rounds
nox -s soak -- --full           many
nox -s soak -- --rounds 20      this many
nox -s soak -- --every 2.5      seconds from one round to the next
nox -s soak -- --figures FILE   the figures as JSON (default: .dbtools/cache/soak.json)

Every round, processes for one swap reset and three seeders start at once; after it, a session that lasts reads the new
tables. Before that come many resets in a row, to see how far the dead rows in the catalogs let the database grow. Shows
failures, the distinct contents, and what each round leaves on the server: sessions, and the memory of all
its processes but the pages they share. Fails when a figure is off.
"""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from dbtools.server import postmaster
from dbtools.server.embedded import EmbeddedServer
from tests.faults.child import Child
from tests.faults.environment import NEW, OLD, environment
from tests.faults.figures import Figure, at_most, exactly, none, shown
from tests.faults.load import JOINS, PAIR, answers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.environment import Environment
    from tests.faults.load import Answers
    from tests.faults.record import Play

SHORT, LONG = 8, 300
"""Rounds."""
SEEDERS = 3
CROWDED = 40
"""Resets in a row, without a pause: autovacuum, which looks once a minute, comes once at most meanwhile."""
BLOAT_MB = 9.0
"""The database may be this much greater at most after one of them: about a dozen resets' dead rows."""
GROWTH_MB = 8.0
"""The last third of the rounds may be this much above the first."""
LATE_S = 30.0
"""Within this time after a round its sessions are gone."""


@dataclass
class Record:
    """What the rounds left behind, a value each."""

    memory: list[float] = field(default_factory=list)
    """Megabytes that belong to one process of the server alone."""
    sessions: list[int] = field(default_factory=list)
    size: list[float] = field(default_factory=list)
    """Megabytes of the database."""
    contents: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Queries of the session that lasts whose answers were neither seed's."""
    longest: float = 0.0
    """Seconds a round took."""


def _play(here: Environment, lasting: psycopg.Connection, known: Answers, rounds: int, every: float) -> Record:
    """Play the rounds, `every` seconds from one to the next; read through the session `lasting` after each."""
    record, due = Record(), time.monotonic()
    for _ in range(rounds):
        time.sleep(max(0.0, due - time.monotonic()))
        started = time.monotonic()
        due = started + every
        with ExitStack() as stack:
            actions = [partial(here.seed, OLD)] * SEEDERS + [partial(here.reset, OLD)]
            for child in [stack.enter_context(Child(action)) for action in actions]:
                ended = child.finish()
                record.failures += [ended.error] * (not ended.ok)
        record.longest = max(record.longest, time.monotonic() - started)
        if here.freed(LATE_S) > LATE_S:
            record.left.append("a session or a lock")
        record.left += here.leftovers()
        record.wrong += [sql for sql in (*JOINS, *PAIR) if (sql, str(lasting.execute(sql).fetchall())) not in known]
        record.contents.add(here.digest())
        record.memory.append(_memory(here))
        ((sessions,),) = here.query(
            "select count(*) from pg_stat_activity"
            " where backend_type = 'client backend' and not starts_with(application_name, 'faults digest')"
        )
        record.sessions.append(int(sessions))
        record.size.append(_size(here))
    return record


def _size(here: Environment) -> float:
    """Return the megabytes of the database."""
    return int(here.query("select pg_database_size(current_database())")[0][0]) / 2**20


def _crowd(here: Environment) -> Iterator[float]:
    """Reset without a pause, and yield the database's size after each time."""
    for _ in range(CROWDED):
        here.reset(OLD)
        yield _size(here)


def _memory(here: Environment) -> float:
    """Return the private memory of the server's lasting processes, in megabytes."""
    found = postmaster.PidFile.read(here.server.directory / "data")
    assert found is not None
    passing = {
        pid for (pid,) in here.query("select pid from pg_stat_activity where backend_type = 'autovacuum worker'")
    }
    children = Path(f"/proc/{found.pid}/task/{found.pid}/children").read_text("utf-8").split()
    total = 0
    for pid in {found.pid, *map(int, children)} - passing:
        try:
            lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    return total / 1024


def measure(rounds: int, every: float) -> Iterator[Figure]:
    """Play on a server of its own."""
    with EmbeddedServer.start() as server, environment(server) as here:
        ((autovacuum,),) = here.query("select current_setting('autovacuum')")
        known = answers(here, (NEW, OLD))
        sizes = [_size(here), *_crowd(here)]
        before = here.digest()
        with psycopg.connect(here.url, autocommit=True, application_name="faults lasting") as lasting:
            record = _play(here, lasting, known, rounds, every)
    third = max(1, rounds // 3)
    first, last = (statistics.median(record.memory[part]) for part in (slice(third), slice(-third, None)))
    yield shown("rounds, a reset and seeders in each", f"{rounds}, 1 + {SEEDERS}")
    yield none("runs that failed", record.failures)
    yield exactly("distinct contents", len(record.contents | {before}), 1)
    yield none("wrong answers of the session that lasts", record.wrong)
    yield none("left behind by a round", record.left)
    yield exactly("sessions after a round: fewest, most", f"{min(record.sessions)}, {max(record.sessions)}", "2, 2")
    yield shown("memory of the server: first third", first, "MB")
    yield shown("memory of the server: last third", last, "MB")
    yield at_most("growth of it", last - first, GROWTH_MB, "MB")
    yield exactly("autovacuum", autovacuum, "on")
    yield at_most(f"most growth of the database in {CROWDED} resets in a row", max(sizes) - sizes[0], BLOAT_MB, "MB")
    yield shown("database: first round, last round", f"{record.size[0]:.1f}, {record.size[-1]:.1f}", "MB")
    yield shown("longest round", record.longest, "s")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_soak(play: Play, full: bool, pytestconfig: pytest.Config) -> None:
    rounds = pytestconfig.getoption("--rounds", None) or (LONG if full else SHORT)
    play("resets among seeders", measure(rounds, pytestconfig.getoption("--every", 2.0)))
