"""Several processes and several shards find what one process finds, and leave no server behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from dbtools.errors import DbtoolsError
from dbtools.races import Actor, Scenario, explore, report
from dbtools.races.execution.lab import Lab
from dbtools.races.merge import merge
from dbtools.races.result import ExplorationResult, Verdict
from dbtools.races.scenario import Script
from dbtools.races.schedule import preemptions
from dbtools.races.shard_report import read
from dbtools.races.shards import WHOLE, Deal, Shard
from dbtools.races.strategies import BoundedPreemptions, Replay
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
START = "create table counter (n int); insert into counter values (0)"
# Made twice, it would not be the same.
CHANCE = "create table born (at timestamptz, id uuid); insert into born values (clock_timestamp(), gen_random_uuid())"
UP = "update counter set n = n + 1"
TOUCH = "update born set at = at"
LOCKED = ["select pg_advisory_lock(7)", UP, "select pg_advisory_unlock(7)"]


def scenario(*programs: list[str] | Callable[[str], object], **more: object) -> Scenario:
    actors = [
        Actor(f"actor{number}", call=Script(program) if isinstance(program, list) else program)
        for number, program in enumerate(programs, 1)
    ]
    return Scenario("counter", actors, [START, CHANCE], **more)  # type: ignore[arg-type]


def reported(found: ExplorationResult) -> dict[str, object]:
    """Everything that is reported, but for how long it took."""
    return {**json.loads(json.dumps(report.to_json(found))), "seconds": 0}


def increment(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("select n from counter").fetchone()
        assert row is not None
        connection.execute("update counter set n = %s", (row[0] + 1,))


@pytest.mark.parametrize(
    ("raced", "verdict"),
    [
        (scenario([TOUCH, *LOCKED], LOCKED, waits="advisory lock 7"), "held"),
        (scenario(increment, increment), "violated"),
    ],
    ids=["held", "violated"],
)
def test_several_processes_report_what_one_reports(raced: Scenario, verdict: str) -> None:
    alone, together = (reported(explore(raced, random=1, seed=3, jobs=jobs)) for jobs in (1, 3))
    assert together == alone
    assert alone["verdict"] == verdict


def test_shards_try_together_what_one_process_tries(tmp_path: Path) -> None:
    raced = scenario([TOUCH, *LOCKED], LOCKED)
    tried = {}
    with Lab(raced) as lab:
        for shard in (WHOLE, Shard(1, 2), Shard(2, 2)):
            search, tried[shard] = BoundedPreemptions(2, Deal(shard)), list[tuple[int, ...]]()
            while (schedule := search.next()) is not None:
                run = lab.run(Replay(schedule))
                search.learn(schedule, run.choices)
                if preemptions(run.choices) or shard.number == 1:
                    tried[shard].append(tuple(actor for _, actor in run.choices))
    whole, *parts = tried.values()
    assert sorted([*parts[0], *parts[1]]) == sorted(whole)
    assert len(whole) == len(set(whole))
    assert all(parts)

    found = [explore(raced, every=True, random=3, shard=Shard(number, 2)) for number in (1, 2)]
    assert [(part.verdict, part.is_part, part.exit_code) for part in found] == [(Verdict.INCONCLUSIVE, True, 0)] * 2
    assert report.verdict(found[0])[0].startswith("✓ counter, shard 1 of 2: nothing fails in it. All of its schedules")
    for number, part in enumerate(found):
        (tmp_path / f"{number}.json").write_text(json.dumps(report.to_json(part)), "utf-8")
    merged = merge([read(path) for path in sorted(tmp_path.iterdir(), reverse=True)])
    assert merged.result.verdict is Verdict.HELD
    assert merged.exit_code == 0
    assert sum(count for kind, count in merged.result.schedules.items() if "switch" in kind) == len(whole)
    assert [merged.result.schedules[kind] for kind in ("random walk", "PCT", "POS")] == [3, 3, 3]
    assert merged.result.schedules["one after the other"] == 2 * 2


def test_a_shard_by_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "up.toml").write_text(
        f'title = "Up"\n[start]\nsql = "{START}"\n[actors.a]\nsql = ["{UP}"]\n[actors.b]\nsql = ["{UP}"]\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "dbtools", "race.explore", "up.toml", "--shard", "2/2", "--json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["verdict"], found["expected"]) == ("inconclusive", None)
    assert found["reason"] == "It is a part: race.merge says what all shards prove."
    (tmp_path / "2.json").write_text(done.stdout, "utf-8")
    assert read(tmp_path / "2.json").shard == Shard(2, 2)


def is_closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_server_of_a_process_that_was_killed_ends_too(tmp_path: Path) -> None:
    ours, ports = os.getpid(), tmp_path / "ports"

    def kills(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(UP)
            row = connection.execute("select inet_server_port()").fetchone()
            assert row is not None
            ports.write_text(str(row[0]))
            if os.getppid() != ours:
                os.kill(os.getppid(), signal.SIGKILL)
            connection.execute(UP)

    with pytest.raises(DbtoolsError) as error:
        explore(scenario(kills, [UP, UP]), jobs=2)
    assert str(error.value) == (
        "A process that ran schedules of counter has ended.\n"
        "It was ended by SIGKILL. Its server ends with it.\n"
        "Where memory is short, the system may have ended it: run this again, with fewer --jobs."
    )
    until(lambda: is_closed(int(ports.read_text())), "the server is left behind")


ENDLESS = """
import os, sys, psycopg
with psycopg.connect("", autocommit=True) as connection:
    (port,) = connection.execute("select inet_server_port()").fetchone()
    with open(sys.argv[1], "w") as ports:
        ports.write(f"{port}\\n")
    for _ in range(10):
        connection.execute("update counter set n = n + 1")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whoever_ends_the_search_ends_its_servers(tmp_path: Path, number: signal.Signals) -> None:
    ports, command = tmp_path / "ports", json.dumps([sys.executable, "endless.py", "ports"])
    (tmp_path / "endless.py").write_text(ENDLESS)
    (tmp_path / "endless.toml").write_text(
        'title = "Many"\n[start]\nsql = "create table counter (n int); insert into counter values (0)"\n'
        f"[actors.a]\ncommand = {command}\n[actors.b]\ncommand = {command}\n"
    )
    os.mkfifo(ports)
    known = set[int]()
    with (
        os.fdopen(os.open(ports, os.O_RDWR)) as lines,
        subprocess.Popen(
            [sys.executable, "-m", "dbtools", "race.explore", "endless.toml", "--jobs", "2"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as explored,
    ):
        while len(known) < 3:  # the server of the serial orders, and two more
            known.add(int(lines.readline()))
        explored.send_signal(number)
        _, errors = explored.communicate()
    if number == signal.SIGKILL:
        until(lambda: all(map(is_closed, known)), "a server is left behind")
        assert explored.returncode == -signal.SIGKILL
    else:
        assert all(map(is_closed, known))
        assert explored.returncode == 128 + number
        assert f"Interrupted by {number.name}.\n" in errors
