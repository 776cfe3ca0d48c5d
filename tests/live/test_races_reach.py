"""What a statement reaches, as the server and its catalog say; and what a choice reaches in a run of programs."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from dbtools.races import Actor, Scenario, explore
from dbtools.races.execution.catalogue import Catalogue
from dbtools.races.execution.lab import Lab
from dbtools.races.reach import CLOCK
from dbtools.races.result import Verdict
from dbtools.races.scenario import Script
from dbtools.races.schedule import continue_current
from tests.support.pipelines import pipeline
from tests.support.random_races import compare, scenario

TABLES = """
create table clients (id serial primary key, name text unique);
create table visits (id int generated always as identity primary key, client int references clients on delete cascade);
create table notes (visit int references visits, line text, made timestamptz default now());
create table days (id int, n int) partition by range (id);
create table days_1 partition of days for values from (0) to (9);
create view names as select name from clients;
create sequence free; create table odd (id int default nextval('free'), code uuid default gen_random_uuid());
create table other (n int, t timestamptz)
"""
Looked = tuple[str, str] | None


@pytest.fixture
def look(connect: Callable[[], psycopg.Connection]) -> Callable[[str, str], Looked]:
    """Return what a statement reads and writes, after changes of the catalog; None if that is not known."""
    connection = connect()
    connection.execute(TABLES.encode())

    def names(numbers: frozenset[int]) -> str:
        rows = connection.execute("select relname from pg_class where oid = any(%s)", [[*numbers]]).fetchall()
        return " ".join(sorted(name for (name,) in rows))

    def look(sql: str, more: str = "") -> Looked:
        connection.execute(more.encode() or b"select")
        reach = Catalogue(connection).reach(sql)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        return None if reach is None else (names(reach.reads), names(reach.writes))

    return look


def test_what_a_statement_reads_and_writes(look: Callable[[str, str], Looked]) -> None:
    visits = "clients clients_id_seq visits visits_id_seq"
    known = {
        "select n from other where n = $1": ("other", ""),
        "select 1 + 1": ("", ""),
        "select (select max(id) from clients), n from other;": ("clients other", ""),
        "select n from other for share": ("other", "other"),
        "update other set n = 1 where n in (select id from clients)": ("clients other", "other"),
        "insert into clients (name) values ('drop; table')": None,  # it could be two statements
        "insert into clients (name) values ($1)": ("clients", "clients clients_id_seq"),
        "insert into visits (client) select id from clients": ("clients visits", visits),
        "insert into visits (client) values (1) on conflict do nothing": ("visits", visits),
        "delete from clients": ("clients", "clients clients_id_seq notes visits visits_id_seq"),
        "insert into notes (line) values ('x')": ("notes", "notes visits visits_id_seq"),
        "with gone as (delete from other returning n) select * from gone": ("other", "other"),
        "select n from days": ("days", ""),
        "update days_1 set n = 2": ("days", "days"),
        "insert into odd default values": ("odd", "free odd"),
        "select * into new from other": None,
        "create table new (n int)": None,
        "truncate other": None,
        "lock table other": None,
        "copy other from stdin": None,
        "select name from names": None,
        "select last_value from free": None,
        "select nextval('free')": None,
        "select count(*) from pg_class": None,
        "select count(*) from information_schema.tables": None,
        "select pg_advisory_lock(1)": None,
        "select n, clock_timestamp() from other": None,
        "select xmin, n from other": None,
        "select table_to_xml('other', true, true, '')": None,
        "select n from nowhere": None,
        "select n from other; select 1": None,
        "explain analyze delete from other": None,
    }
    assert {sql: look(sql, "") for sql in known} == known


@pytest.mark.parametrize(
    ("more", "reads", "writes"),
    [
        ("", True, True),
        ("create function f() returns int language sql return 1", False, False),
        ("create rule r as on delete to clients do also delete from other", False, False),
        ("create policy p on other using (true)", False, False),
        ("create table child () inherits (other)", False, False),
        ("alter table other alter n set default nextval('fr' || 'ee')", False, False),
        ("alter table other alter n set default nextval('free') + pg_backend_pid()", True, False),
        ("alter table other alter t set default clock_timestamp()", True, False),
    ],
)
def test_code_of_its_own_may_do_anything(
    look: Callable[[str, str], Looked], more: str, reads: bool, writes: bool
) -> None:
    assert (look("select n from other", more) is not None) is reads
    assert (look("update other set n = 1", "") is not None) is writes


def known(lab: Lab, *programs: list[str]) -> list[str]:
    """Run programs one after the other, and tell what is known of their choices.

    That is the first word of each, in capitals where it reads the clock, or "?".
    """
    actors = [Actor(f"actor{number}", call=Script(program)) for number, program in enumerate(programs)]
    run = lab.run(continue_current, actors)
    sent = [step.sql.split()[0] for step in run.trace.steps if step.choice]
    found = lab.reaches(run)
    assert len(found) == len(run.choices) == len(sent)
    return [
        "?" if reach is None else word.upper() if CLOCK in reach.writes else word.lower()
        for word, reach in zip(sent, found, strict=True)
    ]


READ, WRITE = "select n from other", "update other set n = 1"


def test_what_is_known_of_a_choice() -> None:
    start = (
        "create table other (n int); insert into other values (1);create table stamped (t timestamptz default now())"
    )
    stamp = "insert into stamped default values"
    with Lab(Scenario("reach", [Actor("a", call=Script([]))], [start])) as lab:
        # BEGIN, which a driver sends when it wants to, reads the clock.
        found = known(lab, [READ, "begin", WRITE, "commit"], ["begin", WRITE, "rollback"])
        assert found == ["SELECT", "update", "commit", "update", "rollback"]
        found = known(lab, ["begin", WRITE, "savepoint s", READ, "commit", "begin", READ, "commit"])
        assert found == ["?", "select", "COMMIT", "select", "commit"]
        # It is not known what the first commit lets others see.
        found = known(lab, ["begin", WRITE, "select pg_try_advisory_lock(1)", READ, "commit", READ])
        assert found == ["update", "?", "select", "?", "select"]
        assert known(lab, [READ, "create table t (n int)", READ], [READ]) == ["select", "?", "?", "?"]
        assert known(lab, [READ, "select 1; drop table other"], [READ])[:2] == ["select", "?"]
        assert known(lab, [stamp, "begin", stamp, READ, "commit"]) == ["INSERT", "insert", "select", "commit"]
        for unsure in (
            "/* led */ set search_path to pg_temp",
            "select set_config('role', 'app', false)",
            "begin isolation level serializable",
            "listen news",
        ):
            assert set(known(lab, [READ, WRITE, unsure, READ, READ])) == {"?"}, unsure
        assert known(lab, ["set timezone to 'UTC'", "set lock_timeout = '9s'", READ]) == ["select"]
        assert known(lab, ["insert into other values ('x')"], [READ]) == ["?", "select"]


def test_what_is_known_of_the_statements_of_a_pipeline() -> None:
    """The first begins the transaction, as BEGIN does; what comes last commits what all have written."""
    tables = "create table other (n int); create table more (n int)"
    with Lab(Scenario("reach", [Actor("a", call=Script([]))], [tables])) as lab:
        for last, own in (("select 1", []), (READ, [READ])):
            program = Actor("a", call=pipeline("insert into more values (1)", WRITE, last))
            run = lab.run(continue_current, [program])
            found = lab.reaches(run)
            assert [step.sql for step in run.trace.steps if step.choice][2:] == own
            assert all(one is not None for one in found)
            first, *_, end = [one for one in found if one is not None]
            assert (CLOCK in first.writes, CLOCK in end.writes) == (True, False)
            assert first.writes - {CLOCK} < end.writes


def test_a_switch_back_is_tried_only_where_something_was_done_on_which_the_next_step_depends() -> None:
    programs = [[f"update {table} set n = n + 1"] * 3 + ["update counter set n = n + 1"] for table in ("a", "b")]
    start = "".join(f"create table {table} (n int); insert into {table} values (0);" for table in ("a", "b", "counter"))
    race = Scenario("apart", [Actor(name, call=Script(one)) for name, one in zip("ab", programs, strict=True)], [start])
    found, whole = explore(race), explore(race, every=True)
    assert found.verdict is whole.verdict is Verdict.HELD
    assert (found.schedules["2 switches"], whole.schedules["2 switches"]) == (0, 18)
    assert (found.left_out, found.schedules["1 switch"], whole.schedules["1 switch"]) == (18, 6, 6)


@pytest.mark.parametrize(("seed", "pipelined"), [(101, False), (0, True)])
def test_random_programs_come_to_the_same_without_what_is_left_out(seed: int, pipelined: bool) -> None:
    with Lab(scenario(seed, pipelined=pipelined)) as lab:
        figures = compare(lab, 2)
    assert figures.run < figures.every
    assert not figures.lost
