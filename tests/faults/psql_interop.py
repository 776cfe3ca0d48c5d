"""Another program takes the same key: psql, writing as a seeder of old would, one committed statement after another.

It notes the begin and the end of its work in a table of its own, and at every statement how many transactions of the
chain that have written are open; the chain's own times are the server's as well. (What a swap does after it has
released its lock is no part of this: it drops tables that no reader can reach.)
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from dbtools.chain.cleanup import SWEEP_KEY
from dbtools.config import LOCK_KEY
from dbtools.db.dsn import Dsn
from dbtools.server.sources import find_binaries
from tests.faults.child import Child
from tests.faults.environment import OLD, environment
from tests.faults.figures import at_least, exactly, none

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dbtools.chain.phase import Outcome
    from dbtools.server.embedded import EmbeddedServer
    from tests.faults.environment import Environment
    from tests.faults.figures import Figure

PSQLS = 2
STEPS = 5
_SETUP = f"""
create schema old authorization app;
set role app;
create table old.turns (who text, turn int, at timestamptz default clock_timestamp(), met bigint);
create function old.note(who text, turn int) returns void language sql volatile as $$
    with locks as materialized (select * from pg_locks)
    insert into old.turns (who, turn, met)
    select who, turn, count(*) from locks l join pg_stat_activity a using (pid)
    where l.locktype = 'transactionid' and l.mode = 'ExclusiveLock' and l.granted
      and starts_with(a.application_name, 'dbtools ') and a.datname = current_database()
      and pid not in (select s.pid from locks s where s.locktype = 'advisory' and s.classid = {SWEEP_KEY >> 32})
$$;
reset role;
"""


def psql(server: EmbeddedServer, *, full: bool) -> Iterator[Figure]:
    """Have two psqls and the chain take turns by the key alone; then the same psqls without it."""
    turns = 40 if full else 4
    failed: list[str] = []
    with environment(server) as here:
        contents = here.contents()
        here.query(_SETUP)
        spans, met, notes, said = _race(here, turns, locked=True)
        failed += said
        overlaps = sum(later[0] < earlier[1] for earlier, later in pairwise(sorted(spans)))
        same = int(contents.get(here.digest()) == OLD)
        yield none("runs and psqls that failed", failed)
        yield at_least("critical sections", len(spans), turns * (PSQLS + 3))
        yield exactly("of them overlapping", overlaps, 0)
        yield at_least("rows psql noted", notes, turns * PSQLS * (STEPS + 2))
        yield exactly("of them beside a write of the chain's", met, 0)
        yield exactly("content right", same, 1)
        here.query("truncate old.turns")
        spans, met, notes, said = _race(here, turns, locked=False)
        overlaps = sum(later[0] < earlier[1] for earlier, later in pairwise(sorted(spans)))
        yield at_least("without the key: sections overlapping", overlaps, 1)
        yield at_least("without the key: rows beside a write", met, 1)


def _race(
    here: Environment, turns: int, *, locked: bool
) -> tuple[list[tuple[datetime, datetime]], int, int, list[str]]:
    """Return all critical sections, the rows that met a write of the chain's, the rows, and what failed."""
    actions = [partial(here.reset, OLD), partial(here.reset, OLD, in_place=True), partial(here.seed, OLD)]
    failed: list[str] = []
    spans: list[tuple[datetime, datetime]] = []
    with ExitStack() as stack:
        children = [stack.enter_context(Child(partial(_repeat, action, turns))) for action in actions]
        programs = [_psql(here, f"psql {number}", turns, locked=locked) for number in range(PSQLS)]
        for child in children:
            ended = child.finish()
            if ended.ok:
                spans += [(_time(outcome.acquired_at), _time(outcome.released_at)) for outcome in ended.value]
            else:
                failed.append(ended.error)
        for program in programs:
            _, errors = program.communicate(timeout=120)
            if program.returncode or errors.strip():
                failed.append(errors or f"exit {program.returncode}")
    spans += here.query("select min(at), max(at) from old.turns group by who, turn")
    ((met, notes),) = here.query("select count(*) filter (where met > 0), count(*) from old.turns")
    return spans, int(met), int(notes), failed


def _repeat(action: partial[Outcome], turns: int) -> list[Outcome]:
    return [action() for _ in range(turns)]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def _psql(here: Environment, name: str, turns: int, *, locked: bool) -> subprocess.Popen[str]:
    dsn = Dsn.parse(here.url)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    environ |= {"PGPASSWORD": str(dsn.password)}
    program = subprocess.Popen(
        [str(find_binaries().bin / "psql"), "-X", "-q", "-o", os.devnull, dsn.without_password().url],
        env=environ,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdin is not None
    for turn in range(turns):
        program.stdin.write("\n".join(_seeder(name, turn, locked=locked)) + "\n")
    program.stdin.flush()
    time.sleep(random.uniform(0, 0.01))  # noqa: S311 - not for cryptography
    return program


def _seeder(name: str, turn: int, *, locked: bool) -> Iterator[str]:
    """Yield the statements of a seeder of old: it empties a table and fills it again with the same keys."""
    note = f"select old.note('{name}', {turn});"
    if locked:
        yield f"select pg_advisory_lock({LOCK_KEY});"
    yield note
    yield "create temp table kept as select * from invoice_tip_splits; delete from invoice_tip_splits;"
    for step in range(STEPS):
        yield f"insert into invoice_tip_splits select * from kept where abs(hashtext(id::text)) % {STEPS} = {step};"
        yield note
    yield f"drop table kept; {note}"
    if locked:
        yield f"select pg_advisory_unlock({LOCK_KEY});"
