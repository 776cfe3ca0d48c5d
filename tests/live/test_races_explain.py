"""`race.explain` names the anomaly of a failing run, and says truly which cures help."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import NoReturn

import psycopg

from dbtools.application import Invariant
from dbtools.config import Project
from dbtools.races import Actor, Scenario, Script, explain, explore, store
from dbtools.races.anomaly import Anomaly
from dbtools.races.cures import try_cures
from dbtools.races.execution.lab import Lab
from dbtools.races.explanation import Explanation, observe
from dbtools.races.judge import Judge
from dbtools.races.render import html
from dbtools.races.result import encode
from dbtools.races.scenario import Latch, Limits
from dbtools.races.schedule import Schedule
from dbtools.server.requirements import NONE
from tests.support.pages import ROOT, run

FIRST_READS: Schedule = ((0, 1), (1, None))
"""The first program takes one step, then the second one all of its steps."""
REFUSED = "refused with 40001; holds if the program retries"
LEVELS = ("REPEATABLE READ", "SERIALIZABLE")
TRANSACTION, PROGRAM = "a lock around each transaction", "a lock around each program"
CARDS = "create table cards (id int primary key, visits int not null); insert into cards values (1, 10)"
EIGHT = Invariant("eight are left", "select visits from cards where visits <> 8")
CLIENTS = (
    "create table clients"
    " (id int generated always as identity primary key, name text, made timestamptz default clock_timestamp())"
)
BELLAS = Invariant("one Bella", "select from clients having count(*) > 1")
DOCTORS = (
    "create table doctors (name text primary key, on_call bool); insert into doctors values ('a', true), ('b', true)"
)
TILLS = "create table tills (id int primary key, cents int); insert into tills values (1, 0), (2, 0)"


def case(start: str, calls: Sequence[object], *invariants: Invariant, latches: Sequence[Latch] = ()) -> Scenario:
    actors = [Actor(name, call=call) for name, call in zip(("ann", "bob", "cat"), calls, strict=False)]  # type: ignore[arg-type]
    return Scenario("case", actors, start=[start], invariants=invariants, latches=latches)


def never(*_: object) -> NoReturn:
    raise AssertionError("nothing is to be explored")


def tried(scenario: Scenario, schedule: Schedule = FIRST_READS) -> tuple[Anomaly, dict[str, str]]:
    """The anomaly, and the verdict on each cure without its numbers of schedules."""
    found = explain(scenario, encode(scenario, NONE.version, schedule), bound=1)
    assert found.anomaly is not None
    return found.anomaly, {trial.cure: re.sub(r" in \d+ of \d+ schedules", "", trial.verdict) for trial in found.trials}


def named(scenario: Scenario, schedule: Schedule = FIRST_READS) -> tuple[str, Anomaly]:
    """The failure of a schedule, which the scenario's invariants or an error tell, and its anomaly."""
    with Lab(scenario) as lab:
        run, anomaly = observe(lab, Judge(lab, never), schedule)
    assert anomaly is not None
    return run.failure, anomaly


def redeem(url: str, *, autocommit: bool = False, retry: bool = False) -> None:
    with psycopg.connect(url, autocommit=autocommit) as connection:
        while True:
            try:
                row = connection.execute("select visits from cards where id = 1").fetchone()
                assert row is not None
                connection.execute("update cards set visits = %s where id = 1", (row[0] - 1,))
                connection.commit()
            except psycopg.errors.SerializationFailure:
                connection.rollback()
                if not retry:
                    raise
            else:
                return


def test_a_lost_update_is_refused_by_the_levels() -> None:
    """With one program refused, eight are not left; that is as if it had not come yet."""
    anomaly, cures = tried(case(CARDS, [redeem, redeem], EIGHT))
    assert (anomaly.name, anomaly.why) == (
        "lost update",
        "ann wrote row 1 of cards from what it had read before bob wrote it: the work of bob is lost.",
    )
    assert anomaly.evidence == [
        "ann -rw-> bob: cards. Step 3 read it, then step 5 changed row 1.",
        "bob -ww-> ann: cards. Step 5 changed row 1, then step 7 changed row 1.",
    ]
    assert cures == {**dict.fromkeys(LEVELS, REFUSED), TRANSACTION: "holds", PROGRAM: "holds"}


def test_a_program_that_retries_holds_with_retries() -> None:
    retrying = partial(redeem, retry=True)
    _, cures = tried(case(CARDS, [retrying, retrying]))
    assert cures == {**dict.fromkeys(LEVELS, "holds with retries (40001)"), TRANSACTION: "holds", PROGRAM: "holds"}


def test_where_read_and_write_are_two_transactions_only_a_lock_around_the_program_helps() -> None:
    anomaly, cures = tried(case(CARDS, [partial(redeem, autocommit=True)] * 2))
    assert (anomaly.name, anomaly.why) == (
        "lost update",
        "ann wrote row 1 of cards from what it had read before bob wrote it: the work of bob is lost."
        " Steps 1 and 4 of ann are in different transactions, so no isolation level connects them.",
    )
    assert cures == {**dict.fromkeys((*LEVELS, TRANSACTION), "does not help"), PROGRAM: "holds"}


def test_an_atomic_update_leaves_nothing_to_explain() -> None:
    atomic = Script(["update cards set visits = visits - 1 where id = 1", "select 2"])
    scenario = case(CARDS, [atomic, atomic])
    found = explain(scenario, encode(scenario, NONE.version, FIRST_READS), bound=1)
    assert found == Explanation(found.run, None, [])
    assert found.run.failure == ""


def leave(url: str, *, name: str) -> None:
    with psycopg.connect(url) as connection:
        row = connection.execute("select count(*) from doctors where on_call").fetchone()
        assert row is not None
        if row[0] > 1:
            connection.execute("update doctors set on_call = false where name = %s", (name,))


def test_write_skew_is_refused_by_serializable_alone() -> None:
    anomaly, cures = tried(case(DOCTORS, [partial(leave, name="a"), partial(leave, name="b")]))
    assert anomaly.name == "write skew"
    assert anomaly.evidence == [
        "ann -rw-> bob: doctors. Step 3 read it, then step 5 changed row b.",
        "bob -rw-> ann: doctors. Step 4 read it, then step 7 changed row a.",
    ]
    assert cures == {
        "REPEATABLE READ": "does not help",
        "SERIALIZABLE": REFUSED,
        TRANSACTION: "holds",
        PROGRAM: "holds",
    }


def add(url: str) -> None:
    with psycopg.connect(url) as connection:
        if connection.execute("select from clients where name = 'Bella'").fetchone() is None:
            connection.execute("insert into clients (name) values ('Bella')")


def test_check_then_insert_and_the_index_that_the_rows_suggest() -> None:
    anomaly, cures = tried(case(CLIENTS, [add, add]))
    assert anomaly.name == "check-then-insert (phantom)"
    assert anomaly.evidence == [
        "ann -rw-> bob: clients. Step 3 read it, then step 5 inserted row 1.",
        "bob -rw-> ann: clients. Step 4 read it, then step 7 inserted row 2.",
    ]
    assert cures == {
        "REPEATABLE READ": "does not help",
        "SERIALIZABLE": REFUSED,
        TRANSACTION: "holds",
        PROGRAM: "holds",
        "a unique index on clients (name)": "refused with 23505; holds if the program handles that",
    }


def test_check_then_insert_with_a_unique_key_is_refused_by_it() -> None:
    failure, anomaly = named(case(f"{CLIENTS}; create unique index one on clients (name)", [add, add]))
    assert (failure, anomaly.name) == ("23505 one", "check-then-insert (phantom)")
    assert "the unique key refuses the second row" in anomaly.why
    assert anomaly.evidence[1] == "bob -ww-> ann: clients. Step 5 inserted row 1, then step 7 met it and failed."


def test_inside_one_statement_with_a_latch() -> None:
    """Both statements end at once; the lock around transactions leaves the latch itself alone."""
    insert = Script(["insert into clients select where not exists (select from clients)"])
    scenario = case("create table clients ()", [insert, insert], BELLAS, latches=[Latch("insert", table="clients")])
    _, anomaly = named(scenario, ((2, 1), (0, None)))
    assert anomaly.name == "check-then-insert (phantom)"


def transfer(url: str, *, tills: Sequence[int]) -> None:
    with psycopg.connect(url) as connection:
        for till in tills:
            connection.execute("update tills set cents = cents + 1 where id = %s", (till,))


def test_a_deadlock_by_order() -> None:
    anomaly, cures = tried(case(TILLS, [partial(transfer, tills=(1, 2)), partial(transfer, tills=(2, 1))]))
    assert anomaly.name == "deadlock by order"
    assert anomaly.evidence == [
        "ann waits for ShareLock on transaction; blocked by bob.",
        "bob waits for ShareLock on transaction; blocked by ann.",
    ]
    assert cures == {**dict.fromkeys(LEVELS, "deadlocks"), TRANSACTION: "holds", PROGRAM: "holds"}


def test_a_deadlock_of_shared_locks_is_not_said_to_be_one_of_order() -> None:
    upgrade = Script(
        ["begin", "select from tills where id = 1 for share", "update tills set cents = 1 where id = 1", "commit"]
    )
    failure, anomaly = named(case(TILLS, [upgrade, upgrade]))
    assert (failure, anomaly.name) == ("40P01", "deadlock")


def test_a_ddl_race_by_what_is_gone() -> None:
    rebuild = Script(["drop table cards", "create table cards (id int primary key, visits int)"])
    use = Script(["select 2", "insert into cards values (2, 10)"])
    failure, anomaly = named(case(CARDS, [rebuild, use]))
    assert (failure, anomaly.name, anomaly.evidence) == (
        "42P01",
        "DDL race",
        ["Step 3 of bob: 42P01 relation \"cards\" does not exist"],
    )  # fmt: skip


def test_a_ddl_race_by_what_is_there_already() -> None:
    """The incident: a reset creates its tables, a seeder fills them, and the reset's load meets the rows."""
    reset = Script(["drop table cards", "create table cards (id int primary key)", "insert into cards values (1)"])
    seed = Script(["truncate cards", "insert into cards values (1)"])
    failure, anomaly = named(case(CARDS, [reset, seed]), ((0, 2), (1, None)))
    assert (failure, anomaly.name) == ("23505 cards_pkey", "DDL race")
    assert anomaly.evidence == [
        "ann -ww-> bob: cards. Step 2 defined it, then step 4 inserted row 1.",
        "bob -ww-> ann: cards. Step 4 inserted row 1, then step 5 met it and failed.",
    ]


def test_two_programs_that_create_the_same_table() -> None:
    create = Script(["begin", "create table jobs ()", "commit"])
    failure, anomaly = named(case("", [create, create]))
    assert (failure, anomaly.name) == ("23505 pg_type_typname_nsp_index", "DDL race")
    assert anomaly.why == (
        "ann defines jobs while bob also creates, alters or drops something: step 4 of bob fails by that."
    )


def late(url: str, *, lock_first: bool = False) -> None:
    """Read the card before the lock or after, and write it under the lock."""
    with psycopg.connect(url, autocommit=True) as connection:
        if lock_first:
            connection.execute("select pg_advisory_lock(7)")
        row = connection.execute("select visits from cards where id = 1").fetchone()
        if not lock_first:
            connection.execute("select pg_advisory_lock(7)")
        assert row is not None
        connection.execute("update cards set visits = %s where id = 1", (row[0] - 1,))
        connection.execute("select pg_advisory_unlock(7)")


def test_a_lock_taken_too_late() -> None:
    failure, anomaly = named(case(CARDS, [late, partial(late, lock_first=True)], EIGHT))
    assert (failure, anomaly.name, anomaly.why) == (
        "invariant eight are left",
        "lock taken too late",
        "ann and bob both take advisory lock 7, but ann sees a state from before it has it (step 6):"
        " step 1 does not see what bob wrote under it.",
    )


def test_a_snapshot_from_before_the_lock_is_as_late() -> None:
    """At REPEATABLE READ the statement that waits for the lock has taken the snapshot before it waits."""

    def work(url: str) -> None:
        with psycopg.connect(url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.execute("select pg_advisory_xact_lock(7)")
            row = connection.execute("select count(*) from clients").fetchone()
            assert row is not None
            if not row[0]:
                connection.execute("insert into clients (name) values ('Bella')")

    scenario = case(CLIENTS, [work, work], BELLAS)
    _, anomaly = named(scenario)
    assert anomaly.name == "lock taken too late"


EVENTS = """
create table events (id int generated always as identity primary key, what text);
create table position (last int not null);
insert into position values (0);
create table copied (id int primary key);
"""


def follow(url: str) -> None:
    with psycopg.connect(url) as connection:
        rows = connection.execute("select id from events where id > (select last from position)").fetchall()
        for (number,) in rows:
            connection.execute("insert into copied values (%s)", (number,))
        if rows:
            connection.execute("update position set last = %s", (max(rows)[0],))


def test_a_row_missed_behind_a_sequence() -> None:
    slow = Script(["begin", "insert into events (what) values ('slow')", "commit"])
    fast = Script(["insert into events (what) values ('fast')"])
    passed_over = "select id from events, position where id <= last and id not in (select id from copied)"
    scenario = case(EVENTS, [slow, fast, follow], Invariant("none is passed over", passed_over))
    _, anomaly = named(scenario, ((0, 1), (1, None), (2, None)))
    assert (anomaly.name, anomaly.why) == (
        "missed row behind a sequence",
        "cat had read row 2 of events when row 1 was committed:"
        " keys are handed out in order, but not committed in order.",
    )


def test_what_no_name_fits_is_called_by_its_class() -> None:
    """Two programs that replace the same rows, each statement its own transaction."""
    rewrite = Script(["delete from cards", "insert into cards values (1, 3)"])
    failure, anomaly = named(case(CARDS, [rewrite, rewrite]))
    assert (failure, anomaly.name) == ("23505 cards_pkey", "write-write conflict")


def test_a_read_that_the_other_one_does_not_change_is_no_evidence() -> None:
    """Each reads and changes a card of its own; the conflict is in the other table."""

    def work(url: str, *, card: int) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("select visits from cards where id = %s", (card,))
            connection.execute("update cards set visits = 1 where id = %s", (card,))
            add(url)

    start = f"{CARDS}; insert into cards values (2, 10); {CLIENTS}"
    scenario = case(start, [partial(work, card=1), partial(work, card=2)], BELLAS)
    _, anomaly = named(scenario, ((0, 3), (1, None)))
    assert anomaly.name == "check-then-insert (phantom)"
    assert {one.relation for one in anomaly.dependencies} == {"clients"}


def test_what_a_level_cannot_reach_is_said() -> None:
    fixed = Script(
        [
            "begin isolation level repeatable read",
            "select visits from cards",
            "update cards set visits = visits + 1",
            "commit",
        ]
    )
    with Lab(case(CARDS, [fixed, fixed])) as lab:
        run, anomaly = observe(lab, Judge(lab, never), FIRST_READS)
        assert anomaly is not None
        trials = [*islice(try_cures(lab, run, anomaly, never), 2)]
    assert run.failure == "40001"
    assert [(trial.cure, trial.verdict, trial.detail) for trial in trials] == [
        (
            level,
            "could not be tried",
            "ann sets its isolation level itself: begin isolation level repeatable read",
        )
        for level in LEVELS
    ]


def test_read_skew() -> None:
    def check(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            sums = [connection.execute(f"select cents from tills where id = {till}").fetchone() for till in (1, 2)]
            connection.execute("insert into sums values (%s)", (sum(row[0] for row in sums if row),))

    moves = [f"update tills set cents = cents + {cents} where id = {till}" for till, cents in ((1, -5), (2, 5))]
    start = f"{TILLS}; create table sums (cents int)"
    invariant = Invariant("nothing is made", "select from sums where cents <> 0")
    _, anomaly = named(case(start, [check, Script(["begin", *moves, "commit"])], invariant))
    assert anomaly.name == "read skew"
    assert anomaly.evidence == [
        "ann -rw-> bob: tills. Step 2 read it, then step 4 changed 2 rows.",
        "bob -wr-> ann: tills. Step 4 changed 2 rows, then step 6 read it.",
    ]


def test_check_then_act() -> None:
    visit = Script(["select from cards where id = 1", "insert into visits values (1)"])
    close = Script(["select 2", "delete from cards"])
    start = f"{CARDS}; create table visits (card int references cards)"
    failure, anomaly = named(case(start, [visit, close]))
    assert (failure, anomaly.name) == ("23503 visits_card_fkey", "check-then-act")
    assert anomaly.evidence == ["ann -rw-> bob: cards. Step 1 read it, then step 3 deleted row 1."]


def test_a_check_that_is_acted_on_in_vain_behind_a_temporary_table() -> None:
    """No other session can parse a statement that names such a table."""
    add = "insert into cards select id, visits from staged where not exists (select from cards where id = staged.id)"
    stage = "create temp table staged as select 2 as id, 1 as visits"
    change = "update cards set visits = cards.visits + 1 from staged where cards.id = staged.id"
    start = f"{CARDS}; create table visits (card int)"
    counted = Invariant("both are counted", "select from cards where id = 2 and visits < 2")
    merge = Script(["begin", stage, change, add, "commit"])
    failure, anomaly = named(case(start, [merge, merge], counted), ((0, 2), (1, None)))
    assert (failure, anomaly.name) == ("invariant both are counted", "check-then-act")
    assert anomaly.why == "ann read cards before bob changed it, and acted on that: step 9 changes no row."
    assert anomaly.evidence == ["ann -rw-> bob: cards. Step 4 read it, then step 7 inserted row 2."]


def test_what_a_cursor_fetches_is_read_where_it_is_declared() -> None:
    def redeem_by_cursor(url: str) -> None:
        with psycopg.connect(url) as connection:
            with connection.cursor(name="all cards") as cursor:
                ((visits,),) = cursor.execute("select visits from cards where id = 1").fetchall()
            connection.execute("update cards set visits = %s", (visits - 1,))

    eight = Invariant("two visits are gone", "select from cards where visits <> 8")
    failure, anomaly = named(case(CARDS, [redeem_by_cursor, redeem_by_cursor], eight), ((0, 2), (1, None)))
    assert (failure, anomaly.name) == ("invariant two visits are gone", "lost update")


def test_two_programs_that_add_the_same_value_to_a_type() -> None:
    add = Script(["select from pg_enum", "alter type state add value 'done'"])
    failure, anomaly = named(case("create type state as enum ()", [add, add]))
    assert (failure, anomaly.name, anomaly.why) == (
        "42710",
        "DDL race",
        "bob and ann create, alter or drop something at once: step 4 of ann fails by that.",
    )


def test_a_failure_is_named_by_what_made_the_transaction_fail() -> None:
    def visit(url: str) -> None:
        with psycopg.connect(url) as connection:
            for query in ("select from cards where id = 2", "insert into cards values (2, 1)", "select 2"):
                with suppress(psycopg.errors.UniqueViolation):
                    connection.execute(query)

    failure, anomaly = named(case(CARDS, [visit, visit]))
    assert (failure, anomaly.name) == ("23505 cards_pkey", "check-then-insert (phantom)")


def test_a_hang_is_not_called_a_deadlock() -> None:
    def work(url: str) -> None:
        with psycopg.connect(url) as lock, psycopg.connect(url) as again:
            for connection in (lock, again):
                connection.execute("select pg_advisory_xact_lock(7)")

    scenario = replace(case("", [work]), limits=Limits(patience=0.2, hang=0.5))
    failure, anomaly = named(scenario, ((0, None),))
    assert (failure, anomaly.name, anomaly.evidence) == (
        "hang",
        "hang",
        ["No actor can make progress: ann#2 waits for ann."],
    )


def test_a_violated_exploration_has_the_anomaly() -> None:
    found = explore(case(CARDS, [redeem, redeem]))
    assert found.anomaly is not None
    assert found.failing is not None
    assert found.anomaly.name == "lost update"
    page = html(found.failing.trace, "cards", anomaly=found.anomaly)
    assert "<h2>Anomaly: lost update</h2>" in page
    assert '<a href="#s3">step 3</a>, <a href="#s5">step 5</a></li>' in page


def test_a_locked_catalogue_hides_the_run() -> None:
    """Nobody else, not even the lab, can look into pg_class meanwhile: only the class of the failure is known."""
    locking = Script(["begin", "lock table pg_catalog.pg_class in access exclusive mode", "select 1 / 0"])
    scenario = case(CARDS, [locking])
    scenario = replace(scenario, actors=[replace(scenario.actors[0], superuser=True)])
    failure, anomaly = named(scenario, ((0, None),))
    assert (failure, anomaly.name, anomaly.why) == (
        "22012",
        "unknown",
        "A program locks one of the server's catalogues, so the run could not be observed.",
    )


def test_the_task_refuses_a_run_that_does_not_fail() -> None:
    scenario = store.find(Project.find(ROOT), "write-skew")
    token = encode(scenario, NONE.version, FIRST_READS)
    done = run(f"scripts/dev invoke race.explain {token}")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"There is nothing to explain in the run of {token}.\n"
        "It ended so: no failure.\n"
        "Find a race first: invoke race.explore\n",
    )
