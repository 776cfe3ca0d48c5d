"""The race lab on real programs: forked Python, psql-like commands, programs that hang, die, or never come."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest

from dbtools.application import Invariant
from dbtools.config import Project
from dbtools.db.dsn import Dsn
from dbtools.db.lock_probe import Probe
from dbtools.errors import ConfigurationError, VerificationFailed
from dbtools.races import Actor, Scenario, explore, replay, store
from dbtools.races.execution.lab import Lab
from dbtools.races.execution.wait_tracker import WaitTracker
from dbtools.races.overlap import ROWS
from dbtools.races.result import ExplorationResult, Verdict, encode
from dbtools.races.scenario import Latch, Limits, Script
from dbtools.races.scenario_file import read
from dbtools.races.schedule import SchedulingPoint
from dbtools.races.strategies import Replay
from dbtools.races.token import decode
from dbtools.races.trace import EventKind, Trace

ROOT = Path(__file__).resolve().parent.parent.parent
COUNTER = "create table counter (n int not null); insert into counter values (0)"
QUICK = Limits(patience=0.2, hang=1.5, step=60)


def increment(url: str) -> None:
    with psycopg.connect(url) as connection:
        row = connection.execute("select n from counter").fetchone()
        assert row is not None
        connection.execute("update counter set n = %s", (row[0] + 1,))


def careful(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("update counter set n = n + 1")


def counter(*calls: object, **more: object) -> Scenario:
    actors = [Actor(f"actor{number}", call=call) for number, call in enumerate(calls, 1)]  # type: ignore[arg-type]
    return Scenario("counter", actors, start=[COUNTER], **more)  # type: ignore[arg-type]


def test_a_lost_update_is_found_shrunk_and_replayed() -> None:
    found = explore(counter(increment, increment, invariants=[Invariant("two", "select n from counter where n <> 2")]))
    assert (found.verdict, found.failure) == (Verdict.VIOLATED, "invariant two")
    assert found.schedule == ((0, 1), (1, None))
    assert found.failing is not None
    assert [(step.actor, step.sql.split()[0]) for step in found.failing.trace.steps if step.choice] == [
        ("actor1", "select"),
        ("actor2", "select"),
        ("actor2", "update"),
        ("actor2", "COMMIT"),
        ("actor1", "update"),
        ("actor1", "COMMIT"),
    ]
    runs = replay(found.scenario, found.token, times=10)
    assert {run.failure for run in runs} == {"invariant two"}
    assert all(run.trace == runs[0].trace for run in runs)


def test_without_an_invariant_the_serial_orders_are_what_is_right() -> None:
    found = explore(counter(increment, increment))
    assert (found.verdict, found.failure) == (Verdict.VIOLATED, "no serial order")
    assert found.failing is not None
    assert found.failing.trace.failures[0].detail == "The content differs from every serial order's in counter."
    assert explore(counter(increment, increment, serial=False)).verdict is Verdict.HELD


def test_what_one_order_leaves_different_every_time_is_not_compared() -> None:
    stamp = Script(["insert into log values (clock_timestamp())"])
    found = explore(
        Scenario("log", [Actor("a", call=stamp), Actor("b", call=stamp)], ["create table log (at timestamptz)"])
    )
    assert (found.not_compared, found.verdict, found.reason) == (
        ["log.at"],
        Verdict.INCONCLUSIVE,
        "No schedule preempted an actor: there is nothing to interleave."
        " A latch stops a statement in its middle: latches=[Latch(...)].",
    )


def test_held_needs_evidence() -> None:
    found = explore(counter(careful, careful, waits="transaction"))
    assert (found.verdict, found.complete) == (Verdict.HELD, 2)
    assert found.waits["transaction"] > 0
    without = explore(counter(careful, careful, waits="advisory lock 7"))
    assert without.verdict is Verdict.INCONCLUSIVE
    assert without.reason == "No schedule waited for advisory lock 7, so the lock was not tested."
    assert explore(counter(careful, careful), schedules=3).reason == (
        "Not even all schedules with 1 switch were tried: 7 are too few."
    )
    assert explore(counter(careful, careful), seconds=0).reason == (
        "The time was up before the programs had run one after the other, in every order."
    )


def test_an_actor_that_sends_no_sql_proves_nothing() -> None:
    found = explore(counter(careful, lambda url: None))
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, "actor2 sent no SQL.")


def test_an_actor_that_dies_is_an_outcome_with_its_own_words() -> None:
    def dies(url: str) -> None:
        sys.stdout.write("I am going\n")
        sys.stdout.flush()
        os._exit(3)

    found = explore(counter(careful, dies))
    assert (found.verdict, found.failure, found.token) == (Verdict.INCONCLUSIVE, "", "")
    assert found.reason == (
        "It fails also one after the other (actor1, then actor2): no race. actor2 ended with exit code 3. I am going"
    )
    assert found.last_words == ["actor1: exit 0", "actor2: exit 3", "  | I am going"]


def test_an_actor_that_is_killed_in_a_transaction_leaves_nothing_behind() -> None:
    def killed(url: str) -> None:
        connection = psycopg.connect(url)
        connection.execute("update counter set n = 41")
        os.kill(os.getpid(), 9)

    with Lab(counter(killed, careful)) as lab:
        run = lab.run(Replay(()))
    assert [end.code for end in run.trace.ends] == [-9, 0]
    assert run.failure == "exit -9"
    assert [step.tag for step in run.trace.steps if step.actor == "actor2" and step.choice] == ["UPDATE 1", "COMMIT"]


def test_an_actor_that_never_connects_does_not_hang_the_lab() -> None:
    def sleeps(url: str) -> None:
        time.sleep(3600)

    with Lab(counter(careful, sleeps, limits=QUICK)) as lab:
        run = lab.run(Replay(()))
    assert (run.failure, run.trace.failures[0].detail) == (
        "hang",
        "No actor can make progress: actor2 sleeps with no request under way.",
    )
    assert [end.code for end in run.trace.ends] == [0, None]


def test_an_actor_that_computes_for_ever_proves_nothing() -> None:
    def computes(url: str) -> None:
        while True:
            pass

    with Lab(counter(computes, limits=Limits(step=1))) as lab:
        run = lab.run(Replay(()))
    assert (run.failure, run.trace.stalled) == ("", "After 1 s: actor1 is computing.")


def test_a_program_that_sleeps_for_a_while_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "wake")

    def sleeps(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("select 1 + 1")
            (tmp_path / "wake").read_text()
            connection.execute("update counter set n = 7")

    def wakes(url: str) -> None:
        careful(url)
        (tmp_path / "wake").write_text("now")

    with Lab(counter(sleeps, wakes, limits=Limits(patience=0.2, hang=60, step=60))) as lab:
        run = lab.run(Replay(()))
    assert [step.actor for step in run.trace.steps if step.tag == "UPDATE 1"] == ["actor2", "actor1"]
    assert run.trace.stalled == run.failure == ""


def test_somebody_from_outside_is_named() -> None:
    with ExitStack() as stack, Lab(counter(careful, limits=Limits(step=5))) as lab:

        def lock_first(_point: SchedulingPoint) -> int:
            with psycopg.connect(lab.url) as connection:
                row = connection.execute("select max(datname) from pg_database where datname like 'race%1'").fetchone()
            assert row is not None
            clone = Dsn.parse(lab.url).with_database(row[0])
            outsider = psycopg.connect(clone.url, application_name="outsider")
            stack.callback(outsider.close)  # the lab has ended its session by then
            outsider.execute("lock table counter")
            return 0

        run = lab.run(lock_first)
    start, _, end = run.trace.stalled.partition(" Blocked from outside, by pid ")
    assert start == "After 5 s: actor1 runs: update counter set n = n + 1."
    assert end.endswith(" (outsider).")


def test_random_schedules_come_from_their_seed() -> None:
    first, second = (explore(counter(careful, careful), bound=0, random=5, seed=3) for _ in range(2))
    assert first.schedules == second.schedules == {
        "one after the other": 4, "0 switches": 2, "random walk": 5, "PCT": 5, "POS": 5,
    }  # fmt: skip
    assert first.verdict is Verdict.HELD
    found = explore(counter(increment, increment), bound=0, random=50, depth=2)
    assert found.failure == "no serial order"
    assert found.schedule == ((0, 1), (1, None))  # shrunk to the same


def test_a_killed_lab_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "long.toml").write_text(
        f'[actors.a]\ncommand = ["{sys.executable}", "-c", "import time; time.sleep(4242)"]\n'
        '[actors.b]\nsql = ["select pg_sleep(4242)"]\n[limits]\nstep = 600\n',
        "utf-8",
    )
    lab = subprocess.Popen([sys.executable, "-m", "invoke", "race.explore", f"{tmp_path}/long.toml"], cwd=ROOT)
    try:
        until(lambda: len(family(lab.pid)) >= 5 and "4242" in " ".join(family(lab.pid).values()))
        known = family(lab.pid)
    finally:
        lab.kill()
        lab.wait()
    until(lambda: not [pid for pid in known if Path(f"/proc/{pid}").exists()])
    folders = {word for line in known.values() for word in line.split() if word.endswith("/data")}
    assert folders
    until(lambda: not [folder for folder in folders if Path(folder).parent.exists()])


def family(pid: int) -> dict[int, str]:
    """The command lines of what a process has started, and of what those have."""
    found = {}
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            with suppress(OSError):
                found[int(child)] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
                found |= family(int(child))
    return found


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def transfer(source: int, target: int) -> Script:
    move = "update tills set cents = cents {} 1 where id = {}"
    return Script(["begin", move.format("-", source), move.format("+", target), "commit"])


TILLS = (
    "create table tills (id int primary key, cents int); insert into tills select n, 100 from generate_series(1, 3) n"
)


def test_a_deadlock_ends_the_one_that_closes_the_circle() -> None:
    scenario = Scenario("tills", [Actor("a", call=transfer(1, 2)), Actor("b", call=transfer(2, 1))], start=[TILLS])
    with Lab(scenario) as lab:
        runs = [lab.run(Replay(((0, 1), (1, None)))) for _ in range(10)]
    assert {run.failure for run in runs} == {"40P01"}
    assert {run.trace.failures[0].detail for run in runs} == {
        "a: deadlock detected (a waits for ShareLock on transaction; blocked by b."
        " b waits for ShareLock on transaction; blocked by a.)"
    }
    assert all(run.trace.events == runs[0].trace.events for run in runs)
    blocked = [(event.actor, event.on, event.lock) for event in runs[0].trace.events if event.kind is EventKind.BLOCKED]
    assert blocked == [("b", ("a",), "transaction"), ("a", ("b",), "transaction")]


@pytest.mark.parametrize("poll", ["sees it", "misses its lock", "misses it"])
@pytest.mark.parametrize(
    ("take", "name", "lock"),
    [
        ("update tills set cents = 0 where id = {}", "transaction", "ShareLock on transaction"),
        ("lock table till{}", "AccessExclusiveLock on till{}", "AccessExclusiveLock on till{}"),
        ("select pg_advisory_xact_lock(-{})", "advisory lock -{}", "ExclusiveLock on advisory lock -{}"),
        ("select pg_advisory_xact_lock({}, -3)", "advisory lock ({}, -3)", "ExclusiveLock on advisory lock ({}, -3)"),
    ],
)
def test_a_deadlock_has_one_trace_whatever_the_poll_sees_of_it(
    poll: str, take: str, name: str, lock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_new, awaited_lock = WaitTracker.find_new, Probe.awaited_lock

    def find_first(waits: WaitTracker) -> None:
        if not waits.blocked:
            find_new(waits)

    def name_first(probe: Probe, pid: int) -> str:
        named.append(pid)
        return awaited_lock(probe, pid) if len(named) == 1 else ""

    named: list[int] = []
    if poll == "misses it":
        monkeypatch.setattr(WaitTracker, "find_new", find_first)
    if poll == "misses its lock":
        monkeypatch.setattr(Probe, "awaited_lock", name_first)
    actors = [
        Actor(actor, call=Script(["begin", *map(take.format, order), "commit"]))
        for actor, order in (("a", (1, 2)), ("b", (2, 1)))
    ]
    start = [TILLS, "create table till1 (); create table till2 ()"]
    with Lab(Scenario("tills", actors, start=start)) as lab:
        run = lab.run(Replay(((0, 1), (1, None))))
    assert [(event.kind, event.actor, event.on, event.lock) for event in run.trace.events if event.step in (5, 6)] == [
        (EventKind.RELEASED, "b", (), ""),
        (EventKind.BLOCKED, "b", ("a",), name.format(1)),
        (EventKind.RELEASED, "a", (), ""),
        (EventKind.BLOCKED, "a", ("b",), name.format(2)),
        (EventKind.WOKEN, "a", (), ""),
        (EventKind.ENDED, "a", (), ""),
        (EventKind.WOKEN, "b", (), ""),
        (EventKind.ENDED, "b", (), ""),
    ]
    assert run.trace.steps[5].detail == (
        f"a waits for {lock.format(2)}; blocked by b.\nb waits for {lock.format(1)}; blocked by a."
    )


def test_requests_that_are_no_choice_go_first_in_the_actors_order() -> None:
    script = Script(["begin", "insert into counter values (1)", "set local lock_timeout = 0", "commit"])
    with Lab(Scenario("begin", [Actor(name, call=script) for name in ("a", "b", "c")], start=[COUNTER])) as lab:
        run = lab.run(Replay(((2, 1), (0, 1), (1, None))))
    assert [f"{step.actor} {step.sql.split()[0]}" for step in run.trace.steps] == [
        "a begin", "b begin", "c begin", "c insert", "c set", "a insert", "a set", "b insert", "b set", "b commit",
        "a commit", "c commit",
    ]  # fmt: skip


def test_three_in_a_circle() -> None:
    actors = [Actor(name, call=transfer(number, number % 3 + 1)) for name, number in (("a", 1), ("b", 2), ("c", 3))]
    with Lab(Scenario("tills", actors, start=[TILLS])) as lab:
        run = lab.run(Replay(((0, 1), (1, 1), (2, None))))
    assert run.failure == "40P01"
    assert sorted(end.code or 0 for end in run.trace.ends) == [0, 0, 1]


def test_a_scenario_can_run_its_programs_under_a_lock(tmp_path: Path) -> None:
    (tmp_path / "counter.toml").write_text(
        """
        expect = "the content"
        start.sql = "create table counter (before int, n int); insert into counter values (0, 0)"
        actors.one.sql = ["update counter set before = n", "update counter set n = before + 1"]
        actors.two.sql = ["update counter set before = n", "update counter set n = before + 1"]
        [variants.locked]
        expect = ""
        lock = 7
        waits = "advisory lock 7"
        """
    )
    bare, locked = (explore(read(tmp_path / "counter.toml", variant, tmp_path)) for variant in ("", "locked"))
    assert (bare.verdict, bare.waits["advisory lock 7"]) == (Verdict.VIOLATED, 0)
    assert locked.verdict is Verdict.HELD, locked.reason
    assert 0 < locked.waits["advisory lock 7"] < locked.total


def test_a_latch_reaches_inside_a_statement() -> None:
    insert = Script(["insert into names select 'x' where not exists (select from names)"])
    actors = [Actor("a", call=insert), Actor("b", call=insert)]
    start, rule = ["create table names (name text)"], [Invariant("one", "select from names having count(*) > 1")]
    found = explore(Scenario("names", actors, start, rule, serial=False))
    assert (found.failure, found.scenario.latches) == ("invariant one", [ROWS])  # no order of whole statements fails
    found = explore(Scenario("names", actors, start, rule, [Latch("insert", table="names")]))
    assert found.failure == "invariant one"
    runs = replay(found.scenario, found.token, times=5)
    assert {run.failure for run in runs} == {"invariant one"}


def test_a_latch_on_a_catalogue() -> None:
    create = Script(["create table if not exists fresh (id int)"])
    actors = [Actor("a", call=create), Actor("b", call=create)]
    found = explore(Scenario("fresh", actors, latches=[Latch("create", catalogue="pg_attribute")]), bound=1)
    assert found.failure == "23505 pg_type_typname_nsp_index"


def test_the_pool_that_sends_from_many_connections_at_once() -> None:
    def pooled(url: str) -> None:
        def insert(number: int) -> None:
            with psycopg.connect(url, autocommit=True) as connection:
                for _ in range(3):
                    connection.execute("insert into rows values (%s)", (number,))

        threads = [threading.Thread(target=insert, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    scenario = Scenario("pool", [Actor("pool", call=pooled)], start=["create table rows (n int)"])
    with Lab(scenario) as lab:
        run = lab.run(Replay(()))
    assert run.content.tables["rows"].count == 15
    assert {step.session for step in run.trace.steps} == {"pool", *(f"pool#{number}" for number in range(2, 6))}


def test_a_command_is_given_the_address_and_its_output_is_kept(tmp_path: Path) -> None:
    program = (
        "import os, psycopg\n"
        "assert os.environ['PGDATABASE'] in os.environ['DATABASE_URL'], os.environ\n"
        "with psycopg.connect('') as connection:\n"
        "    print(connection.execute('update counter set n = n + 1 returning n').fetchone(), os.getcwd())\n"
        "print(os.environ['PGPASSWORD'])\n"
    )
    actor = Actor("command", command=(sys.executable, "-c", program))
    with Lab(Scenario("command", [actor], start=[COUNTER], folder=tmp_path)) as lab:
        run = lab.run(Replay(()))
    assert (run.failure, run.trace.ends[0].output) == ("", f"(1,) {tmp_path}\n***\n")
    gone = Scenario("gone", [Actor("gone", command=("no-such-program", "-x"))])
    with Lab(gone) as lab, pytest.raises(ConfigurationError) as caught:
        lab.run(Replay(()))
    assert str(caught.value) == (
        "The actor gone cannot be started: no-such-program -x\n"
        "No such file or directory: no-such-program. Nothing was run.\n"
        "Correct its command in the scenario; it runs in the project's folder, without a shell."
    )


def test_a_start_state_that_cannot_be_made() -> None:
    with (
        pytest.raises(ConfigurationError) as caught,
        Lab(Scenario("bad", [Actor("a", call=careful)], ["creat table x ()"])),
    ):
        pass
    assert caught.value.what == "The start state of the scenario bad cannot be made."
    assert 'syntax error at or near "creat"' in caught.value.reason


def test_in_a_test_of_ones_own_the_failure_says_all() -> None:
    with pytest.raises(VerificationFailed) as caught:
        explore(counter(increment, increment)).require_held()
    found = caught.value
    assert found.what == "The race counter is there: no serial order, with 1 switch."
    assert "preempted" in found.reason
    assert found.hint.startswith("To see it again: invoke race.replay pgr1-")
    assert explore(counter(careful, careful)).require_held().verdict is Verdict.HELD


@pytest.mark.parametrize(("once", "verdict"), [(False, Verdict.VIOLATED), (True, Verdict.INCONCLUSIVE)])
def test_programs_that_do_something_else_every_time_are_found_out(tmp_path: Path, once: bool, verdict: Verdict) -> None:
    runs, failed = tmp_path / "runs", tmp_path / "failed"

    def moody(url: str) -> None:
        with runs.open("a") as count:
            count.write("x")
        with psycopg.connect(url, autocommit=True) as connection:
            before, after = (connection.execute("select n from counter").fetchone() for _ in range(2))
            for _ in range(runs.stat().st_size % 3):
                connection.execute("select 1 + 1")
            if before != after and not (once and failed.exists()):
                failed.touch()
                connection.execute("select 1 / 0")

    found = explore(counter(moody, careful, serial=False), bound=1)
    assert (found.verdict, found.failure or found.failing) == (verdict, "22012")
    if verdict is Verdict.VIOLATED:
        assert found.unsteady
        assert not found.repeated
        assert decode(found.token).statements == ""  # a replay is not held to them
    else:
        assert found.reason.startswith("22012 was found, but replay 1 of its schedule ")
        assert found.reason.endswith("something besides the schedule decides.")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "races").mkdir()
    (tmp_path / "races" / "count.toml").write_text(
        'start.sql = "create table counter (n int); insert into counter values (0)"\n'
        '[actors.a]\nsql = ["update counter set n = 1", "update counter set n = n + 1"]\n'
        '[actors.b]\nsql = ["update counter set n = 10"]\n'
        '[variants.more]\nactors.b.sql = ["update counter set n = 20"]\n',
        "utf-8",
    )
    return Project(tmp_path, races=tmp_path / "races")


def found_in(project: Project) -> ExplorationResult:
    found = explore(store.find(project, "count"))
    assert found.failing is not None
    store.save(project, found.scenario, found.token, found.failing.trace)
    return found


def test_a_token_is_of_one_version_of_one_scenario(project: Project) -> None:
    found = found_in(project)
    assert 10 <= len(found.token) <= 30
    assert store.find_by_token(project, found.token, "", 16).name == "count"
    path = project.races / "count.toml"
    path.write_text(path.read_text("utf-8").replace("n = 10", "n = 11"), "utf-8")
    before, now = decode(found.token).state, store.find(project, "count").fingerprint(16)
    with pytest.raises(ConfigurationError) as caught:
        store.find_by_token(project, found.token, "", 16)
    assert str(caught.value) == (
        f"The token {found.token} belongs to another version of the scenario count.\n"
        f"That version was {before}; this one, with PostgreSQL 16, is {now}. Nothing was run.\n"
        "Go back to that version, or find the race again: invoke race.explore count"
    )
    other = encode(store.find(project, "count", "more"), 16, ((0, 1),))
    assert store.find_by_token(project, other, "", 16).name == "count.more"
    with pytest.raises(
        ConfigurationError, match=r"names an actor C\.\nThe scenario count has 2 actors\. Nothing was run\."
    ):
        store.find_by_token(project, encode(store.find(project, "count"), 16, ((2, 1),)), "", 16)


def test_a_token_of_a_scenario_that_is_elsewhere(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = encode(store.find(project, "count", "more"), 16, ((0, 1),))
    away = tmp_path / "away"
    away.mkdir()
    path = (project.races / "count.toml").rename(away / "count.toml")
    (away / "another.toml").write_text("variants = 3", "utf-8")
    (away / "broken.toml").write_text("= 3", "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        store.find_by_token(project, token, "", 16)
    assert str(caught.value) == (
        f"The scenario of the token {token} was not found.\n"
        f"No scenario in {project.races} and {Path.cwd()} has its name. Nothing was run.\n"
        f"Name its file: invoke race.replay {token} --file my-race.toml"
    )
    assert store.find_by_token(project, token, str(path), 16).name == "count.more"
    for name in ("another", "broken", "missing"):
        with pytest.raises(ConfigurationError, match=name):
            store.find_by_token(project, token, str(away / f"{name}.toml"), 16)
    monkeypatch.chdir(away)
    assert store.find_by_token(project, token, "", 16).name == "count.more"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="was not found"):
        store.find_by_token(project, token, "", 16)
    store.save(project, read(path, "more", tmp_path), token, Trace(()))  # as where the race was found
    assert store.find_by_token(project, token, "", 16).name == "count.more"
    path.write_text(path.read_text("utf-8").replace("n = 20", "n = 21"), "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        store.find_by_token(project, token, "", 16)
    assert caught.value.hint == (
        f"Go back to that version, or find the race again: invoke race.explore {path.resolve()} --variant more"
    )


def test_a_replay_says_where_it_differs_from_the_run_that_was_kept(project: Project) -> None:
    found = found_in(project)
    again = replay(found.scenario, found.token)[0].trace
    assert store.difference(project, found.token, again) == ""
    again.steps[1].sql = "update counter set n = 99"  # another value in the same statement
    assert store.difference(project, found.token, again) == ""
    again.steps[1].sql = "update counter set m = 99"
    assert store.difference(project, found.token, again) == (
        "step 2: expected b: update counter set n = ?; got b: update counter set m = ?"
    )
    last = again.steps[2]
    del again.steps[1:]
    assert store.difference(project, found.token, again) == (
        "step 2: expected b: update counter set n = ?; got nothing"
    )
    again = replay(found.scenario, found.token)[0].trace
    again.steps.append(last)
    assert store.difference(project, found.token, again) == (
        "step 4: expected nothing; got a: update counter set n = n + ?"
    )
    # Where the run was not kept, the token alone tells that it is another one.
    for path in (project.cache / "races").iterdir():
        path.unlink()
    assert store.difference(project, found.token, again) == (
        "the programs sent other statements; only the project that found the race can say which"
    )
    again.steps.pop()
    assert store.difference(project, found.token, again) == ""


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("titel = 'x'", "titel", "There is no such key; there are title, about,"),
        ("variants = 3", "variants", "It must be a table, not 3"),
        ("title = 3", "title", "It must be a string, not 3"),
        ("allow = 'exit 1'", "allow", "It must be a list of strings, with at least one, not 'exit 1'"),
        ("ignore = [1]", "ignore", "It must be a list of strings, with at least one, not [1]"),
        ("[actors.a]", "actors.a", "An actor has exactly one of command, call and sql"),
        ("[actors.a]\nsql = []", "actors.a.sql", "It must be a list of strings, with at least one, not []"),
        (
            "[actors.a]\ncall = 'nowhere:x'",
            "actors.a.call",
            "'nowhere:x' cannot be imported: No module named 'nowhere'",
        ),
        (
            "[actors.a]\nsql = ['x']\nshell = 1",
            "actors.a.shell",
            "There is no such key; there are command, call, sql, env",
        ),
        ("[latches.x]\ncatalogue = 'clients'", "latches.x", "A latch has a table, or a catalogue such as pg_attribute"),
        ("[start]\ncommand = [1]", "start.command", "It must be a list of strings, with at least one, not [1]"),
        ("[limits]\nsteps = true", "limits.steps", "It must be a whole number, not True"),
        ("actors.a = 3", "actors.a", "It must be a table, not 3"),
        ("[start]\nfile = 'none.sql'", "start.file", "[Errno 2] No such file or directory"),
        ("[start]\nsnapshot = 'all'", "start.snapshot", "It must be true, false or \"schema\", not 'all'"),
        ("[start]\nsuperuser = 'x'", "start.superuser", "It must be a boolean, not 'x'"),
        ("server.major = 18", "server.major", "There is no such key; there are extensions, settings."),
        ("server.extensions = []", "server.extensions", "It must be a list of strings, with at least one, not []"),
        ("[server.settings]\n'a b' = 1", "server.settings.a b", "No setting can have that name."),
        (
            "[server.settings]\nfsync = []",
            "server.settings.fsync",
            "It must be a string, a number or a boolean, not []",
        ),
        (
            "[server.settings]\nPort = 1",
            "server.settings.Port",
            "It is set by dbtools itself, to find its servers again, to keep others out and to read what they say.",
        ),
        ("lock = true", "lock", "It must be a whole number, not True"),
        ("lock = 9223372036854775808", "lock", "The key of an advisory lock has 64 bits"),
        ("[invariants]\none = 1", "invariants.one", "It must be a string, not 1"),
        (
            "[limits]\npatience = 'long'",
            "limits.patience",
            "It must be a number, not 'long'",
        ),
    ],
)
def test_a_wrong_scenario_file_says_where(tmp_path: Path, text: str, where: str, why: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read(path, "", tmp_path)
    assert caught.value.what == f"The scenario {path} is wrong at {where}."
    assert caught.value.reason.startswith(why)


def test_no_actors_and_no_such_scenario(project: Project) -> None:
    (project.races / "empty.toml").write_text("title = 'x'", "utf-8")
    with pytest.raises(ConfigurationError, match=r"^The scenario empty has 0 actors\."):
        store.find(project, "empty")
    with pytest.raises(ConfigurationError) as caught:
        store.find(project, "nothing")
    assert str(caught.value) == (
        f"There is no scenario 'nothing'.\nThe scenarios in {project.races} are: count, empty. Nothing was run.\n"
        "Name one of these, or a file: invoke race.explore my-race.toml"
    )
    with pytest.raises(ConfigurationError, match=r"^The scenario count has no variant 'less'\.\nIt has: more\."):
        store.find(project, "count.less")
