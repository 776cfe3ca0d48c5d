"""Many at once: the queue for the lock, what waiting in it costs, and an index that is built while others wait."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dbtools import chain
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.config import LOCK_KEY
from dbtools.server.embedded import EmbeddedServer
from tests.faults.child import Child
from tests.faults.environment import OLD, RUNS, Environment, environment, port
from tests.faults.figures import at_least, at_most, exactly, none, shown
from tests.support.runs import GATE, PLAN
from tests.support.sources import sql_source
from tests.support.toy import TABLES, ToyShop
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.build.builder import Builder
    from dbtools.chain.phase import Outcome
    from tests.faults.figures import Figure

TURNS = 3
"""Turns of each process: with one turn each, none could starve."""
HELD_S = 3.0
"""All wait this long while their CPU is measured."""
CONCURRENTLY = f"""
begin; select pg_advisory_xact_lock_shared({GATE}); commit;
drop index concurrently if exists byprice;
create index concurrently byprice on items (price);
"""


def contention(*, full: bool) -> Iterator[Figure]:
    """Let many resets and seeds go at once, again and again, with few connections to spare."""
    number, limit = (50, 60) if full else (12, 20)
    with (
        EmbeddedServer.start(settings={"max_connections": str(limit)}) as own,
        environment(own) as here,
        ExitStack() as stack,
    ):
        contents = here.contents()
        with here.holding(LOCK_KEY):
            children = [stack.enter_context(Child(partial(_turns, here, place))) for place in range(number)]
            until(lambda: here.waiters(LOCK_KEY) == number)
            before = [child.cpu for child in children]
            began = time.monotonic()
            connections = 0
            while (span := time.monotonic() - began) < HELD_S:
                connections = max(connections, *_connections(here, children))
                time.sleep(HELD_S / 10)
            shares = [100 * (child.cpu - used) / span for child, used in zip(children, before, strict=True)]
        most = here.sessions()
        while any(child.working for child in children):
            most = max(most, here.sessions())
            time.sleep(0.02)
        ended = [child.finish() for child in children]
        turns = [end.value for end in ended if end.ok]
        yield shown("processes, turns each, max_connections", f"{number}, {TURNS}, {limit}")
        yield none("failed", [end.error for end in ended if not end.ok])
        yield exactly("content right", int(contents.get(here.digest()) == OLD), 1)
    passed, longest, section = _waits(turns)
    yield at_most("longest wait, in turns of others", passed, 2 * (number - 1))
    yield shown("a fair share of them", number - 1)
    yield shown("longest wait", longest, "s")
    yield shown("a fair share of it", section * (number - 1), "s")
    yield exactly("connections of one waiter", connections, 1)
    yield at_most("sessions at once", most, number)
    yield at_most("CPU of a waiter: mean", sum(shares) / number, 2.0, "%")
    yield at_most("CPU of a waiter: highest", max(shares), 4.0, "%")


def _turns(here: Environment, place: int) -> list[Outcome]:
    """Seed at every second place; of the other places, half reset in place."""
    action = partial(here.seed, OLD) if place % 2 else partial(here.reset, OLD, in_place=place % 4 == 0)
    return [action() for _ in range(TURNS)]


def _connections(here: Environment, children: list[Child]) -> list[int]:
    """Return how many sessions each child has, by pg_stat_activity."""
    found = here.query(f"select client_port from pg_stat_activity where {RUNS} and datname = current_database()")
    ports = {number for (number,) in found}
    return [len(ports & set(child.ports(port(here.url)))) for child in children]


def _waits(turns: list[list[Outcome]]) -> tuple[int, float, float]:
    """Return the most turns that others had while one waited, the longest wait and the mean turn, in seconds."""
    order = sorted((turn.acquired_at, place) for place, own in enumerate(turns) for turn in own)
    last, passed = dict.fromkeys(range(len(turns)), -1), 0
    for index, (_, place) in enumerate(order):
        passed = max(passed, index - last[place] - 1)
        last[place] = index
    waits = [turn.waited for own in turns for turn in own[1:]]
    spent = [sum(turn.seconds.values()) - turn.seconds["lock"] for own in turns for turn in own]
    return passed, max(waits), sum(spent) / len(spent)


def concurrently(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """Build an index CONCURRENTLY in a migrate while resets wait for the lock."""
    failed: list[str] = []
    rounds, queued, waiters = 20 if full else 3, 0, 4
    deadlocks = _deadlocks(server)
    with environment(server) as here, tempfile.TemporaryDirectory() as folder:
        source = sql_source(Path(folder), TABLES.replace("create table", "create table if not exists"), CONCURRENTLY)
        _toy_reset(here, source, in_place=False)
        for _ in range(rounds):
            with ExitStack() as stack:
                with here.holding(GATE):
                    work = partial(chain.migrate, here.target(), source.upgrade, NullReport())
                    first = stack.enter_context(Child(work, parent=True))
                    until(lambda: here.waiters(GATE) == 1)
                    children = [
                        stack.enter_context(
                            Child(partial(_toy_reset, here, source, in_place=bool(number % 2)), parent=True)
                        )
                        for number in range(waiters)
                    ]
                    until(lambda: here.waiters(LOCK_KEY) == waiters)
                seen = 0
                while first.working:
                    seen = max(seen, _queue(here))
                    time.sleep(0.002)
                queued += seen
                for child in (first, *children):
                    ended = child.finish(60)
                    failed += [ended.error] * (not ended.ok)
            if here.query("select count(*) from pg_indexes where indexname = 'byprice'") != [(1,)]:
                failed.append("no index")
    yield at_least("waiters while indexes were built", queued, rounds * waiters // 2)
    yield none("runs that failed or hung", failed)
    yield exactly("deadlocks in the server's log", _deadlocks(server) - deadlocks, 0)


def _toy_reset(here: Environment, source: Builder, *, in_place: bool) -> Outcome:
    with generate_in_background(ToyShop(), PLAN) as toys:
        return chain.reset(here.target(in_place=in_place), source, toys, NullReport())


def _queue(here: Environment) -> int:
    """Return how many wait for the lock at a moment at which the index is being built; else 0."""
    return int(
        here.query(
            "select count(*) from pg_locks where locktype = 'advisory' and not granted and database = (select oid"
            " from pg_database where datname = current_database()) and exists (select from pg_stat_activity where"
            " state = 'active' and query ilike 'create index concurrently%' and datname = current_database())"
        )[0][0]
    )


def _deadlocks(server: EmbeddedServer) -> int:
    return server.log.read_text("utf-8", errors="replace").count("deadlock detected")
