"""The server fails: it goes down and comes back, its disk or its memory is full, or its timeouts are short."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from dbtools import chain
from dbtools.chain.install import GivenSnapshot
from dbtools.chain.prefetch import generate_in_background
from dbtools.chain.report import NullReport
from dbtools.config import LOCK_KEY
from dbtools.db.dsn import Dsn
from dbtools.server import run_as
from dbtools.server.embedded import EmbeddedServer
from tests.faults import slow
from tests.faults.child import Child
from tests.faults.environment import NEW, OLD, Environment, Moments, database, environment
from tests.faults.figures import at_least, exactly, none, shown
from tests.faults.namespaces import MOUNTS, apart, must
from tests.support.runs import PLAN
from tests.support.sources import sql_source
from tests.support.toy import ToyShop
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.figures import Figure

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
MANY_TABLES = r"select format('create table t%s (a int)', n) from generate_series(1, 4000) n \gexec"
"""More tables than the smallest lock table takes in one transaction; psql creates each in one of its own."""
IMPATIENT = ("statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout", "lock_timeout")


def restart(*, full: bool) -> Iterator[Figure]:
    """Stop the server as a crash does at random moments of a swap reset, and start it again on the same data."""
    wrong: list[str] = []
    failed: list[str] = []
    unclear: list[str] = []
    ends = {OLD: 0, NEW: 0}
    with EmbeddedServer.start(settings=DURABLE) as own:
        with environment(own) as here:
            contents, length = here.contents(), here.duration()
            url = here.url
        url = own.create_database("restarted")
        with _looking(own, url) as here:
            here.reset(OLD)
        moments = Moments(50 if full else 6, length, wanted=3)
        for moment in moments:
            with _looking(own, url) as here, here.resetting(NEW) as child:
                time.sleep(moment)
                own.restart()
                ended = child.finish()
            moments.hits += not ended.ok
            if not ended.clear:
                unclear.append(ended.error)
            with _looking(own, url) as here:
                found = contents.get(here.digest())
                if found is None or (ended.ok and found != NEW):
                    wrong.append(f"after {moment:.3f} s: {ended}")
                else:
                    ends[found] += 1
                with here.resetting(OLD) as child:
                    ended = child.finish()
                if not ended.ok or contents.get(here.digest()) != OLD or here.leftovers():
                    failed.append(ended.error or "wrong content, or a schema left behind")
    yield at_least("runs stopped", moments.hits, 3)
    yield shown("database the old one, the new one", f"{ends[OLD]}, {ends[NEW]}")
    yield none("database neither, or old after success", wrong)
    yield none("unclear errors", unclear)
    yield none("next resets failed", failed)


@contextmanager
def _looking(server: EmbeddedServer, url: str) -> Iterator[Environment]:
    """Look at a database that outlives the server's restarts."""
    with psycopg.connect(server.url_of(database(url), admin=True), autocommit=True) as admin:
        yield Environment(server, url, admin)


def disk(*, full: bool) -> Iterator[Figure]:
    """Let the disk of the database run full in the middle of a reset."""
    with apart(partial(_disk, full=full), MOUNTS, "mount") as figures:
        yield from figures()


def _disk(*, full: bool) -> list[Figure]:
    unclear, wrong, failed, stopped, tries = list[str](), list[str](), list[str](), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        must("mount", "-t", "tmpfs", "-o", "size=256m", "none", folder)
        space = Path(folder) / "space"
        space.mkdir(mode=0o700)
        run_as.choose().give(space)
        try:
            with EmbeddedServer.start() as own, environment(own) as here:
                here.admin.close()  # a database with sessions cannot be moved
                with own.connect_admin() as admin:
                    admin.execute(f"create tablespace small location '{space}'")
                    admin.execute(f"alter database {database(here.url)} set tablespace small")
                with _looking(own, here.url) as inside:
                    contents = inside.contents()
                    sizes = [64 * kilo for kilo in range(0, 64 if full else 32, 2 if full else 8)]
                    for in_place in (False, True):
                        for kilobytes in sizes:
                            filler = fill(Path(folder), kilobytes)
                            with inside.resetting(NEW, in_place=in_place) as child:
                                ended = child.finish()
                            filler.unlink()
                            tries += 1
                            stopped += not ended.ok
                            if not ended.ok and not (
                                ended.foreseen and "Make room on the server's disk" in ended.error
                            ):
                                unclear.append(ended.error)
                            if contents.get(inside.digest()) != (NEW if ended.ok else OLD):
                                wrong.append(f"{kilobytes} kB left: {ended.error or 'done'}")
                            with inside.resetting(OLD) as child:
                                ended = child.finish()
                            if not ended.ok or contents.get(inside.digest()) != OLD or inside.leftovers():
                                failed.append(ended.error or "wrong content, or a schema left behind")
        finally:
            must("umount", "-l", folder)
    return [
        shown("how", "tablespace of 256 MB on tmpfs"),
        at_least("resets stopped by the full disk", stopped, tries // 2),
        none("unclear errors", unclear),
        none("database not the old one", wrong),
        none("next resets failed", failed),
    ]


def fill(folder: Path, left: int) -> Path:
    """Fill the disk up to the last `left` kilobytes."""
    info = os.statvfs(folder)
    path = folder / "filler"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, info.f_bavail * info.f_frsize - left * 1024)
    return path


def memory(roomy: EmbeddedServer) -> Iterator[Figure]:
    """Create more tables in one transaction than the server has room for in its lock table.

    The snapshot with them was made on the server `roomy`. Then build it on the server itself: no better.
    """
    settings = {"max_locks_per_transaction": "12", "max_connections": "20"}
    stopped, unclear, wrong, failed = 0, list[str](), list[str](), list[str]()
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer.start(settings=settings) as own,
        environment(own) as here,
        generate_in_background(ToyShop(), PLAN) as toys,
    ):
        history = sql_source(Path(folder) / "history", MANY_TABLES)
        ready = GivenSnapshot(history.build(Dsn.parse(roomy.url)), seeds=False)
        here.reset(OLD, in_place=True)
        before = here.digest()
        resets = {title: here.target(in_place=title == "in place") for title in ("swap", "in place")}
        runs = {title: partial(chain.reset, target, ready, toys, NullReport()) for title, target in resets.items()}
        fresh = sql_source(Path(folder) / "again", f"select 1;\n{MANY_TABLES}")
        runs["build"] = partial(chain.reset, here.target(), fresh, toys, NullReport())
        for title, run in runs.items():
            with Child(run, parent=True) as child:
                ended = child.finish()
            stopped += not ended.ok
            if ended.ok or not (ended.foreseen and "max_locks_per_transaction" in ended.error):
                unclear.append(f"{title}: {ended.error or 'no error'}")
            if here.digest() != before:
                wrong.append(f"{title}: {ended.error}")
            with here.resetting(OLD, in_place=title == "in place") as child:
                ended = child.finish()
            if not ended.ok or here.digest() != before or here.leftovers():
                failed.append(f"{title}: {ended.error or 'wrong content, or something left behind'}")
    yield exactly("resets stopped", stopped, 3)
    yield none("unclear errors", unclear)
    yield none("database not the old one", wrong)
    yield none("next resets failed", failed)


def impatient(server: EmbeddedServer) -> Iterator[Figure]:
    """Set every timeout of the role to less than the server, the client and the wait for the lock take."""
    failed: list[str] = []
    with environment(server) as here, tempfile.TemporaryDirectory() as folder:
        for name in IMPATIENT:
            here.query(f"alter role app in database {database(here.url)} set {name} = '300ms'")
        for title, in_place in (("swap", False), ("in place", True)):
            work = partial(slow.reset, here.target(in_place=in_place), Path(folder), server=0.6, client=0.6)
            with ExitStack() as stack:
                with here.holding(LOCK_KEY):
                    child = stack.enter_context(Child(work, parent=True))
                    until(lambda: here.waiters(LOCK_KEY) == 1)
                    time.sleep(0.6)
                ended = child.finish()
            if not ended.ok or here.query("select count(*) from items") != [(3,)]:
                failed.append(f"{title}: {ended.error or 'wrong content'}")
        cancelled = []
        for sql in ("select pg_sleep(0.6)", "begin", "commit"):
            with psycopg.connect(here.url, autocommit=True) as plain:
                try:
                    plain.execute(sql)
                    time.sleep(0.6)
                    plain.execute("select 1")
                except psycopg.Error as error:
                    cancelled.append(error)
    yield shown("set for the role", f"4 timeouts of {0.3:.1f} s")
    yield exactly("plain sessions ended by them", len(cancelled), 3)
    yield none("resets that failed", failed)
