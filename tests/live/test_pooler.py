"""The chain through PgBouncer: what works in transaction mode, and what is refused there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from dbtools.chain import migrate
from dbtools.chain.target import Target
from dbtools.config import LOCK_KEY
from dbtools.db.dsn import Dsn
from dbtools.errors import ConfigurationError
from tests.support.pgbouncer import PROGRAM, pooler
from tests.support.projects import start_task
from tests.support.runs import Log, Runner, content, query, seed
from tests.support.sources import sql_source
from tests.support.toy import TABLES

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer (Debian: apt-get install pgbouncer)")
REFUSED = (
    "A session lock cannot be held through this connection.\n"
    "A pooler in transaction mode stands before the server: between two statements it gives the session"
    " that holds the lock to somebody else. Nothing was changed.\n"
    "Connect past the pooler, or to one in session mode. reset and seed work as you are."
)

NO_TRANSACTION = (
    "Nothing can be done as one unit through this connection.\n"
    "A pooler in statement mode stands before the server: it lets no transaction in. Nothing was changed.\n"
    "Connect past the pooler, or to one in transaction or session mode."
)


@pytest.fixture
def direct(pg_database: str) -> Target:
    return Target(Dsn.parse(pg_database), LOCK_KEY)


def through(url: str) -> Target:
    return Target(Dsn.parse(url), LOCK_KEY)


@pytest.mark.parametrize("in_place", [False, True], ids=["swap", "in-place"])
@pytest.mark.parametrize(("size", "round_robin"), [(1, False), (20, False), (20, True)])
def test_reset_and_seed_work_in_transaction_mode(
    pg_database: str, direct: Target, tmp_path: Path, size: int, round_robin: bool, in_place: bool
) -> None:
    Runner(direct, tmp_path / "direct")()
    wanted = content(direct)
    with pooler(pg_database, "transaction", size=size, round_robin=round_robin) as url:
        run = Runner(through(url), tmp_path / "pooled")
        run(in_place=in_place)
        assert content(direct) == wanted
        assert seed(through(url), tmp_path).rows == 6
        assert content(direct) == wanted
        # Nothing that was set for the run is left on the sessions that others get.
        for name in ("statement_timeout", "lock_timeout", "tcp_keepalives_idle", "search_path"):
            assert query(through(url), f"show {name}") == query(direct, f"show {name}")


@pytest.mark.parametrize(("size", "round_robin"), [(1, False), (20, False), (20, True)])
def test_a_session_lock_is_refused_in_transaction_mode(
    pg_database: str, direct: Target, tmp_path: Path, size: int, round_robin: bool
) -> None:
    Runner(direct, tmp_path / "direct")()
    before = content(direct)
    with pooler(pg_database, "transaction", size=size, round_robin=round_robin) as url:
        with pytest.raises(ConfigurationError) as caught:
            migrate(through(url), sql_source(tmp_path / "m", TABLES).upgrade, Log())
        assert str(caught.value) == REFUSED
    assert content(direct) == before
    here = "database = (select oid from pg_database where datname = current_database())"
    assert query(direct, f"select count(*) from pg_locks where locktype = 'advisory' and {here}") == [(0,)]


def test_statement_mode_is_refused_in_words(pg_database: str, direct: Target, tmp_path: Path) -> None:
    Runner(direct, tmp_path / "direct")()
    before = content(direct)
    with pooler(pg_database, "statement") as url:
        run = Runner(through(url), tmp_path / "pooled")
        actions: list[Callable[[], object]] = [
            run,
            lambda: seed(through(url), tmp_path),
            lambda: migrate(through(url), sql_source(tmp_path / "m", TABLES).upgrade, Log()),
        ]
        for action in actions:
            with pytest.raises(ConfigurationError) as caught:
                action()
            assert str(caught.value) == NO_TRANSACTION
        for task, code, said in (("digest", 2, "stderr"), ("doctor", 6, "stdout")):
            done = start_task(url, task)
            out, err = done.communicate()
            assert done.returncode == code
            assert NO_TRANSACTION.splitlines()[-1] in {"stdout": out, "stderr": err}[said]
            assert "Unexpected" not in out + err
    assert "✗ A reset will not work here: pooler.\n" in out
    assert content(direct) == before


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_content_is_built_through_a_pooler_too(pg_database: str, direct: Target, tmp_path: Path, mode: str) -> None:
    with pooler(pg_database, mode) as url:
        run = Runner(through(url), tmp_path)
        run(TABLES, f"comment on table shops is 'built in {mode} mode'")
    assert query(direct, "select count(*) from items") == [(3,)]
    assert query(direct, "select count(*) from pg_database where datname ~ '^dbtools_build'") == [(0,)]


def test_session_mode_is_as_good_as_no_pooler(pg_database: str, direct: Target, tmp_path: Path) -> None:
    with pooler(pg_database, "session") as url:
        run = Runner(through(url), tmp_path)
        run(in_place=True)
        before = content(direct)
        run()
        assert content(direct) == before


def test_a_pooled_reset_and_a_direct_one_exclude_each_other(pg_database: str, direct: Target, tmp_path: Path) -> None:
    Runner(direct, tmp_path / "direct")()
    before = content(direct)
    with pooler(pg_database, "transaction") as url, psycopg.connect(pg_database, autocommit=True) as other:
        other.execute("select pg_advisory_lock(1196576591)")
        run = Runner(through(url), tmp_path / "pooled")
        waiting = threading.Thread(target=run)
        waiting.start()
        while not run.log.notes:
            waiting.join(0.01)
            assert waiting.is_alive()
        assert "held by pid " in run.log.notes[0]
        other.execute("select pg_advisory_unlock(1196576591)")
        waiting.join(30)
    assert content(direct) == before
