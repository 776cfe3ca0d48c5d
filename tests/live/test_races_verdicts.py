"""Verdicts on races of known outcome: half of them real, half of them cured.

Each program is as a user would write it. The names of the cases say what decides.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from dbtools.application import Invariant
from dbtools.races import Actor, Scenario, explore
from dbtools.races.result import ExplorationResult, Verdict
from dbtools.races.scenario import Limits, Script

HELD, VIOLATED, INCONCLUSIVE = Verdict.HELD, Verdict.VIOLATED, Verdict.INCONCLUSIVE
COUNTER = "create table counter (n int not null); insert into counter values (0)"
JOB = "create table jobs (id int primary key, owner text); insert into jobs values (1, null)"


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True)


def one(connection: psycopg.Connection, query: str, *values: object) -> Any:
    row = connection.execute(query, values).fetchone()
    return row[0] if row else None


def add(connection: psycopg.Connection) -> None:
    connection.execute("update counter set n = %s", (one(connection, "select n from counter") + 1,))


def get_or_create(table: str, columns: str = "b", values: str = "'x'") -> Callable[[str], None]:
    def program(url: str) -> None:
        with connect(url) as connection:
            if one(connection, f"select count(*) from {table} where b = 'x'") == 0:
                connection.execute(f"insert into {table} ({columns}) values ({values})")

    return program


def order_of(who: str, own: bool, key: Callable[[], str] | None = None) -> Callable[[str], None]:
    """Place an order and put an item under it: under one's own, or under that which looks like the newest."""

    def program(url: str) -> None:
        with connect(url) as connection:
            if key:
                order: object = key()
                connection.execute("insert into orders (id, who) values (%s, %s)", (order, who))
            else:
                order = one(connection, "insert into orders (who) values (%s) returning id", who)
            if not own:
                order = one(connection, "select id from orders order by placed desc limit 1")
            connection.execute("insert into items (order_id, what) values (%s, %s)", (order, f"{who}'s"))

    return program


def logged(who: str) -> Callable[[str], None]:
    """Place two orders, and log each by its number."""

    def program(url: str) -> None:
        with connect(url) as connection:
            for _ in range(2):
                order = one(connection, "insert into orders (who) values (%s) returning id", who)
                connection.execute("insert into log (line) values (%s)", (f"order {order} of {who}",))

    return program


def orders(key: str, reference: str = "references orders") -> str:
    kind = key.partition(" ")[0].replace("serial", "int")
    return (
        f"create table orders (id {key} primary key, who text, placed timestamptz default clock_timestamp());"
        f"create table items (id serial primary key, order_id {kind} {reference}, what text)"
    )


def try_lock(early: bool = False, tries: int = 1_000, nap: float = 0.01) -> Callable[[str], None]:
    """Count up under a lock that is polled for; `early` gives it back before the commit."""

    def program(url: str) -> None:
        with connect(url) as connection:
            for _ in range(tries):
                if one(connection, "select pg_try_advisory_lock(7)"):
                    break
                time.sleep(nap)
            else:
                raise SystemExit("no lock")
            connection.execute("begin")
            add(connection)
            if early:
                connection.execute("select pg_advisory_unlock(7)")
                connection.execute("commit")
            else:
                connection.execute("commit")
                connection.execute("select pg_advisory_unlock(7)")

    return program


def lease(atomic: bool) -> Callable[[str], None]:
    """Count up under a row that is polled for, as programs do that have no advisory locks."""

    def program(url: str) -> None:
        with connect(url) as connection:
            while True:
                if atomic:
                    taken = connection.execute("update lease set taken = true where not taken").rowcount
                else:
                    taken = int(one(connection, "select count(*) from lease where not taken"))
                    if taken:
                        connection.execute("update lease set taken = true")
                if taken:
                    break
                time.sleep(0.01)
            add(connection)
            connection.execute("update lease set taken = false")

    return program


def two_phase(lock: bool) -> Callable[[str], None]:
    def program(url: str) -> None:
        gid = str(uuid.uuid4())
        with connect(url) as connection:
            connection.execute("begin")
            n = one(connection, f"select n from counter{' for update' if lock else ''}")
            connection.execute("update counter set n = %s", (n + 1,))
            connection.execute(f"prepare transaction '{gid}'")
            connection.execute(f"commit prepared '{gid}'")

    return program


def on_call(level: str, retry: bool) -> Callable[[str], None]:
    """Go home while somebody else stays."""

    def program(url: str) -> None:
        me = os.environ["ACTOR"]
        with connect(url) as connection:
            while True:
                try:
                    connection.execute(f"begin isolation level {level}")
                    if one(connection, "select count(*) from staff where here") > 1:
                        connection.execute("update staff set here = false where name = %s", (me,))
                    connection.execute("commit")
                except psycopg.errors.SerializationFailure:
                    connection.execute("rollback")
                    if not retry:
                        raise
                else:
                    return

    return program


def worker(listen_first: bool) -> Callable[[str], None]:
    """Take the job; where there is none yet, wait for the notification."""

    def take(connection: psycopg.Connection) -> bool:
        return connection.execute("update jobs set owner = 'me' where owner is null").rowcount > 0

    def program(url: str) -> None:
        with connect(url) as connection:
            if listen_first:
                connection.execute("listen jobs")
            if take(connection):
                return
            if not listen_first:
                connection.execute("listen jobs")
            if [*connection.notifies(timeout=1, stop_after=1)]:
                take(connection)

    return program


POST = Script(["begin", "insert into jobs values (2, null)", "notify jobs", "commit"])


def cursor(lock: bool) -> Callable[[str], None]:
    def program(url: str) -> None:
        with connect(url) as connection, connection.transaction():
            connection.execute(f"declare c cursor for select n from counter{' for update' if lock else ''}")
            n = one(connection, "fetch c")
            connection.execute("update counter set n = %s", (n + 1,))

    return program


def copy(together: bool) -> Callable[[str], None]:
    def program(url: str) -> None:
        with connect(url) as connection:
            connection.execute("begin" if together else "select 1")
            connection.execute("truncate counter")
            with connection.cursor() as copying, copying.copy("copy counter from stdin") as rows:
                rows.write("1\n2\n")
            connection.execute("commit" if together else "select 1")

    return program


def slow(lock: bool) -> Callable[[str], None]:
    """Read, think for longer than the lab's patience, and write."""

    def program(url: str) -> None:
        with connect(url) as connection, connection.transaction():
            n = one(connection, f"select n from counter{' for update' if lock else ''}")
            time.sleep(0.25)
            connection.execute("update counter set n = %s", (n + 1,))

    return program


def claim(locked: bool) -> Callable[[str], None]:
    """Take the free job, and note the process that took it."""

    def program(url: str) -> None:
        with connect(url) as connection, connection.transaction():
            job = one(
                connection, f"select id from jobs where owner is null{' for update skip locked' if locked else ''}"
            )
            if job:
                connection.execute("update jobs set owner = pg_backend_pid() where id = %s", (job,))
                connection.execute("insert into done (job, at) values (%s, now())", (job,))

    return program


DONE = f"{JOB}; create table done (id serial, job int, at timestamptz)"
STAFF = "create table staff (name text primary key, here bool); insert into staff values ('ann', true), ('bob', true)"
SOMEBODY = Invariant("somebody is here", "select 1 where not exists (select from staff where here)")
RAISE = Script(["update counter set n = n + 1"])
INSERT = Script(["insert into jobs values (2, 'x')", "insert into done (job) values (2)"])


@dataclass
class Case:
    """Programs, from what they begin, and what is true of them."""

    name: str
    verdict: Verdict
    programs: list[Callable[[str], object]]
    start: str
    failure: str = ""
    more: dict[str, Any] = field(default_factory=dict)
    not_compared: list[str] = field(default_factory=list)
    reason: str = ""
    bound: int = 1


def twice(program: Callable[[str], object], count: int = 2) -> list[Callable[[str], object]]:
    return [program] * count


WRONG = "no serial order"
STAMPED = "create table w (b text{}, made timestamptz default clock_timestamp())"
NAMED = "create table w (id uuid primary key default gen_random_uuid(), b text{})"
CASES = [
    Case("time stamp", VIOLATED, twice(get_or_create("w")), STAMPED.format(""), WRONG, not_compared=["w.made"]),
    Case(
        "time stamp, cured", HELD, twice(Script(["insert into w values ('x') on conflict do nothing", "select 1 + 1"])),
        STAMPED.format(" unique"), not_compared=["w.made"],
    ),
    Case("uuid", VIOLATED, twice(get_or_create("w")), NAMED.format(""), WRONG),
    Case(
        "uuid, cured", HELD,
        twice(Script(["insert into w (b) values ('x') on conflict do nothing", "select count(*) from w"])),
        NAMED.format(" unique"),
    ),
    Case("another schema", VIOLATED, twice(get_or_create("app.w")), "create schema app; create table app.w (b text)",
         WRONG),
    Case("serial key", VIOLATED, [order_of("ann", False), order_of("bob", False)], orders("serial"), WRONG,
         not_compared=["orders.placed"]),
    Case("serial key, cured", HELD, [order_of("ann", True), order_of("bob", True)], orders("serial"),
         not_compared=["orders.placed"]),
    Case("no foreign key", VIOLATED, [order_of("ann", False), order_of("bob", False)], orders("serial", ""), WRONG,
         not_compared=["orders.placed"]),
    Case("no foreign key, cured", HELD, [order_of("ann", True), order_of("bob", True)], orders("serial", ""),
         not_compared=["orders.placed"]),
    Case("keys in a log", HELD, [logged("ann"), logged("bob")],
         "create table orders (id serial primary key, who text); create table log (id serial, line text)"),
    Case("uuid of the program", VIOLATED,
         [order_of("ann", False, lambda: str(uuid.uuid4())), order_of("bob", False, lambda: str(uuid.uuid4()))],
         orders("uuid"), WRONG, not_compared=["orders.placed"]),
    Case("uuid of the program, cured", HELD,
         [order_of("ann", True, lambda: str(uuid.uuid4())), order_of("bob", True, lambda: str(uuid.uuid4()))],
         orders("uuid"), not_compared=["orders.placed"]),
    Case("process id", VIOLATED, twice(claim(False)), DONE, WRONG, not_compared=["done.at", "jobs.owner"]),
    Case("process id, cured", HELD, twice(claim(True)), DONE, not_compared=["done.at", "jobs.owner"]),
    Case("polling lock", VIOLATED, twice(try_lock(early=True)), COUNTER, WRONG, bound=2),
    Case("polling lock, cured", HELD, twice(try_lock()), COUNTER),
    Case("polling lock with a limit", HELD, twice(try_lock(tries=3)), COUNTER),
    Case("lease", VIOLATED, twice(lease(False)), f"{COUNTER}; create table lease (taken bool);"
         " insert into lease values (false)", WRONG, bound=2),
    Case("lease, cured", HELD, twice(lease(True)), f"{COUNTER}; create table lease (taken bool);"
         " insert into lease values (false)"),
    Case("two-phase commit", VIOLATED, twice(two_phase(False)), COUNTER, WRONG),
    Case("two-phase commit, cured", HELD, twice(two_phase(True)), COUNTER),
    Case("write skew", VIOLATED, twice(on_call("repeatable read", retry=True)), STAFF, "invariant somebody is here",
         {"invariants": [SOMEBODY]}),
    Case("write skew, cured by retries", HELD, twice(on_call("serializable", retry=True)), STAFF, "",
         {"invariants": [SOMEBODY]}),
    Case("serialization failure", VIOLATED, twice(on_call("serializable", retry=False)), STAFF, "40001"),
    Case("serialization failure, allowed", HELD, twice(on_call("serializable", retry=False)), STAFF, "",
         {"allow": ["40001"], "invariants": [SOMEBODY]}),
    Case("three actors", VIOLATED, [*twice(RAISE), lambda url: add(connect(url))], COUNTER, WRONG),
    Case("three actors, cured", HELD, twice(Script(["begin", *RAISE.statements, "commit"]), 3), COUNTER),
    Case("LISTEN", VIOLATED, [worker(False), POST], "create table jobs (id int, owner text)", WRONG),
    Case("LISTEN, cured", HELD, [worker(True), POST], "create table jobs (id int, owner text)"),
    Case("cursor", VIOLATED, twice(cursor(False)), COUNTER, WRONG),
    Case("cursor, cured", HELD, twice(cursor(True)), COUNTER),
    Case("COPY", VIOLATED, twice(copy(False)), COUNTER, WRONG),
    Case("COPY, cured", HELD, twice(copy(True)), COUNTER),
    Case("a pause", VIOLATED, twice(slow(False)), COUNTER, WRONG, {"limits": Limits(patience=0.1)}),
    Case("a pause, cured", HELD, twice(slow(True)), COUNTER, "", {"limits": Limits(patience=0.1)}),
    Case("refused in every order", INCONCLUSIVE, twice(INSERT), DONE, reason=(
        "It fails also one after the other (a, then b): no race."
        ' b: duplicate key value violates unique constraint "jobs_pkey"')),
    Case("refused in every order, allowed", HELD, twice(INSERT), DONE, "", {"allow": ["23505 jobs_pkey"]}),
]  # fmt: skip


def judge(case: Case) -> ExplorationResult:
    actors = [
        Actor("abc"[number], call=program, environment={"ACTOR": ("ann", "bob", "eve")[number]})
        for number, program in enumerate(case.programs)
    ]
    return explore(Scenario(case.name, actors, [case.start], **case.more), bound=case.bound)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_race_of_known_outcome_gets_the_right_verdict(case: Case) -> None:
    found = judge(case)
    assert (found.verdict, found.failure, found.reason, found.not_compared) == (
        case.verdict,
        case.failure,
        case.reason,
        case.not_compared,
    )
