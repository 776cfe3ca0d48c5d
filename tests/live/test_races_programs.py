"""Programs that fail by themselves, leave things behind, cancel, or are somewhere else: what the lab makes of them."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest
from pg8000.native import Connection  # type: ignore[import-untyped]

from dbtools.db.dsn import Dsn
from dbtools.errors import ConfigurationError
from dbtools.races import Actor, Scenario, explore, report
from dbtools.races.execution.actor_process import led_environment
from dbtools.races.execution.lab import Lab
from dbtools.races.result import Verdict
from dbtools.races.scenario import Limits, Script
from dbtools.races.strategies import Replay
from dbtools.races.trace import EventKind

COUNTER = "create table counter (n int not null); insert into counter values (0)"
ADD = Script(["update counter set n = n + 1"])
CONNECT = "import psycopg; psycopg.connect('{}').execute('select 1 + 1')"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import nosuchmodule", "ModuleNotFoundError: No module named 'nosuchmodule'"),
        (CONNECT.format("sslmode=require"), "server does not support SSL, but SSL was required"),
        (CONNECT.format("dbname=elsewhere"), 'database "elsewhere" does not exist'),
    ],
)
def test_programs_that_fail_before_their_first_statement_are_no_race(program: str, words: str) -> None:
    command = (sys.executable, "-c", program)
    found = explore(Scenario("alone", [Actor("a", command=command), Actor("b", command=command)]))
    assert (found.verdict, found.token, dict(found.schedules)) == (
        Verdict.INCONCLUSIVE,
        "",
        {"one after the other": 4},
    )
    assert found.reason.startswith("It fails also one after the other (a, then b): no race. a ended with exit code 1. ")
    assert words in "\n".join(found.last_words)
    lines = report.verdict(found)
    assert lines[0] == f"? alone: inconclusive. {found.reason}"
    assert lines[1] == "  a: exit 1"
    assert any(words in line for line in lines[2:])


def test_variables_of_the_caller_lead_no_program_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGSERVICE", "PGHOSTADDR", "PGOPTIONS", "PGREQUIREAUTH", "PGHOST", "OTHER"):
        monkeypatch.setenv(name, "elsewhere")
    environment = led_environment("postgresql://app:secret@127.0.0.1:5433/race_0001?hostaddr=127.0.0.1")
    assert {name: environment.get(name) for name in ("PGHOST", "PGPORT", "PGDATABASE", "OTHER")} == {
        "PGHOST": "127.0.0.1",
        "PGPORT": "5433",
        "PGDATABASE": "race_0001",
        "OTHER": "elsewhere",
    }
    assert not {"PGSERVICE", "PGHOSTADDR", "PGOPTIONS", "PGREQUIREAUTH"} & environment.keys()


def test_what_steers_a_terminal_is_in_no_words_of_a_program() -> None:
    command = ("sh", "-c", "printf '10%%\\r\\033[31mNo \\033(Bluck\\033[0m\\007\\n\\n'; exit 3")
    found = explore(Scenario("red", [Actor("a", command=command)]))
    assert found.reason == ("It fails also one after the other (a): no race. a ended with exit code 3. No luck")
    assert found.last_words == ["a: exit 3", "  | No luck"]


def test_a_missing_right_is_no_race() -> None:
    start = f"{COUNTER}; revoke all on counter from current_user"
    found = explore(Scenario("right", [Actor("a", call=ADD), Actor("b", call=ADD)], [start]))
    assert (found.verdict, found.token) == (Verdict.INCONCLUSIVE, "")
    assert found.reason == (
        "It fails also one after the other (a, then b): no race. a: permission denied for table counter"
        " b: permission denied for table counter"
    )


def test_a_failure_that_only_one_order_has_is_no_race_either_but_another_is_found() -> None:
    def needs_a_row(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            if not connection.execute("select n from counter").fetchone():
                raise SystemExit("nothing there")

    start = "create table counter (n int)"
    actors = [Actor("reader", call=needs_a_row), Actor("writer", call=Script(["insert into counter values (1)"] * 2))]
    found = explore(Scenario("order", actors, [start]), bound=1)
    assert (found.verdict, found.reason) == (
        Verdict.INCONCLUSIVE,
        "It fails also one after the other (reader, then writer): no race."
        " reader ended with exit code 1. nothing there",
    )
    assert found.tolerated["exit 1"] > 0
    allowed = explore(Scenario("order", actors, [start], allow=["exit 1"]), bound=1)
    assert allowed.verdict is Verdict.HELD


def test_what_is_to_be_ignored_must_be_there() -> None:
    actors = [Actor("a", call=ADD), Actor("b", call=ADD)]
    with pytest.raises(ConfigurationError) as caught:
        explore(Scenario("ignore", actors, [COUNTER], ignore=["counter.n", "counter.m", "no_table"]))
    assert str(caught.value) == (
        "The scenario ignore ignores counter.m, no_table.\n"
        "Neither the start state nor what the programs leave has such a table or column. Nothing was run.\n"
        "Correct ignore: it names tables, and columns as table.column; with the schema where it is not public."
    )


def test_the_time_is_up_in_the_middle_of_a_schedule() -> None:
    def polls(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while True:
                connection.execute("select n from counter")
                time.sleep(0.01)

    found = explore(Scenario("forever", [Actor("a", call=polls)], [COUNTER], limits=Limits(hang=3600)), seconds=2)
    assert (found.verdict, found.total) == (Verdict.INCONCLUSIVE, 0)
    assert found.reason == "The time was up before the programs had run one after the other, in every order."


def test_programs_that_poll_in_vain_hang() -> None:
    def polls(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while connection.execute("select 1 from counter where n = 7").fetchone() is None:
                time.sleep(0.01)

    with Lab(Scenario("vain", [Actor("a", call=polls), Actor("b", call=ADD)], [COUNTER], limits=Limits(hang=1))) as lab:
        run = lab.run(Replay(()))
    assert run.failure == "hang"
    assert run.trace.failures[0].detail == (
        "No actor can make progress: a asks again and again: select 1 from counter where n = 7."
    )
    assert [step.actor for step in run.trace.steps].count("b") == 1


def test_who_waits_for_a_prepared_transaction_is_blocked_and_what_is_left_of_it_is_rolled_back() -> None:
    prepares = Script(["begin", "update counter set n = 1", "prepare transaction 'left'", "select 1 + 1"])
    commits = Script(["select 1 + 1", "select 2 + 2", "rollback prepared 'left'"])
    actors = [Actor("a", call=prepares), Actor("b", call=ADD), Actor("c", call=commits)]
    with Lab(Scenario("prepared", actors, [COUNTER])) as lab:
        run = lab.run(Replay(((0, None), (1, 1), (2, None))))
        (blocked,) = [event for event in run.trace.events if event.kind is EventKind.BLOCKED]
        assert (blocked.actor, blocked.on, run.ended) == ("b", ("a prepared transaction",), "no failure")
    with Lab(Scenario("left", actors[:1], [COUNTER])) as lab:
        first, again = (lab.run(Replay(())) for _ in range(2))
    assert first.content.tables["(prepared transactions)"].rows == (("left",),)
    assert first.content.digests == again.content.digests


def test_a_cancel_reaches_a_request_that_is_held() -> None:
    def cancels(url: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("update counter set n = n + 1")
            threading.Timer(0.3, connection.cancel_safe).start()
            with pytest.raises(psycopg.errors.QueryCanceled, match="canceling statement due to user request"):
                connection.execute("update counter set n = %s", (7,))  # held while the other one runs
            connection.rollback()
            connection.execute("update counter set n = 3")

    actors = [Actor("a", call=cancels), Actor("b", call=Script(["select pg_sleep(1.5)"]))]
    with Lab(Scenario("cancel", actors, [COUNTER])) as lab:
        run = lab.run(Replay(((0, 1), (1, None))))
    assert run.ended == "no failure"
    assert [(step.sql, step.sqlstate) for step in run.trace.steps if step.choice and step.actor == "a"] == [
        ("update counter set n = n + 1", ""),
        ("update counter set n = $1", "57014"),
        ("ROLLBACK", ""),
        ("update counter set n = 3", ""),
        ("COMMIT", ""),
    ]


def test_a_daemon_ends_with_the_run(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    daemon = (
        "import os, sys, time\n"
        "if os.fork():\n"
        f"    while not os.path.exists({str(pid)!r}): time.sleep(0.01)\n"
        "    os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        f"open({str(pid)!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(3600)\n"
    )
    actors = [Actor("a", command=(sys.executable, "-c", daemon)), Actor("b", call=ADD)]
    with Lab(Scenario("daemon", actors, [COUNTER])) as lab:
        run = lab.run(Replay(()))
    assert (run.ended, [end.code for end in run.trace.ends]) == ("no failure", [0, 0])
    assert not Path(f"/proc/{pid.read_text()}").exists()


def test_two_programs_in_folders_of_their_own(tmp_path: Path) -> None:
    from dbtools.races.scenario_file import read

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "print.py").write_text(f"print({name!r})", "utf-8")
    (tmp_path / "race.toml").write_text(
        f'[actors.a]\ncommand = ["{sys.executable}", "print.py"]\ncwd = "one"\n'
        f'[actors.b]\ncommand = ["{sys.executable}", "print.py"]\ncwd = "two"\n'
        '[actors.c]\ncall = "os:getcwd"\ncwd = "two"\n',
        "utf-8",
    )
    scenario = read(tmp_path / "race.toml", "", tmp_path)
    with Lab(Scenario("cwd", scenario.actors[:2], folder=tmp_path)) as lab:
        run = lab.run(Replay(()))
    assert [end.output for end in run.trace.ends] == ["one\n", "two\n"]


def test_the_url_is_one_that_every_driver_reads() -> None:
    def program(url: str) -> None:
        assert "?" not in url
        asyncio.run(add(url))
        dsn = Dsn.parse(url)
        pg8000 = Connection(dsn.user, dsn.host, dsn.dbname, int(dsn.port), dsn.password)  # it refuses cheap passwords
        pg8000.run("update counter set n = n + 2")
        pg8000.close()

    async def add(url: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("update counter set n = n + 1")
        await connection.close()

    with Lab(Scenario("url", [Actor("a", call=program)], [COUNTER])) as lab:
        run = lab.run(Replay(()))
    assert (run.ended, [step.tag for step in run.trace.steps if step.choice]) == ("no failure", ["UPDATE 1"] * 2)
