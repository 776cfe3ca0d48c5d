"""`race.spec` beside PostgreSQL's own isolation tester, which the wheel of the server programs brings along.

The expected outputs in tests/data/isolation are held to it, and so are specs that nobody has written: random sessions,
statements, waits, markers and errors, on one server, each in a database of its own.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dbtools.isolation import parser as specfile
from dbtools.isolation import suite as conformance
from dbtools.isolation.runner import run
from dbtools.server import binaries
from dbtools.server.embedded import EmbeddedServer

OWN = Path(__file__).resolve().parent.parent / "data" / "isolation"
TESTER = (
    binaries.find_binaries().tree / "lib" / "postgresql" / "pgxs" / "src" / "test" / "isolation" / "isolationtester"
)
# What pg_isolation_regress sets before it calls the tester.
OPTIONS = {
    "PGTZ": "PST8PDT",
    "PGDATESTYLE": "Postgres, MDY",
    "PGOPTIONS": "-c intervalstyle=postgres_verbose",
}
# Without those that wait again and again for what only a later step would end, until they are cancelled.
SEEDS = [seed for seed in range(40) if seed not in (5, 7, 16, 22, 27, 35, 37, 39)]
ONCE = 46
"""This one does so once: its steps are cancelled early."""
pytestmark = pytest.mark.skipif(not TESTER.is_file(), reason=f"there is no {TESTER}")
SETUP = """
setup { create table t (k int primary key, v text, n numeric); insert into t select i, 'v' || i, i * 1.5
        from generate_series(1, 4) i; }
setup { create function say(x text) returns int language plpgsql as
        $$ begin raise warning 'say %', x using detail = 'd', hint = 'h'; return length(x); end $$;
        select 1 as set_up; }
teardown { drop table t; drop function say(text); select 'gone' as torn_down; }
"""
BEGINNINGS = (
    *("begin;", "begin isolation level repeatable read;", "begin isolation level serializable;"),
    *("set deadlock_timeout = '100ms'; begin;", "listen c; begin;", "select 1 as mine;"),
)
STATEMENTS = (
    *("select * from t order by k;", "update t set v = v || 'x' where k = {k};", "delete from t where k = {k};"),
    *("insert into t values ({k} + 4, 'n', null);", "insert into t values ({k}, 'e', 1e20) on conflict do nothing;"),
    *("select k from t where k = {k} for update;", "select k from t where k = {k} for share nowait;"),
    *("select k, v from t order by k for update skip locked;", "lock table t in share mode;", "truncate t;"),
    *("select say('{k}');", "select pg_advisory_xact_lock({k});", "select 1 / 0 as oops;", "notify c, 'p{k}';"),
    *("commit;", "rollback;", "begin;", "savepoint a;", "rollback to a;", "select;", "", "syntax error here;"),
    "select null as a, '' as b, -1.5e3::float8 as c, 'E1' as d, '1-' as e;",
    "select 'ä' as \"ümlaut\", array[1, 2] as a, timestamptz '2020-01-01 00:00+00' as t, interval '1 day 2 s' as i;",
    "do $$ begin raise notice E'two\\nlines'; raise info 'i'; raise exception 'boom' using detail = 'no'; end $$;",
)


def specification(seed: int) -> str:
    """Return a spec of two to four sessions, in one to six orders."""
    chance = random.Random(seed)  # noqa: S311 - a spec, not a secret
    lines, piles = [SETUP], []
    for session in range(chance.choice([2, 2, 3, 4])):
        lines.append(f"session s{session}")
        if chance.random() < 0.6:
            lines.append(f"setup {{ {chance.choice(BEGINNINGS)} }}")
        names = [f'"s{session} ""{number}"' for number in range(chance.choice([2, 3, 4]))]
        for name in names:
            some = [chance.choice(STATEMENTS).replace("{k}", str(chance.randint(1, 5))) for _ in range(2)]
            # Whether a notice of the second statement is printed before the first one's rows is chance, there as here.
            sql = some[0] if chance.random() < 0.6 or "raise" in some[1] or "say" in some[1] else " ".join(some)
            lines.append(f"step {name} {{ {sql} }}" if chance.random() < 0.8 else f"step {name}\n{{\n  {sql}\n}}")
        lines.append(chance.choice(["teardown { rollback; }", "teardown { rollback; select 1 / 0; }"]))
        piles.append(names)
    for _ in range(chance.randint(1, 6)):
        left, words = [list(pile) for pile in piles], []
        while any(left):
            pile = chance.choice([pile for pile in left if pile])
            others = [name for other in left if other is not pile for name in other]
            marker = f"({chance.choice(others)})" if others and chance.random() < 0.06 else ""
            words.append(f"{pile.pop(0)}{marker}")
        lines.append(f"permutation {' '.join(words)}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start(settings=conformance.SETTINGS) as server:
        yield server


def database(server: EmbeddedServer) -> str:
    assert server.admin_url is not None
    with psycopg.connect(server.admin_url, autocommit=True) as connection:
        connection.execute(f"drop database if exists {conformance.DATABASE} with (force)")
        connection.execute(f"create database {conformance.DATABASE} strategy file_copy")
    return f"{server.admin_url.rpartition('/')[0]}/{conformance.DATABASE}"


def said(server: EmbeddedServer, text: bytes, name: str, step_timeout: int = 60) -> bytes:
    """Return what the tester prints, on both streams."""
    half = str(step_timeout // 2)  # the tester cancels a step after twice this
    plain = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return subprocess.run(
        [str(TESTER), database(server)],
        input=text,
        env=plain | OPTIONS | {"PGAPPNAME": f"isolation/{name}", "PG_TEST_TIMEOUT_DEFAULT": half, "LC_ALL": "C"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ).stdout


def untimed(output: bytes) -> str:
    return re.sub(r"after \d+ seconds", "after N seconds", output.decode())


@pytest.mark.parametrize("path", sorted(OWN.glob("*.spec")), ids=lambda path: path.stem)
def test_the_outputs_that_we_expect_are_the_testers(path: Path, server: EmbeddedServer) -> None:
    assert said(server, path.read_bytes(), path.stem) == path.with_suffix(".out").read_bytes()


@pytest.mark.parametrize("seed", [*SEEDS, ONCE])
def test_a_random_spec_gives_what_the_tester_gives(seed: int, server: EmbeddedServer) -> None:
    text = specification(seed)
    pieces: list[bytes] = []
    step_timeout = 2 if seed == ONCE else 60
    run(specfile.parse(text), database(server), pieces.append, step_timeout=step_timeout)
    assert untimed(b"".join(pieces)) == untimed(said(server, text.encode(), "spec", step_timeout))
