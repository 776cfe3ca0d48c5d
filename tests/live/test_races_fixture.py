"""The fixture `race`, in suites of other projects: what races, what a failure says, and what replays it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.support.suites import Suite, outcomes

COUNTER = """
import psycopg

START = "create table counter (n int); insert into counter values (0)"

def count(url):
    with psycopg.connect(url) as connection:
        (n,) = connection.execute("select n from counter").fetchone()
        connection.execute("update counter set n = %s", (n + 1,))

def careful(url):
    with psycopg.connect(url) as connection:
        connection.execute("update counter set n = n + 1")

class TestCounter:
    def test_lost(self, race):
        race(careful, careful, start=START, bound=1)
        race(count, count, start=START, invariants={"two": "select from counter where n <> 2"})

def test_other(race):
    race(count, count, start=START)

def test_plain(): ...
"""
AGAIN = re.compile(r"To replay this run and nothing else:\n  pytest (test_counter.py::\S+ --race-token (pgr1-\S+))")


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


def body(done_stdout: str, test: str) -> str:
    """What the report says of a test that has failed."""
    text = re.split(rf"^_+ {re.escape(test)} _+$\n", done_stdout, flags=re.MULTILINE)[1]
    return re.split(r"^(?:_+ .* _+|-+ .* -+|=+ .* =+)$", text, flags=re.MULTILINE)[0].strip()


def test_a_failure_shows_the_run_and_its_command_replays_it(suite: Suite) -> None:
    suite.write("test_counter.py", COUNTER)
    done = suite.run("-k", "lost")
    assert outcomes(done) == {"failed": 1}, done.stdout
    said = body(done.stdout, "TestCounter.test_lost")
    assert said.startswith("A race: invariant two, with 1 switch.\n\n   #    A count 1 ")
    assert "~~ preempted, B goes on ~~" in said
    assert "\nAnomaly: lost update. count 1 wrote a row of counter from what it had read" in said
    assert "Captured race call" in done.stdout  # the one before held
    assert "✓ test_counter.py::TestCounter::test_lost: held. All schedules with up to 1 switch: " in done.stdout
    found = AGAIN.search(done.stdout)
    assert found
    assert said.endswith(found[0])
    command, token = shlex.split(found[1]), found[2]
    assert "A1.B" in token

    again = suite.run("--race-token", token)
    assert "2 failed, 1 deselected" in again.stdout
    replayed = body(again.stdout, "TestCounter.test_lost")
    picture = said[said.index("   #  ") : said.index("\n\nAnomaly")]
    assert replayed == f"A race, replayed: invariant two.\n\n{picture}"

    assert body(again.stdout, "test_other") == (
        f"The token {token} is of another test.\n"
        "No race of test_counter.py::test_other has its name, so none was run.\n"
        "Copy the whole command again from where the token was reported: it names the test."
    )

    allowed = 'allow=["invariant two"], serial=False, invariants='
    suite.write("test_counter.py", COUNTER.replace("invariants=", allowed))
    harmless = suite.run(*command)
    assert outcomes(harmless) == {"passed": 1}
    drawn = picture[: picture.index("\n\n✗")]
    assert f"\n{token}:\n\n{drawn}\n\nNo failure.\n" in harmless.stdout

    suite.write("test_counter.py", COUNTER.replace("select n from counter", "select n from counter for update"))
    changed = body(suite.run(*command).stdout, "TestCounter.test_lost")
    assert changed.startswith(
        f"The replay of {token} differs from the run that the token was made from.\n"
        "Step 3: expected count 1: select n from counter; got count 1: select n from counter for update.\n"
        "The programs have changed, or do something at random. Find the race again:"
        " pytest test_counter.py::TestCounter::test_lost\n\n   #    A count 1 "
    )

    suite.write("test_counter.py", COUNTER.replace("n int", "n bigint"))
    assert re.fullmatch(
        rf"The token {token} belongs to another version of the scenario test_counter.py::TestCounter::test_lost #2.\n"
        r"That version was \w{4}; this one, with PostgreSQL 16, is \w{4}. Nothing was run.\n"
        "Go back to that version, or find the race again: pytest test_counter.py::TestCounter::test_lost",
        body(suite.run(*command).stdout, "TestCounter.test_lost"),
    )

    slipped = suite.run("--race-token", f"{token}x")
    assert slipped.returncode == 4
    assert slipped.stderr == (
        f"ERROR: --race-token: '{token}x' was changed since it was made.\n"
        f"The checksum '{token[-4:]}x' is not four digits of 0-9 and a-f. Nothing was run.\n"
        "Copy the whole token again from where it was reported.\n\n"
    )
    assert suite.run("-k", "plain", "--race-token", token).returncode == 5  # no test was run


def test_races_begin_with_the_projects_content_and_lead_every_variable(suite: Suite) -> None:
    suite.write(
        "test_items.py",
        """
        import os, psycopg
        from functools import partial

        FIVE = {"five items": "select from items having count(*) <> 5"}

        def rename():
            assert os.environ["DATABASE_URL"].startswith("postgresql+asyncpg://app:")
            assert os.environ["DATABASE_URL"].endswith(os.environ["SHOP_DB"])
            with psycopg.connect("") as connection:
                assert connection.info.dbname == os.environ["SHOP_DB"]
                connection.execute("update items set name = name || '!' where id = 1")

        def test_variables(race):
            race(rename, rename, invariants=FIVE)

        def test_async(race):
            async def rename(name, url):
                async with await psycopg.AsyncConnection.connect(url) as connection:
                    await connection.execute("update items set name = %s where id = 2", (name,))

            mine = partial(rename, "mine")
            four = {"four items": "select from items having count(*) <> 4"}
            race(mine, mine, snapshot=True, start="delete from items where id = 1", invariants=four)
        """,
    )
    toml = suite.root / "pyproject.toml"
    toml.write_text(
        toml.read_text("utf-8").replace("[tool.pytest", 'env = { SHOP_DB = "{dbname}" }\n[tool.pytest'), "utf-8"
    )
    done = suite.run(
        "-n", "2", "-rP", "-o", "dbtools_race_bound=1", DATABASE_URL="postgresql+asyncpg://nobody@nowhere/none"
    )
    assert outcomes(done) == {"passed": 2}, done.stdout
    assert done.stdout.count("held. All schedules with up to 1 switch: ") == 2
    assert suite.count_builds() == 1


def test_what_cannot_race_is_said(suite: Suite) -> None:
    suite.write(
        "test_wrong.py",
        """
        import asyncio, psycopg

        START = "create table counter (n int); insert into counter values (0)"

        def count(url):
            with psycopg.connect(url) as connection:
                connection.execute("update counter set n = n + 1")

        def add(url, many): ...

        async def later(race): race(count, count)

        def test_loop(race): asyncio.run(later(race))
        def test_called(race): race(count, None)
        def test_two_arguments(race): race(count, add)
        def test_nobody(race): race(start=START)
        def test_limit(race): race(count, count, start=START, bound=-1)
        def test_silent(race): race(count, lambda: None, start=START)
        def test_start(race): race(count, count, start="create role clerk")
        def test_no_project(race): race(count, count)
        """,
    )
    toml = suite.root / "pyproject.toml"
    toml.write_text(toml.read_text("utf-8").partition("[tool.pytest")[2].join(["[tool.pytest", ""]), "utf-8")
    done = suite.run()
    assert outcomes(done) == {"failed": 8}, done.stdout
    function = (
        "Only a function can, or a dbtools.races.Actor; a function takes the URL of its database, or nothing."
        " Nothing was run.\n"
        "Give the function itself, and what else it takes with functools.partial: race(partial(work, 7), work)"
    )
    assert body(done.stdout, "test_called") == f"None cannot race in test_wrong.py::test_called.\n{function}"
    assert body(done.stdout, "test_two_arguments") == (
        f"add(url, many) cannot race in test_wrong.py::test_two_arguments.\n{function}"
    )
    assert body(done.stdout, "test_loop") == (
        "test_wrong.py::test_loop races while an event loop runs.\n"
        "The lab runs one itself, and the functions that race have one each. Nothing was run.\n"
        "Make the test a plain function, def in the place of async def; those that race may be asynchronous."
    )
    assert body(done.stdout, "test_nobody") == (
        "The scenario test_wrong.py::test_nobody has 0 actors.\n"
        "1 to 26 can race, including latches. Nothing was run.\n"
        "Add an actor, or remove some."
    )
    assert body(done.stdout, "test_limit") == (
        "bound is not a number, or out of range: '-1'.\n"
        "Wanted a whole number of at least 0. Nothing was changed.\n"
        "For example: bound 10"
    )
    assert re.fullmatch(
        r"\? test_wrong.py::test_silent: inconclusive. <lambda> sent no SQL.\n"
        r"  <lambda>: exit 0\n  count: exit 0\n"
        r"  \d+ schedules in [0-9.]+ s; no wait for a lock was seen.\n"
        r"  Statements were not overlapped: what two do to each other inside the server while both run was not tried.\n"
        r"A program is to connect by itself, to the URL that it is given or to DATABASE_URL: an engine that was made"
        r" before, in the process of the tests, leads elsewhere.",
        body(done.stdout, "test_silent"),
    )
    assert body(done.stdout, "test_start") == (
        "The start state of the scenario test_wrong.py::test_start cannot be made.\n"
        "permission denied to create role\nDETAIL:  Only roles with the CREATEROLE attribute may create roles.\n"
        "Correct start: it begins with an empty database, as a role that owns it;"
        " superuser=True makes that a superuser."
    )
    assert body(done.stdout, "test_no_project") == (
        "The scenario test_wrong.py::test_no_project starts from a snapshot, and there is no project to make one of.\n"
        f"Neither {suite.root} nor a folder above it has a pyproject.toml with a table [tool.dbtools]."
        " Nothing was run.\n"
        'Write one: dbtools init; or make the tables: start="create table ..."'
    )
