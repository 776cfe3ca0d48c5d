"""Our runner beside PostgreSQL's own isolation tester, which comes with the wheel of the server programs.

Both have to print the same for the specs in tests/data/isolation and for generated ones: random sessions, statements,
waits, blockers and errors, on one server, each in a database of its own.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbtools.isolation import parse, run, suite
from dbtools.isolation.spec import ENCODING
from dbtools.server.embedded import EmbeddedServer
from dbtools.server.requirements import Requirements
from dbtools.server.sources import find_binaries, sources

OWN = Path(__file__).resolve().parent.parent / "data" / "isolation"
INSIDE = Path("pgxs/src/test/isolation/isolationtester")
TESTER = find_binaries().tree / "lib" / "postgresql" / INSIDE
OTHERS = {
    binaries.major: (binaries, tester)
    for binaries in sources()
    for tester in (binaries.tree / "lib" / folder / INSIDE for folder in ("postgresql", ""))
    if binaries.major != 16 and tester.is_file()
}
STEP_TIMEOUT_S = 60
"""A limit against hangs: no step of these specs comes near it."""
# What pg_isolation_regress sets before it calls the tester. It cancels a step after twice PG_TEST_TIMEOUT_DEFAULT.
OPTIONS = {
    "PGTZ": "PST8PDT",
    "PGDATESTYLE": "Postgres, MDY",
    "PGOPTIONS": "-c intervalstyle=postgres_verbose",
    "PG_TEST_TIMEOUT_DEFAULT": str(STEP_TIMEOUT_S // 2),
}
# Left out: specs with waits that only a later step of the same session would end, so that they last until a step is
# cancelled. 46 has a deadlock.
SEEDS = [seed for seed in range(20) if seed not in (5, 7, 16)]
SEEDS.append(46)
# Whose timer ends first decides who is the victim of a deadlock: long enough for both sessions to be waiting by then.
SETTINGS = suite.SETTINGS | {"deadlock_timeout": "3s"}
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
            # Chance decides, in both programs, whether a notice of the second statement precedes the first one's rows.
            sql = some[0] if chance.random() < 0.6 or "raise" in some[1] or "say" in some[1] else " ".join(some)
            lines.append(f"step {name} {{ {sql} }}" if chance.random() < 0.8 else f"step {name}\n{{\n  {sql}\n}}")
        lines.append(chance.choice(["teardown { rollback; }", "teardown { rollback; select 1 / 0; }"]))
        piles.append(names)
    for _ in range(chance.randint(1, 6)):
        left, order = [list(pile) for pile in piles], []
        while any(left):
            pile = chance.choice([pile for pile in left if pile])
            others = [name for other in left if other is not pile for name in other]
            blocker = f"({chance.choice(others)})" if others and chance.random() < 0.06 else ""
            order.append(f"{pile.pop(0)}{blocker}")
        lines.append(f"permutation {' '.join(order)}")
    return "\n".join(lines)


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start(settings=SETTINGS) as server:
        yield server


def database(server: EmbeddedServer) -> str:
    with server.connect_admin() as connection:
        connection.execute(f"drop database if exists {suite.DATABASE} with (force)")
        connection.execute(f"create database {suite.DATABASE} strategy file_copy")
    return server.url_of(suite.DATABASE, admin=True)


def output_of_tester(server: EmbeddedServer, text: bytes, name: str, tester: Path = TESTER) -> bytes:
    """Return what PostgreSQL's tester prints, on both streams."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return subprocess.run(
        [str(tester), database(server)],
        input=text,
        env=plain | OPTIONS | {"PGAPPNAME": f"isolation/{name}", "LC_ALL": "C"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ).stdout


def untimed(output: bytes) -> str:
    return re.sub(r"after \d+ seconds", "after N seconds", output.decode())


@pytest.mark.parametrize("path", sorted(OWN.glob("*.spec")), ids=lambda path: path.stem)
def test_the_outputs_that_we_expect_are_the_testers(path: Path, server: EmbeddedServer) -> None:
    assert output_of_tester(server, path.read_bytes(), path.stem) == path.with_suffix(".out").read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        b"# \0\nsession s # \0\nstep a { select 1 as one \0 more }\nstep b {\n select 2\0}\nstep c { \0select 3; }\n",
        b'session "s\0t"\nstep "a\0b" { select 1; }\nstep "\0" { select; }\n'
        b'step c { do $$ begin raise notice \'hi\'; end $$; }\npermutation "a\0x" c "\0y"\npermutation "a" c\n',
        b"setup { create table t (i int); \0 wrong }\nteardown { drop table t;\0x }\n"
        b"session s\nsetup { insert into t values (1);\0}\nstep a { table t; }\nteardown { select 'bye' as b\0;}\n",
        b"session s\nsetup { begin; declare c binary cursor for select i, i::float8, '\\x31320033'::bytea as b,"
        b" 'text' as t, interval '1 day' as d, 12::int2 as s"
        b" from (values (1), (825229312), (1094861636), (-1)) v (i); }\n"
        b"step a { fetch c; }\nstep b { fetch all c; }\nteardown { rollback; }\n",
    ],
    ids=["blocks", "names", "set-up", "values of a binary cursor"],
)
def test_nul_bytes_end_what_they_end_for_the_tester(text: bytes, server: EmbeddedServer) -> None:
    pieces: list[bytes] = []
    run(parse(text.decode(*ENCODING)), database(server), pieces.append, step_timeout=STEP_TIMEOUT_S)
    assert b"".join(pieces) == output_of_tester(server, text, "spec")


@pytest.mark.parametrize("major", OTHERS)
def test_the_testers_of_other_versions_print_the_same(major: int) -> None:
    binaries, tester = OTHERS[major]
    paths = [OWN / f"{name}.spec" for name in ("markers", "write-skew")]
    required = Requirements(major, programs=binaries.bin)
    results = suite.run_all(paths, None, lambda _: None, step_timeout=STEP_TIMEOUT_S, server=required)
    with EmbeddedServer.start(required, settings=SETTINGS) as server:
        for path, result in zip(paths, results, strict=True):
            assert result.output == output_of_tester(server, path.read_bytes(), path.stem, tester)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_spec_gives_what_the_tester_gives(seed: int, server: EmbeddedServer) -> None:
    text = specification(seed)
    pieces: list[bytes] = []
    run(parse(text), database(server), pieces.append, step_timeout=STEP_TIMEOUT_S)
    assert untimed(b"".join(pieces)) == untimed(output_of_tester(server, text.encode(), "spec"))
