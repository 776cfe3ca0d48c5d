#!/usr/bin/env python3
"""Reset on a schedule, among seeders that start at the same moment.

    nox -s soak                     a few rounds
    nox -s soak -- --full           many
    nox -s soak -- --every 2.5      seconds from one round to the next
    nox -s soak -- --json FILE      the figures as JSON (default: .dbtools/cache/soak.json)

Every round, processes for one swap reset and three seeders start at once; after it, a session that lasts reads the new
tables. Shows failures, the distinct contents, and what each round leaves on the server: sessions, and the memory of all
its processes but the pages they share. Exits with 1 when a figure is off.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from dbtools.config import Project
from dbtools.console import table
from dbtools.server import postmaster
from dbtools.server.embedded import EmbeddedServer
from scripts.faults.child import Child
from scripts.faults.figures import Figure, at_most, exactly, none, shown
from scripts.faults.load import JOINS, PAIR, answers
from scripts.faults.stage import NEW, OLD, stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.faults.load import Answers
    from scripts.faults.stage import Stage

SHORT, LONG = 8, 300
"""Rounds."""
SEEDERS = 3
GROWTH = 8.0
"""Megabytes by which the last third of the rounds may be above the first."""
LATE = 30.0
"""Seconds after which a round's sessions are gone."""


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


def play(here: Stage, lasting: psycopg.Connection, known: Answers, rounds: int, every: float) -> Record:
    """Play so many rounds, one beginning every so many seconds; read through `lasting` after each."""
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
        if here.freed(LATE) > LATE:
            record.left.append("a session or a lock")
        record.left += here.leftovers()
        record.wrong += [sql for sql in (*JOINS, *PAIR) if (sql, str(lasting.execute(sql).fetchall())) not in known]
        record.contents.add(here.digest())
        record.memory.append(_memory(here))
        ((sessions, size),) = here.query(
            "select count(*), pg_database_size(current_database()) from pg_stat_activity"
            " where backend_type = 'client backend' and not starts_with(application_name, 'faults digest')"
        )
        record.sessions.append(int(sessions))
        record.size.append(int(size) / 2**20)
    return record


def _memory(here: Stage) -> float:
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


def figures(rounds: int, every: float) -> Iterator[Figure]:
    """Play on a server of its own."""
    with EmbeddedServer.start() as server, stage(server) as here:
        known = answers(here, (NEW, OLD))
        before = here.digest()
        with psycopg.connect(here.url, autocommit=True, application_name="faults lasting") as lasting:
            record = play(here, lasting, known, rounds, every)
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
    yield at_most("growth of it", last - first, GROWTH, "MB")
    yield shown("database: first round, last round", f"{record.size[0]:.1f}, {record.size[-1]:.1f}", "MB")
    yield shown("longest round", record.longest, "s")


def main() -> int:
    """Soak and print one table."""
    parser = argparse.ArgumentParser(prog="nox -s soak --", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--full", action="store_true", help=f"{LONG} rounds instead of {SHORT}")
    parser.add_argument("--rounds", type=int, help="this many rounds")
    parser.add_argument("--every", type=float, default=2.0, help="seconds from one round to the next (default: 2)")
    parser.add_argument("--json", type=Path, default=Project.find().cache / "soak.json", help="the figures' file")
    chosen = parser.parse_args()
    found = list(figures(chosen.rounds or (LONG if chosen.full else SHORT), chosen.every))
    rows = [(one.name, one.cell, one.required or "-", "" if one.holds else "OFF") for one in found]
    print(table(("figure", "measured", "required", ""), rows), flush=True)
    off = [f"{one.name}: {one.text} (required: {one.required})" for one in found if not one.holds]
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps({"off": off, "figures": [asdict(one) for one in found]}, indent=2), "utf-8")
    for line in off:
        print(f"OFF: {line}", file=sys.stderr)
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
