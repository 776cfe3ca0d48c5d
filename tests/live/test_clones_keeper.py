"""The databases of a test run: made ahead, lent, kept and dropped; and what is said where there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dbtools.build import template as templates
from dbtools.build.template import Owner
from dbtools.clones import keeper as keepers
from dbtools.clones.keeper import MAX_AHEAD, Keeper, serve
from dbtools.clones.pool import Pool
from dbtools.clones.wanted import Wanted, make_template
from dbtools.config import Project
from dbtools.db.databases import drop_database
from dbtools.db.dsn import Dsn
from dbtools.errors import ConfigurationError, DatabaseUnreachable, DbtoolsError, ServerError
from dbtools.server import Server
from dbtools.server.external import ExternalServer
from dbtools.server.throwaway import start_throwaway
from tests.support.suites import SCHEMA
from tests.support.waiting import until

MADE = "select datname from pg_database where datname like 'dbtools\\_test\\_%' order by 1"
COMMENTS = "select datname, coalesce(shobj_description(oid, 'pg_database'), '') from pg_database"
MAKERS = "select pid from pg_stat_activity where application_name = 'dbtools databases'"
EMPTY = Wanted(empty=True)


@pytest.fixture
def owner(pg_server: Server) -> Iterator[Owner]:
    with Owner(Dsn.parse(pg_server.url)) as owner:
        yield owner
        owner.drop_all()


@pytest.fixture
def here(pg_server: Server) -> ExternalServer:
    """The server of this test as one that outlives a run."""
    return ExternalServer(pg_server.url, source="the test's", admin_url=pg_server.admin_url)


def made(owner: Owner) -> list[str]:
    number = owner.new_name().split("_")[2]
    return [name for (name,) in owner.session.execute(MADE) if name.split("_")[2] == number]


def names(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute(MADE)}


def no_template() -> str:
    raise AssertionError("the template is there")


def no_pools() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name == "dbtools databases"]


def test_as_many_are_ready_as_are_wanted_ahead(owner: Owner) -> None:
    asked: list[int] = []

    def ahead() -> int:
        asked.append(len(pools[0]._ready) if pools else 0)  # noqa: SLF001 - it says when the maker pauses
        return 2

    pools: list[Pool] = []
    pool = Pool(owner, "template1", no_template, ahead)
    pools.append(pool)
    taken = {pool.take(), pool.take()}
    assert len(taken) == 2
    asked.clear()
    until(lambda: 2 in asked, "no two databases are ready")
    pool.close()
    assert len(made(owner)) == 4
    assert no_pools()


def test_whoever_waits_gets_one_where_none_is_made_ahead(owner: Owner) -> None:
    pool = Pool(owner, "template1", no_template, lambda: 0)
    taken = {pool.take(), pool.take()}
    pool.close()
    assert set(made(owner)) == taken
    assert len(taken) == 2


def test_a_template_that_is_gone_is_made_again_and_a_failure_is_tried_again(owner: Owner) -> None:
    failures: list[DbtoolsError] = [ServerError("No template.", "", "")]

    def prepare() -> str:
        if failures:
            raise failures[0]
        return "template1"

    pool = Pool(owner, "dbtools_no_such_template", prepare, lambda: 0)
    with pytest.raises(ServerError) as caught:
        pool.take()
    assert caught.value is failures.pop()
    assert pool.take() in made(owner)
    pool.close()


def test_a_session_that_is_lost_is_said_and_opened_again(owner: Owner) -> None:
    pool = Pool(owner, "template1", no_template, lambda: 0)
    pool.take()
    for (pid,) in owner.session.execute(MAKERS).fetchall():
        owner.session.execute("select pg_terminate_backend(%s, 60000)", (pid,))
    with pytest.raises(DatabaseUnreachable):
        pool.take()
    pool.take()
    owner.session.execute(f"alter database {made(owner)[0]} rename to dbtools_test_mine")  # no template, and no name
    drop_database(owner.session, "dbtools_test_mine")
    pool.close()
    assert len(made(owner)) == 1


def test_any_other_error_is_said_in_the_servers_words(owner: Owner) -> None:
    pool = Pool(owner, "template1", no_template, lambda: 0)
    first = pool.take()
    owner.new_name = lambda: first  # type: ignore[method-assign]
    with pytest.raises(ServerError) as caught:
        pool.take()
    assert str(caught.value) == (
        "A database could not be made.\n"
        f'database "{first}" already exists.\n'
        "Look at the server's log, and at the room on its disk."
    )
    pool.close()  # although there is an error that nobody has asked about again


def test_the_end_waits_for_what_is_being_made(owner: Owner) -> None:
    begun, go = threading.Event(), threading.Event()
    ended: list[bool] = []

    def prepare() -> str:
        begun.set()
        go.wait()
        return "template1"

    def close() -> None:
        pool.close()
        ended.append(go.is_set())

    pool = Pool(owner, "dbtools_no_such_template", prepare, lambda: 1)
    begun.wait()
    closing = threading.Thread(target=close)
    closing.start()
    until(lambda: pool._closed)  # noqa: SLF001
    closing.join(0.2)  # enough for one that does not wait
    go.set()
    closing.join()
    assert ended == [True]
    assert no_pools()


def test_a_keeper_lends_keeps_and_drops(here: ExternalServer, tmp_path: Path) -> None:
    before = names(here.url)
    here.create_database("dbtools_test_00000000_2")  # of a run that is gone
    keeper = Keeper(here, tmp_path, lasts=True)
    assert keeper.describe() == {
        "kind": "existing",
        "version": here.version,
        "url": here.url,
        "admin_url": here.admin_url,
        "lasts": True,
    }
    back, kept, lent = (keeper.take(EMPTY)[0] for _ in range(3))
    assert {back, kept, lent} <= names(here.url)
    keeper.keep(kept, "test_it")
    keeper.give_back(back)
    until(lambda: back not in names(here.url), "what was given back is still there")
    assert {kept, lent} <= names(here.url)
    keeper.close()
    assert names(here.url) - before == {kept}
    assert no_pools()
    assert not [thread for thread in threading.enumerate() if thread.name == "dbtools drop"]
    # The next run of the project finds it; another project leaves it alone.
    with Owner(Dsn.parse(here.url)) as owner:
        facts = {name: templates.description(comment) for name, comment in owner.session.execute(COMMENTS)}
        assert {"kind": "kept", "project": tmp_path.name, "test": "test_it"}.items() <= facts[kept].items()
        drop_database(owner.session, kept)


def test_several_that_want_the_same_have_one_pool(
    here: ExternalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Wanted] = []
    begun, go = threading.Event(), threading.Event()
    open_pool = Keeper._open_pool  # noqa: SLF001

    def open_slowly(keeper: Keeper, wanted: Wanted) -> Pool:
        opened.append(wanted)
        begun.set()
        go.wait()
        return open_pool(keeper, wanted)

    monkeypatch.setattr(Keeper, "_open_pool", open_slowly)
    keeper = Keeper(here, tmp_path, lasts=True)
    taking = [threading.Thread(target=keeper.take, args=(EMPTY,)) for _ in range(2)]
    for thread in taking:
        thread.start()
    begun.wait()
    taking[1].join(0.2)  # enough to come to where it waits for its turn
    go.set()
    for thread in taking:
        thread.join()
    assert opened == [EMPTY]
    keeper.close()


def test_what_could_not_be_made_is_not_tried_again(here: ExternalServer, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.dbtools]\nmigrate = { sql = "schema.sql" }\n', "utf-8")
    (tmp_path / "schema.sql").write_text("create table t (", "utf-8")
    keeper = Keeper(here, tmp_path, lasts=True)
    errors = []
    for _ in range(2):
        with pytest.raises(DbtoolsError) as caught:
            keeper.take(Wanted())
        errors.append(caught.value)
        (tmp_path / "schema.sql").write_text(SCHEMA, "utf-8")
    assert errors[0] is errors[1]
    # An option of the command line is called as the marker's keyword is.
    with pytest.raises(ConfigurationError) as wrong:
        keeper.take(Wanted(as_of="tomorrow"))
    assert str(wrong.value) == (
        "as_of is not a date: 'tomorrow'.\nWanted year, month and day. Nothing was changed.\n"
        "For example: as_of 2026-11-23"
    )
    keeper.close()


def test_a_client_that_goes_leaves_nothing(here: ExternalServer, tmp_path: Path) -> None:
    keeper = Keeper(here, tmp_path, lasts=True)
    mine, its = Pipe()
    serving = threading.Thread(target=serve, args=(keeper, its))
    serving.start()
    given: list[str] = []
    keeper.give_back = given.append  # type: ignore[method-assign, assignment]

    def ask(*request: object) -> Any:
        mine.send(request)
        return mine.recv()

    assert ask("server") == (keeper.describe(), "")
    assert keeper.clients == 1
    back, kept, lent = (ask("take", EMPTY)[0][0] for _ in range(3))
    assert ask("give back", back) == (None, "")
    assert ask("keep", kept, "test_it") == (None, "")
    answer, error = ask("take", Wanted())
    assert answer is None
    assert error.startswith(f"No project was found in {tmp_path} or above.\n")
    mine.close()
    serving.join()
    assert given == [back, lent]
    assert keeper.clients == 0
    keeper.close()
    with Owner(Dsn.parse(here.url)) as owner:
        drop_database(owner.session, kept)


@pytest.mark.parametrize(("clients", "ahead"), [(0, 2), (3, 5), (20, MAX_AHEAD)])
def test_two_more_than_there_are_clients_are_made_ahead(
    here: ExternalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: int, ahead: int
) -> None:
    pools: list[Callable[[], int]] = []

    class Noted(Pool):
        def __init__(self, owner: Owner, template: str, prepare: Callable[[], str], ahead: Callable[[], int]) -> None:
            assert template == "template1"  # the server makes no extensions
            pools.append(ahead)
            super().__init__(owner, template, prepare, lambda: 0)

    monkeypatch.setattr(keepers, "Pool", Noted)
    keeper = Keeper(here, tmp_path, lasts=True)
    keeper.clients = clients
    keeper.take(EMPTY)
    assert [ahead() for ahead in pools] == [ahead]
    keeper.close()


def test_what_cannot_be_dropped_is_noted_and_the_next_one_is_dropped(
    here: ExternalServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keeper = Keeper(here, tmp_path, lasts=True)
    name = keeper.take(EMPTY)[0]
    with psycopg.connect(here.url) as connection:
        theirs = connection.execute("select datname from pg_database where not pg_has_role(datdba, 'USAGE')").fetchall()
    keeper.give_back(theirs[0][0])
    keeper.give_back(name)
    until(lambda: name not in names(here.url), "the thread has ended with the error")
    assert f"{theirs[0][0]} could not be dropped: " in capsys.readouterr().err
    keeper.close()


@pytest.mark.parametrize(("lasts", "throwaway"), [(True, False), (False, False), (True, True)])
def test_only_what_outlives_the_run_lasts(
    here: ExternalServer, tmp_path: Path, *, lasts: bool, throwaway: bool
) -> None:
    if throwaway:
        with start_throwaway() as server:
            assert Keeper(server, tmp_path, lasts=lasts).describe()["lasts"] is False
    else:
        assert Keeper(here, tmp_path, lasts=lasts).describe()["lasts"] is lasts


SEED = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    for name in ("SEED_PROFILE", "SEED_AS_OF", "SEED_NUMBER"):
        connection.execute("insert into items (name) values (%s)", (f"{name} {os.environ.get(name)}",))
"""


def test_what_a_database_is_to_hold(owner: Owner, tmp_path: Path) -> None:
    toml = tmp_path / "pyproject.toml"
    toml.write_text(
        '[tool.dbtools]\nmigrate = { sql = "schema.sql" }\nseed = ["python", "-c", "import seed"]\n', "utf-8"
    )
    (tmp_path / "schema.sql").write_text(SCHEMA, "utf-8")
    (tmp_path / "seed.py").write_text(SEED, "utf-8")
    templates_made = []

    def content(wanted: Wanted) -> list[str]:
        template = make_template(owner, Project.find(tmp_path), wanted, lambda _: None).name
        templates_made.append(template)
        name = owner.new_name()
        templates.copy(owner.session, template, name)
        with psycopg.connect(owner.dsn.with_database(name).url) as connection:
            return [name for (name,) in connection.execute("select name from items order by id")]

    try:
        assert content(Wanted(profile="uat", as_of="2026-11-23", seed="3")) == [
            "SEED_PROFILE uat",
            "SEED_AS_OF 2026-11-23",
            "SEED_NUMBER 3",
        ]
        assert content(Wanted(schema_only=True)) == []
        toml.write_text('[tool.dbtools]\nmigrate = []\nseed = { sql = "schema.sql" }\n', "utf-8")
        assert content(Wanted()) == []
        with pytest.raises(ConfigurationError) as caught:
            content(Wanted(schema_only=True))
        assert str(caught.value) == (
            "There is no schema without the seed.\n"
            f"[tool.dbtools] migrate in {toml} is empty: its seed makes everything. Nothing was changed.\n"
            "Ask for the whole content, or make the tables in a step of migrate."
        )
    finally:
        for template in templates_made:
            drop_database(owner.session, template)
