"""A streaming replica: what is refused on it, and a reset whose primary is lost and whose standby takes over."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from dbtools.chain import migrate
from dbtools.chain.target import Target
from dbtools.checks.exclusion import examine_lock
from dbtools.config import LOCK_KEY
from dbtools.db.dsn import Dsn
from dbtools.errors import ChainFailed, DbtoolsError, ResetRefused
from dbtools.server import postmaster, run_as
from dbtools.server.embedded import SETTINGS, EmbeddedServer
from dbtools.server.folders import SHARED_MEMORY
from dbtools.server.sources import find_binaries
from tests.support.runs import Acting, Log, Runner, content, query
from tests.support.sources import sql_source
from tests.support.toy import TABLES
from tests.support.waiting import until

IN_RECOVERY = "select pg_is_in_recovery()"


@contextmanager
def standby_of(primary: EmbeddedServer) -> Iterator[Dsn]:
    """Have a streaming replica of a server; yields the application's database on it."""
    account = run_as.choose()
    binaries = account.reach(find_binaries())
    place = tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None)
    account.give(Path(place.name))
    data, log = Path(place.name) / "data", Path(place.name) / "log"
    copy = ["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", f"--pgdata={data}"]
    done = account.run([str(binaries.bin / "pg_basebackup"), f"--dbname={primary.admin_url}", *copy])
    assert done.returncode == 0, done.stderr
    port = postmaster.free_port()
    process = postmaster.spawn(binaries, account, data, log, {**SETTINGS, "port": str(port)}, die_with_parent=True)
    try:
        postmaster.wait_ready(process, data, log, "")
        yield Dsn.parse(primary.url).through_proxy("127.0.0.1", port)
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait()
        place.cleanup()


@pytest.fixture
def primary() -> Iterator[EmbeddedServer]:
    """A server whose commits a standby may follow."""
    with EmbeddedServer.start(settings={"wal_level": "replica", "max_wal_senders": "4"}) as server:
        yield server


def test_a_standby_refuses_and_once_promoted_it_goes_on(primary: EmbeddedServer, tmp_path: Path) -> None:
    here = Target(Dsn.parse(primary.url), LOCK_KEY)
    run = Runner(here, tmp_path / "first")
    run()
    before = content(here)
    with standby_of(primary) as dsn:
        there = Target(dsn, LOCK_KEY)
        until(lambda: content(there) == before)
        with pytest.raises(ResetRefused) as caught:
            Runner(there, tmp_path / "standby")()
        assert str(caught.value) == (
            f"Refused to reset database {dsn.dbname}: it is read-only for this session.\n"
            "The server is a standby. Nothing was changed.\n"
            "Connect to the primary, or take default_transaction_read_only out of the URL, the role, the database or"
            " the server's configuration."
        )
        with pytest.raises(DbtoolsError) as step:
            migrate(there, sql_source(tmp_path / "m", "create table more ()").upgrade, Log())
        assert "cannot execute CREATE TABLE in a read-only transaction" in step.value.why
        assert [finding.passed for finding in examine_lock(dsn)] == [True, True]
        # The primary is lost while a reset is under way, and the standby becomes the primary.
        either = Target(
            Dsn.parse(f"{primary.url}?port={Dsn.parse(primary.url).port},{dsn.port}&host=127.0.0.1,127.0.0.1"
                      "&target_session_attrs=read-write"), LOCK_KEY)  # fmt: skip
        with pytest.raises(ChainFailed) as failed:
            Runner(either, tmp_path / "cut")(
                TABLES, "create table later (id int)", log=Acting("Seeding database...", primary.crash)
            )
        assert failed.value.state == (
            "Nothing was committed: the server rolls the transaction back, and the database is as it was before."
        )
        with psycopg.connect(Dsn.parse(primary.admin_url).through_proxy("127.0.0.1", int(dsn.port)).url) as admin:
            admin.execute("select pg_promote()")
        assert query(there, IN_RECOVERY) == [(False,)]
        assert content(there) == before
        Runner(either, tmp_path / "again")(TABLES, "create table later (id int)")
        assert query(there, "select count(*) from later") == [(0,)]
